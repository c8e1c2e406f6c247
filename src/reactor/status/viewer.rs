//! One viewer: its socket, its connection, and what is known of its readiness.

use std::io::{self, ErrorKind};

use mio::event::Event;

use super::doors::Stream;
use crate::limits;
use crate::status::{Connection, Cursor};
use crate::timers::Moment;

/// A viewer of the status service.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) stream: Stream,
    pub(super) connection: Connection,
    /// Where a viewer of events is.
    pub(super) cursor: Option<Cursor>,
    pub(super) generation: u32,
    /// It is in the queue.
    pub(super) queued: bool,
    /// When it last sent or took something.
    pub(super) active_at: Moment,
    readable: bool,
    writable: bool,
    read_closed: bool,
    failed: bool,
    shut: bool,
}

impl Viewer {
    pub(super) fn new(stream: Stream, generation: u32, now: Moment) -> Viewer {
        let connection = Connection::new(stream.door(), now);
        Viewer {
            stream,
            connection,
            cursor: None,
            generation,
            queued: false,
            active_at: now,
            // A request is often here already.
            readable: true,
            writable: true,
            read_closed: false,
            failed: false,
            shut: false,
        }
    }

    pub(super) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.read_closed |= event.is_read_closed();
        self.writable |= event.is_writable();
        self.failed |= event.is_error();
    }

    /// Whether it can be closed.
    pub(super) fn is_over(&self) -> bool {
        self.failed || self.connection.is_over()
    }

    /// Whether there is something to do without a further event.
    pub(super) fn has_work(&self) -> bool {
        self.is_over()
            || (self.readable && self.connection.room() > 0)
            || (self.writable && self.connection.has_unsent())
    }

    /// Reads what the connection takes, with one call.
    pub(super) fn read(&mut self, scratch: &mut [u8], now: Moment) {
        let room = self.connection.room().min(scratch.len());
        if !self.readable || room == 0 {
            return;
        }
        match self.stream.read(&mut scratch[..room]) {
            Ok(0) => {
                self.readable = false;
                self.connection.end();
            }
            Ok(bytes) => {
                // As for agencies: if the end comes next, no further event reports it.
                self.readable = bytes == room || self.read_closed;
                self.active_at = now;
                self.connection.receive(&scratch[..bytes], now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Writes what the socket takes, up to `budget` bytes. Returns how many it took.
    pub(super) fn write(&mut self, budget: usize, now: Moment) -> usize {
        let mut left = budget.min(limits::STATUS_BYTES_PER_VIEWER);
        while self.writable && left > 0 && !self.failed {
            let unsent = self.connection.unsent();
            if unsent.is_empty() {
                break;
            }
            match self.stream.write(&unsent[..unsent.len().min(left)]) {
                Ok(bytes) => {
                    left -= bytes;
                    self.active_at = now;
                    self.connection.sent(bytes, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.fail(&error),
            }
        }
        if self.connection.is_parting() && !std::mem::replace(&mut self.shut, true) {
            self.stream.shut();
        }
        budget.min(limits::STATUS_BYTES_PER_VIEWER) - left
    }

    fn fail(&mut self, error: &io::Error) {
        log::debug!("action: status | result: in_progress | reason: {error}");
        self.failed = true;
    }
}
