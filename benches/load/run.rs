//! One run: connect, load, draw where asked, and count.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Dialect, Expecting};
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, read_answer};
use crate::frames::{Protocol, Ring, put_bets};
use crate::jetstream;
use crate::options::Options;
use crate::process::Usage;
use crate::report::Outcome;

/// Bets kept encoded, shared between the agencies: enough to be no cached trifle, and little memory.
const RING_BETS: usize = 100_000;
/// Answers are small; this many bytes of them are read at once.
const SCRATCH_BYTES: usize = 64 * 1024;
/// How long the other end may take over one answer in the phases that are not load.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing at all may happen under load: a stall is a failure, not a low rate.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Does what the options ask for.
///
/// # Errors
/// In one line.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let bets = read_bets(&options.data, options.batch)?;
    let mut rings = rings(options, &bets);
    let mut connections = connect(options)?;
    let usage = || Usage::of_all(&options.pids);
    let before = (Usage::of("self")?, usage()?);
    let stall = u64::try_from(STALL_TIMEOUT.as_nanos()).unwrap_or(u64::MAX);
    let mut latency = Histogram::new_with_bounds(1, stall, 3).map_err(|error| error.to_string())?;
    let started = Instant::now();
    drive(&mut connections, &mut rings, &mut latency)?;
    let elapsed = started.elapsed();
    let after = (Usage::of("self")?, usage()?);

    let batches = connections.iter().map(Connection::quota).sum::<u64>();
    let quantile = |quantile| Duration::from_nanos(latency.value_at_quantile(quantile));
    let sent = connections.iter().enumerate().map(|(i, c)| rings[i % options.agencies].size_of(c.quota()));
    let (frame_bytes, row_bytes) = sent.fold((0, 0), |sum, sent| (sum.0 + sent.0, sum.1 + sent.1));
    let mut outcome = Outcome {
        batches,
        bets: batches * options.batch as u64,
        frame_bytes,
        row_bytes,
        elapsed,
        latency: (!latency.is_empty()).then(|| (quantile(0.5), quantile(0.99))),
        own_cpu: after.0.cpu().saturating_sub(before.0.cpu()),
        ..Outcome::default()
    };
    let idle = open_idle(options, &bets)?;
    outcome.server = before.1.zip(after.1).zip(usage()?).map(|((before, after), idle)| (before, after, idle));
    drop(idle);
    if options.draw {
        let (time, winners) = draw(options, connections)?;
        (outcome.draw, outcome.winners) = (Some(time), winners);
    }
    Ok(outcome)
}

/// Every bet of a file; at least one batch.
fn read_bets(path: &Path, batch: usize) -> Result<Vec<Bet>, String> {
    let name = path.display();
    let mut file = csv::ReaderBuilder::new().has_headers(false).from_path(path).map_err(|e| format!("{name}: {e}"))?;
    let mut bets = Vec::new();
    for (line, record) in (1..).zip(file.byte_records().take(RING_BETS)) {
        let record = record.map_err(|error| format!("{name}: {error}"))?;
        let field = |place| record.get(place).unwrap_or_default();
        let bet = Bet::from_text(field(0), field(1), field(2), field(3), field(4));
        bets.push(bet.map_err(|error| format!("{name}, line {line}: {error}"))?);
    }
    if bets.len() < batch {
        return Err(format!("{name}: {} bets do not fill a batch of {batch}", bets.len()));
    }
    Ok(bets)
}

/// A ring for each agency, together [`RING_BETS`] bets or one batch each.
fn rings(options: &Options, bets: &[Bet]) -> Vec<Ring> {
    let each = (RING_BETS / options.agencies).clamp(options.batch, bets.len());
    let ids = (1..).map(AgencyId).take(options.agencies);
    // Agencies start at different places of the file, so that their bets differ.
    let shift = |id: AgencyId| (id.0 as usize - 1) * each % (bets.len() - each + 1);
    ids.map(|id| Ring::new(options.protocol, id, &bets[shift(id)..shift(id) + each], options.batch)).collect()
}

/// Opens every connection, says hello where the dialect has one, and shares out the batches.
fn connect(options: &Options) -> Result<Vec<Connection>, String> {
    let batches = options.bets.div_ceil(options.batch as u64);
    let quota = batches.div_ceil(options.connections as u64);
    let mut connections = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let agency = agency_of(options, index);
        let (stream, next) = open(options, index, agency)?;
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        let stream = mio::net::TcpStream::from_std(stream);
        let mut connection = Connection::new(stream, options, quota, next);
        connection.finish_of(agency);
        connections.push(connection);
    }
    Ok(connections)
}

/// The agency that connection `index` speaks for.
fn agency_of(options: &Options, index: usize) -> AgencyId {
    AgencyId(u32::try_from(index % options.agencies + 1).expect("fewer agencies than 2^32"))
}

/// Connection `index`, still blocking, and the number of its next batch.
fn open(options: &Options, index: usize, agency: AgencyId) -> Result<(TcpStream, u64), String> {
    let address = options.addresses[index % options.addresses.len()];
    let mut stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(ANSWER_TIMEOUT)));
    set.map_err(|error| error.to_string())?;
    let mut hello = Vec::new();
    match options.protocol {
        Protocol::Hub(dialect) if dialect.client_rules().hello => dialect.put_hello(agency, &mut hello),
        Protocol::JetStream => jetstream::put_hello(agency, &mut hello),
        Protocol::Hub(_) | Protocol::Redis => return Ok((stream, 0)),
    }
    match ask(&mut stream, options.protocol, &hello, Expecting::Welcome)? {
        Answer::Welcome { next } => Ok((stream, next)),
        other => Err(format!("agency {agency} was not welcome: {other:?}")),
    }
}

/// The load itself: until every connection has all its answers.
fn drive(connections: &mut [Connection], rings: &mut [Ring], latency: &mut Histogram<u64>) -> Result<(), String> {
    let mut poll = Poll::new().map_err(|error| error.to_string())?;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut busy = connections.len();
    for (index, connection) in connections.iter_mut().enumerate() {
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = poll.registry().register(connection.stream_mut(), Token(index), both);
        registered.map_err(|error| error.to_string())?;
    }
    let agencies = rings.len();
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.send(&mut rings[index % agencies])?;
    }
    while busy > 0 {
        match poll.poll(&mut events, Some(STALL_TIMEOUT)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
            Ok(()) if events.is_empty() => {
                return Err(format!("nothing happened for {STALL_TIMEOUT:?} with {busy} connections unfinished"));
            }
            Ok(()) => {}
        }
        for event in &events {
            let Token(index) = event.token();
            let connection = &mut connections[index];
            if connection.done() {
                continue;
            }
            let told = if event.is_readable() { connection.receive(&mut scratch, latency) } else { Ok(()) };
            told.and_then(|()| connection.send(&mut rings[index % agencies]))
                .map_err(|error| format!("connection {index}: {error}"))?;
            busy -= usize::from(connection.done());
        }
    }
    Ok(())
}

/// Opens the idle connections: each stores one bet, so that the hub knows what it speaks.
fn open_idle(options: &Options, bets: &[Bet]) -> Result<Vec<TcpStream>, String> {
    let Protocol::Hub(dialect) = options.protocol else { return Ok(Vec::new()) };
    let mut streams = Vec::with_capacity(options.idle);
    for index in 0..options.idle {
        let agency = agency_of(options, index);
        let (mut stream, next) = open(options, index, agency)?;
        let (mut body, mut frame) = (Vec::new(), Vec::new());
        put_bets(dialect, agency, &bets[..1], &mut body);
        dialect.put_batch(agency, next, 1, &body, &mut frame);
        match ask(&mut stream, options.protocol, &frame, Expecting::Stored)? {
            Answer::Stored | Answer::StoredBelow { .. } => streams.push(stream),
            other => return Err(format!("idle connection {index}: {other:?}")),
        }
    }
    Ok(streams)
}

/// Finishes every agency and asks for its winners: how long until the last has them, and how many there are.
fn draw(options: &Options, connections: Vec<Connection>) -> Result<(Duration, u64), String> {
    let Protocol::Hub(dialect) = options.protocol else { return Err("--draw: only a hub draws".to_owned()) };
    let mut streams = Vec::new();
    for connection in connections.into_iter().take(options.agencies) {
        let stream = TcpStream::from(connection.into_stream());
        stream.set_nonblocking(false).map_err(|error| error.to_string())?;
        streams.push(stream);
    }
    let started = Instant::now();
    for (index, stream) in streams.iter_mut().enumerate() {
        finish_and_query(dialect, agency_of(options, index), stream)?;
    }
    let mut winners = 0;
    for (index, stream) in streams.iter_mut().enumerate() {
        match ask(stream, options.protocol, &[], Expecting::Winners)? {
            Answer::Winners { documents, .. } => winners += documents.len() as u64,
            other => return Err(format!("agency {} got no winners: {other:?}", index + 1)),
        }
    }
    Ok((started.elapsed(), winners))
}

/// Sends an agency's finish, where that is a message of its own and has not been sent, and its query.
fn finish_and_query(dialect: Dialect, agency: AgencyId, stream: &mut TcpStream) -> Result<(), String> {
    let rules = dialect.client_rules();
    let mut message = Vec::new();
    if rules.finish && rules.batches_answered {
        dialect.put_finish(agency, &mut message);
        match ask(stream, Protocol::Hub(dialect), &message, Expecting::Finished)? {
            Answer::Finished { .. } => message.clear(),
            other => return Err(format!("agency {agency} could not finish: {other:?}")),
        }
    }
    dialect.put_query(agency, &mut message);
    stream.write_all(&message).map_err(|error| format!("cannot send: {error}"))
}

/// Sends `message` and waits for one whole answer.
fn ask(stream: &mut TcpStream, protocol: Protocol, message: &[u8], expecting: Expecting) -> Result<Answer, String> {
    stream.write_all(message).map_err(|error| format!("cannot send: {error}"))?;
    let (mut answer, mut scratch) = (Vec::new(), [0; 4096]);
    loop {
        if let Some((_, answer)) = read_answer(protocol, &answer, expecting)? {
            return Ok(answer);
        }
        match stream.read(&mut scratch) {
            Ok(0) => return Err("the other end closed instead of answering".to_owned()),
            Ok(read) => answer.extend(&scratch[..read]),
            Err(error) => return Err(format!("no answer: {error}")),
        }
    }
}
