//! A connection's socket and its readiness.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;

use super::tls::Transport;
use crate::limits;
use crate::timers::Moment;

/// A non-blocking socket. An event reports a change of readiness once, so it is stored here until a read finds nothing
/// more.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: CountedStream,
    /// Tenths of a second from the clock's origin to its acceptance.
    opened_at: u32,
    pub(super) transport: Transport,
    pub(super) generation: u32,
    /// There may be something to read.
    pub(super) readable: bool,
    /// An event has reported the end of the peer's side, which is still to be read.
    pub(super) read_closed: bool,
    /// The connection is lost. Bytes that came before may still be readable.
    pub(super) failed: bool,
    /// The end of the peer's side has been read.
    pub(super) at_end: bool,
    /// The peer sends requests without waiting for answers: several were in hand after the last read.
    pub(super) sends_ahead: bool,
    /// Our side has been shut down.
    shut: bool,
}

// An idle connection is mostly the hub's entry for it and this one. A debug build of mio's sockets has more in them.
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Option<Socket>>() <= 56);

/// A stream that counts its bytes, encrypted ones where it uses TLS.
#[derive(Debug)]
pub(super) struct CountedStream {
    stream: TcpStream,
    /// Bytes read and dropped.
    discarded: u32,
    bytes_in: u64,
    bytes_out: u64,
}

/// The outcome of a read.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// The number of bytes read.
    Bytes(usize),
    /// There is nothing to read now.
    Nothing,
    /// The end of the peer's side.
    End,
    /// The connection is lost.
    Lost(io::Error),
}

impl Socket {
    pub(super) fn new(stream: TcpStream, transport: Transport, generation: u32, now: Moment) -> Socket {
        Socket {
            stream: CountedStream { stream, discarded: 0, bytes_in: 0, bytes_out: 0 },
            opened_at: tenths(Moment::default().until(now)),
            transport,
            generation,
            readable: false,
            read_closed: false,
            failed: false,
            at_end: false,
            sends_ahead: false,
            shut: false,
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        loop {
            match self.stream.stream.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    self.at_end = true;
                    return ReadOutcome::End;
                }
                Ok(bytes) => {
                    self.stream.bytes_in += bytes as u64;
                    // A short read has emptied the socket. If the end comes next, no further event reports it.
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

    /// Shuts our side down; later calls do nothing.
    pub(super) fn shut(&mut self) {
        if !std::mem::replace(&mut self.shut, true) {
            let _ = self.stream.stream.shutdown(Shutdown::Write);
        }
    }

    /// Counts bytes that are read and dropped. Returns whether their sum is over the limit.
    pub(super) fn discard(&mut self, bytes: usize) -> bool {
        let discarded = &mut self.stream.discarded;
        *discarded = discarded.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        *discarded as usize > limits::DISCARD_BYTES_MAX
    }
}

impl Socket {
    /// Since it was accepted, to a tenth of a second.
    pub(super) fn age(&self, now: Moment) -> Duration {
        let age = tenths(Moment::default().until(now)).saturating_sub(self.opened_at);
        Duration::from_millis(u64::from(age) * 100)
    }
}

/// Thirteen years of them fit.
fn tenths(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / 100).unwrap_or(u32::MAX)
}

impl CountedStream {
    /// Writes as much as the socket takes; `None` when it takes nothing now.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.write(bytes) {
                Ok(written) => {
                    self.bytes_out += written as u64;
                    return Ok(Some(written));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }
}
