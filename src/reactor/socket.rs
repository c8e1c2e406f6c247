//! A connection's socket and what is known of its readiness.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::transport::Transport;
use crate::limits;

/// A non-blocking socket. Readiness is told once, when it changes, so it is remembered here until a read
/// or write finds nothing more.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) transport: Transport,
    pub(super) generation: u32,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The peer is known to have ended its side: the end is still to be read.
    pub(super) read_closed: bool,
    /// The connection is lost, though bytes that came before may still be there to be read.
    pub(super) failed: bool,
    /// The peer's end has been read.
    pub(super) at_end: bool,
    /// Its peer does not wait for an answer before it sends on: it had several requests in the last turn that heard it.
    pub(super) sends_ahead: bool,
    /// Our side has been ended.
    shut: bool,
    discarded: u32,
}

/// What a read found.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer's end.
    End,
    /// The connection is lost.
    Lost(io::Error),
}

impl Socket {
    pub(super) fn new(stream: TcpStream, transport: Transport, generation: u32) -> Socket {
        Socket {
            stream,
            transport,
            generation,
            readable: false,
            read_closed: false,
            failed: false,
            at_end: false,
            sends_ahead: false,
            shut: false,
            discarded: 0,
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    self.at_end = true;
                    return ReadOutcome::End;
                }
                Ok(bytes) => {
                    // A short read has emptied the socket, unless the end is behind it, which no further
                    // event would tell.
                    self.readable = bytes == buffer.len() || self.read_closed;
                    return ReadOutcome::Bytes(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return ReadOutcome::Nothing;
                }
                Err(error) => return ReadOutcome::Lost(error),
            }
        }
    }

    /// Ends our side, once.
    pub(super) fn shut(&mut self) {
        if !std::mem::replace(&mut self.shut, true) {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// Counts bytes that nobody wants; says whether there were too many of them.
    pub(super) fn discard(&mut self, bytes: usize) -> bool {
        self.discarded = self.discarded.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.discarded as usize > limits::DISCARD_BYTES_MAX
    }
}

/// Writes; `None` when the peer takes nothing now.
pub(super) fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match stream.write(bytes) {
            Ok(written) => return Ok(Some(written)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
