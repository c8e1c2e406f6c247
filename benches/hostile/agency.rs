//! The healthy side: agencies that upload a batch at a time, each in another dialect, and measure their waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Dialect, Expecting};

/// A dialect for each agency; `case-id` answers no batch, so there is nothing to measure.
const DIALECTS: [Dialect; 5] = [Dialect::Native, Dialect::Binary, Dialect::Text, Dialect::KeyValue, Dialect::Csv];
/// What the hub has to be told of them: `csv` names no agency, and its one must not be taken for another.
pub const ENVIRONMENT: [(&str, &str); 2] = [("LOTTERY_AGENCIES", "5"), ("LOTTERY_UNNUMBERED_AGENCIES", "5-5")];
const WINNING_NUMBER: u32 = 7574;
/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A hub that is full, or whose queue is, is tried again after this long.
const RETRY: Duration = Duration::from_millis(200);

/// One agency and its bets.
pub struct Agency {
    id: AgencyId,
    dialect: Dialect,
    bets: Vec<Bet>,
}

impl Agency {
    /// How many bets it has.
    pub fn bets(&self) -> usize {
        self.bets.len()
    }

    /// The documents of its winners.
    pub fn winners(&self) -> Vec<&str> {
        self.bets.iter().filter(|bet| bet.number() == WINNING_NUMBER).map(Bet::document).collect()
    }
}

/// How long acknowledgements took.
pub struct Waits {
    acknowledgements: Histogram<u64>,
    /// From the first try to connect until the first batch is stored, which makes the connection trusted; the longest
    /// of several agencies.
    pub entry: Duration,
}

impl Waits {
    fn new() -> Waits {
        let longest = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        let acknowledgements = Histogram::new_with_bounds(1, longest, 3).expect("bounds that make sense");
        Waits { acknowledgements, entry: Duration::ZERO }
    }

    fn note(&mut self, wait: Duration) {
        self.acknowledgements.saturating_record(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Half of them took no longer.
    pub fn p50(&self) -> Duration {
        Duration::from_nanos(self.acknowledgements.value_at_quantile(0.5))
    }

    /// All but one in a hundred took no longer.
    pub fn p99(&self) -> Duration {
        Duration::from_nanos(self.acknowledgements.value_at_quantile(0.99))
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.acknowledgements.len()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.acknowledgements.max())
    }
}

/// The agencies of a folder of data files.
///
/// # Errors
/// In one line, with the file.
pub fn load(folder: &Path) -> Result<Vec<Agency>, String> {
    (1..=5u32)
        .zip(DIALECTS)
        .map(|(id, dialect)| {
            let path = folder.join(format!("agency-{id}.csv"));
            let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let reader = csv::ReaderBuilder::new().has_headers(false).from_path(&path);
            let mut bets = Vec::new();
            for record in reader.map_err(|error| wrong(&error))?.byte_records() {
                let record = record.map_err(|error| wrong(&error))?;
                let field = |place| record.get(place).unwrap_or_default();
                let bet = Bet::from_text(field(0), field(1), field(2), field(3), field(4));
                bets.push(bet.map_err(|error| wrong(&error))?);
            }
            Ok(Agency { id: AgencyId(id), dialect, bets })
        })
        .collect()
}

/// Has all of them upload, `batch` bets at a time, finish and ask for their winners, at once; `pause` lies between two
/// batches of one.
///
/// # Errors
/// An agency that was not served: a batch refused, a connection lost, a wrong winner.
pub fn play(agencies: &[Agency], address: SocketAddr, batch: usize, pause: Duration) -> Result<Waits, String> {
    let played: Vec<Result<Waits, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            agencies.iter().map(|agency| scope.spawn(move || one(agency, address, batch, pause))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("an agency panicked".into()))).collect()
    });
    let mut all = Waits::new();
    for (agency, waits) in agencies.iter().zip(played) {
        let waits = waits.map_err(|error| format!("agency {} ({}): {error}", agency.id, agency.dialect.name()))?;
        all.acknowledgements.add(&waits.acknowledgements).map_err(|error| error.to_string())?;
        all.entry = all.entry.max(waits.entry);
    }
    Ok(all)
}

fn one(agency: &Agency, address: SocketAddr, batch: usize, pause: Duration) -> Result<Waits, String> {
    let Agency { id, dialect, bets } = agency;
    let mut waits = Waits::new();
    let mut line = None;
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    if dialect.client_rules().hello {
        dialect.put_hello(*id, &mut frame);
        let (entered, _, took) = enter(address, *dialect, &frame, Expecting::Welcome)?;
        (line, waits.entry) = (Some(entered), took);
    }
    for (sequence, batch) in (0..).zip(bets.chunks(batch)) {
        body.clear();
        frame.clear();
        for (index, bet) in (0..).zip(batch) {
            dialect.put_bet(*id, index, &bet.as_raw(), &mut body);
        }
        let count = u32::try_from(batch.len()).expect("a small batch");
        dialect.put_batch(*id, sequence, count, &body, &mut frame);
        let answer = if let Some(line) = &mut line {
            let began = Instant::now();
            let answer = line.ask(&frame, Expecting::Stored)?;
            if sequence == 0 {
                // After a hello: it is still on its way in.
                waits.entry += began.elapsed();
            } else {
                waits.note(began.elapsed());
            }
            answer
        } else {
            let (entered, answer, took) = enter(address, *dialect, &frame, Expecting::Stored)?;
            (line, waits.entry) = (Some(entered), took);
            answer
        };
        match answer {
            Answer::Stored => {}
            Answer::StoredBelow { next } if next == sequence + 1 => {}
            other => return Err(format!("batch {sequence}: {other:?}")),
        }
        std::thread::sleep(pause);
    }
    let mut line = line.ok_or("it has no bets")?;
    if dialect.client_rules().finish {
        frame.clear();
        dialect.put_finish(*id, &mut frame);
        line.ask(&frame, Expecting::Finished)?;
    }
    frame.clear();
    dialect.put_query(*id, &mut frame);
    // Others may still upload for minutes.
    line.stream.set_read_timeout(Some(10 * PATIENCE)).map_err(|error| error.to_string())?;
    let mut expected = agency.winners();
    match line.ask(&frame, Expecting::Winners)? {
        Answer::Winners { mut documents, .. } => {
            documents.sort_unstable();
            expected.sort_unstable();
            // `binary` pads documents with zeros.
            let same = |(one, other): (&String, &&str)| one.trim_start_matches('0') == other.trim_start_matches('0');
            if documents.len() != expected.len() || !documents.iter().zip(&expected).all(same) {
                return Err(format!("the winners are {expected:?}, the hub says {documents:?}"));
            }
        }
        other => return Err(format!("asked for its winners: {other:?}")),
    }
    Ok(waits)
}

/// A connection, and the answer to the first request on it: where the hub is full it may be turned away, and comes
/// again. Returns how long that took in all.
fn enter(
    address: SocketAddr,
    dialect: Dialect,
    bytes: &[u8],
    expecting: Expecting,
) -> Result<(Line, Answer, Duration), String> {
    let began = Instant::now();
    loop {
        let came =
            TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string()).and_then(|stream| {
                let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
                set.map_err(|error| error.to_string())?;
                let mut line = Line { stream, dialect, inbox: Vec::new() };
                match line.ask(bytes, expecting)? {
                    Answer::Unwelcome(why) => Err(format!("not let in: {why:?}")),
                    answer => Ok((line, answer)),
                }
            });
        match came {
            Ok((line, answer)) => return Ok((line, answer, began.elapsed())),
            Err(reason) if began.elapsed() > PATIENCE => return Err(reason),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

struct Line {
    stream: TcpStream,
    dialect: Dialect,
    inbox: Vec<u8>,
}

impl Line {
    fn ask(&mut self, bytes: &[u8], expecting: Expecting) -> Result<Answer, String> {
        self.stream.write_all(bytes).map_err(|error| format!("cannot send: {error}"))?;
        loop {
            let answer = self.dialect.read_answer(&self.inbox, expecting).map_err(|error| error.to_string())?;
            if let Some((bytes, answer)) = answer {
                self.inbox.drain(..bytes);
                return Ok(answer);
            }
            let mut scratch = [0; 16 * 1024];
            match self.stream.read(&mut scratch) {
                Ok(0) => return Err("the hub closed the connection".to_owned()),
                Ok(bytes) => self.inbox.extend_from_slice(&scratch[..bytes]),
                Err(error) => return Err(format!("no answer: {error}")),
            }
        }
    }
}
