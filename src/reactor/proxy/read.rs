//! Takes a header from a socket, and not a byte more: what is behind it stays for the transport.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::header::{Malformed, parse};
use crate::limits;

/// How far a header has come.
#[derive(Debug)]
pub(in crate::reactor) enum Progress {
    /// More of it has to come; an event will tell.
    Part,
    /// It is taken from the socket. With the client, if it names one.
    Whole(Option<SocketAddr>),
    /// It is none.
    Malformed(Malformed),
    /// The peer has ended its side before its end.
    Ended,
    /// The connection is lost.
    Lost(std::io::Error),
}

/// Takes what has come of a header. `taken` has the bytes that earlier calls have taken.
pub(in crate::reactor) fn read_header(stream: &mut TcpStream, taken: &mut Vec<u8>) -> Progress {
    loop {
        match step(stream, taken) {
            Ok(None) => {}
            Ok(Some(progress)) => return progress,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Part,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Progress::Lost(error),
        }
    }
}

/// Looks at the next bytes, then takes those of them that are the header's; `None` where there may be more.
fn step(stream: &mut TcpStream, taken: &mut Vec<u8>) -> std::io::Result<Option<Progress>> {
    let mut bytes = [0; limits::PROXY_HEADER_BYTES_MAX];
    let held = taken.len();
    bytes[..held].copy_from_slice(taken);
    // A part is shorter than the longest header, so that there is room.
    let seen = stream.peek(&mut bytes[held..])?;
    if seen == 0 {
        return Ok(Some(Progress::Ended));
    }
    let bytes = &mut bytes[..held + seen];
    let header = match parse(bytes) {
        Ok(header) => header,
        Err(malformed) => return Ok(Some(Progress::Malformed(malformed))),
    };
    // They are there: reading takes all of them.
    let end = header.map_or(bytes.len(), |header| header.length);
    stream.read_exact(&mut bytes[held..end])?;
    taken.extend_from_slice(&bytes[held..end]);
    Ok(header.map(|header| Progress::Whole(header.client)))
}
