//! Queries that wait for the draw, and the draw.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Dialect, Expecting};

/// Descriptors of this program that are no connections.
const DESCRIPTORS_BESIDES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);
/// The agency whose winners are queried, and the last one that the draw waits for.
const AGENCY: AgencyId = AgencyId(1);
const LAST: AgencyId = AgencyId(2);
/// The dialects of the queries, in turns. `csv` has as many queries as there are agencies; `echo` none.
pub const DIALECTS: [Dialect; 5] =
    [Dialect::Binary, Dialect::Text, Dialect::KeyValue, Dialect::CaseId, Dialect::Native];

/// A query on its way.
pub struct Query {
    stream: TcpStream,
    dialect: Dialect,
}

/// How many connections of `wanted` this process can have.
pub fn allowed(wanted: usize) -> usize {
    let allowed = loteria::reactor::allow_connections(wanted + DESCRIPTORS_BESIDES).saturating_sub(DESCRIPTORS_BESIDES);
    wanted.min(allowed)
}

/// A batch with one winner, whose document is returned.
///
/// # Errors
/// In one line.
pub fn bet(address: SocketAddr) -> Result<String, String> {
    let document = "30904465";
    let bet = Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"1999-03-17", b"7574").expect("a valid bet");
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    Dialect::Binary.put_bet(AGENCY, 0, &bet.as_raw(), &mut body);
    Dialect::Binary.put_batch(AGENCY, 0, 1, &body, &mut frame);
    exchange(address, &frame)?;
    Ok(document.to_owned())
}

/// Connects, and asks for the winners.
///
/// # Errors
/// In one line.
pub fn park(address: SocketAddr, index: usize) -> Result<Query, String> {
    let dialect = DIALECTS[index % DIALECTS.len()];
    let mut said = Vec::new();
    if dialect.client_rules().hello {
        dialect.put_hello(AGENCY, &mut said);
    }
    dialect.put_query(AGENCY, &mut said);
    let mut stream = connect(address, index)?;
    stream.write_all(&said).map_err(|error| error.to_string())?;
    Ok(Query { stream, dialect })
}

/// Returns when the hub has read what was sent before.
///
/// # Errors
/// In one line.
pub fn wait_until_read(address: SocketAddr) -> Result<(), String> {
    let mut last = connect(address, 0)?;
    last.write_all(b"last\n").map_err(|error| error.to_string())?;
    last.read_exact(&mut [0; 5]).map_err(|error| format!("no answer: {error}"))
}

/// The agencies finish.
///
/// # Errors
/// In one line.
pub fn draw(address: SocketAddr) -> Result<(), String> {
    for agency in [AGENCY, LAST] {
        let mut finish = Vec::new();
        Dialect::Binary.put_finish(agency, &mut finish);
        exchange(address, &finish)?;
    }
    Ok(())
}

/// One request of `binary` that is answered with a zero.
fn exchange(address: SocketAddr, request: &[u8]) -> Result<(), String> {
    let mut stream = connect(address, 0)?;
    let mut answer = [9];
    let read = stream.write_all(request).and_then(|()| stream.read_exact(&mut answer));
    read.map_err(|error| format!("no answer: {error}"))?;
    if answer == [0] { Ok(()) } else { Err(format!("refused: {answer:?}")) }
}

impl Query {
    /// Whether the hub tells the one winner; false where it only closes.
    ///
    /// # Errors
    /// No answer, or another one.
    pub fn is_answered(&mut self, winner: &str) -> Result<bool, String> {
        let mut inbox = Vec::new();
        let mut expecting = if self.dialect.client_rules().hello { Expecting::Welcome } else { Expecting::Winners };
        loop {
            match self.dialect.read_answer(&inbox, expecting).map_err(|error| error.to_string())? {
                Some((bytes, Answer::Welcome { .. })) => {
                    inbox.drain(..bytes);
                    expecting = Expecting::Winners;
                    continue;
                }
                Some((_, Answer::Winners { documents, .. })) if documents == [winner] => return Ok(true),
                Some((_, other)) => return Err(format!("a parked query was answered {other:?}")),
                None => {}
            }
            let mut scratch = [0; 512];
            match self.stream.read(&mut scratch) {
                Ok(0) => return Ok(false),
                Ok(bytes) => inbox.extend_from_slice(&scratch[..bytes]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(format!("a parked query was not answered: {error}")),
            }
        }
    }
}

/// A connection from one of many addresses of this machine, each of which has only so many ports.
fn connect(address: SocketAddr, index: usize) -> Result<TcpStream, String> {
    let stream = super::attack::socket(index).and_then(|socket| {
        socket.connect(&address.into())?;
        Ok(TcpStream::from(socket))
    });
    let stream = stream.map_err(|error| error.to_string())?;
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    set.map_err(|error| error.to_string())?;
    Ok(stream)
}
