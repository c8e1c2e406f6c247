//! Parked queries: what each costs, and that all are answered.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use loteria::lottery::AgencyId;
use loteria::wire::Dialect;

use super::hub::Hub;

/// What a parked query may cost the hub, in bytes.
const COST_MAX: f64 = 2048.0;
/// Descriptors of this program that are no connections.
const DESCRIPTORS_BESIDES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// Parks `wanted` queries, or as many as there are descriptors for; measures, draws, counts.
///
/// # Errors
/// In one line.
pub fn measure(server: &Path, wanted: usize) -> Result<bool, String> {
    let allowed = loteria::reactor::allow_connections(wanted + DESCRIPTORS_BESIDES).saturating_sub(DESCRIPTORS_BESIDES);
    let count = wanted.min(allowed);
    let maximum = (count + 100).to_string();
    let environment =
        [("LOTTERY_AGENCIES", "1"), ("SERVER_LISTEN_BACKLOG", "4096"), ("LIMITS_MAX_CONNECTIONS", maximum.as_str())];
    let hub = Hub::start(server, &environment)?;
    let dialect = Dialect::Binary;
    let mut query = Vec::new();
    dialect.put_query(AgencyId(1), &mut query);
    let before = hub.usage()?;
    let mut parked = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = connect(hub.address(), index)?;
        stream.write_all(&query).map_err(|error| format!("query {index}: {error}"))?;
        parked.push(stream);
    }
    // Whoever is answered came after all of them had been read.
    let mut last = connect(hub.address(), 0)?;
    last.write_all(b"last\n").map_err(|error| error.to_string())?;
    last.read_exact(&mut [0; 5]).map_err(|error| format!("no answer: {error}"))?;
    let after = hub.usage()?;
    let each = (after.own_kib - before.own_kib) as f64 * 1024.0 / count as f64;
    println!("{count} parked queries of {wanted} asked for: {each:.0} bytes of the hub's own memory each");
    let mut agency = connect(hub.address(), 0)?;
    let mut finish = Vec::new();
    dialect.put_finish(AgencyId(1), &mut finish);
    agency.write_all(&finish).map_err(|error| error.to_string())?;
    let mut answered = 0;
    for stream in &mut parked {
        let mut answer = [9; 5];
        match stream.read_exact(&mut answer) {
            Ok(()) if answer == [0; 5] => answered += 1,
            Ok(()) => return Err(format!("a parked query was answered {answer:?}")),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(format!("a parked query was not answered: {error}")),
        }
    }
    println!("{answered} of {count} were answered after the draw; peak memory {} MiB", hub.usage()?.peak_kib / 1024);
    Ok(answered == count && each < COST_MAX)
}

/// A connection from one of many addresses of this machine, each of which has only so many ports.
fn connect(address: SocketAddr, index: usize) -> Result<TcpStream, String> {
    let stream = super::attack::socket(index).and_then(|socket| {
        socket.connect(&address.into())?;
        Ok(TcpStream::from(socket))
    });
    let stream = stream.map_err(|error| format!("connection {index}: {error}"))?;
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    set.map_err(|error| error.to_string())?;
    Ok(stream)
}
