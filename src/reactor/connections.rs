//! Reading, writing and closing connections. Bytes move between a socket and the hub, decrypted and encrypted where the
//! connection uses TLS.

use std::io;

use mio::event::Event;

use super::Reactor;
use super::socket::{CountedStream, ReadOutcome, Socket};
use super::tls::{Received, Session, Tls, Transport};
use crate::hub::{ConnectionId, Hub};
use crate::storage::Keep;
use crate::timers::Moment;

/// The alert of TLS for a record of a type that is not expected (RFC 8446, 5.1 and 6): fatal, `unexpected_message`.
const UNEXPECTED_MESSAGE: [u8; 7] = [0x15, 0x03, 0x03, 0, 2, 2, 10];

impl<K: Keep> Reactor<K> {
    pub(super) fn note_readiness(&mut self, id: ConnectionId, event: &Event, now: Moment) {
        let Some(socket) = self.socket(id) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            socket.read_closed |= event.is_read_closed() || event.is_error();
            socket.failed |= event.is_error();
            let failed = socket.failed;
            self.hub.readable(id);
            if failed && !self.hub.wants_read(id) {
                // What it has to say is not wanted now, and there is no peer left to wait for.
                self.close(id, now);
            }
        }
        if event.is_writable() {
            self.sockets.writable.push(id);
        }
    }

    /// Reads the connections that the hub grants, and as much as it grants.
    pub(super) fn read_all(&mut self, now: Moment) {
        self.hub.begin_reads(now);
        while let Some(grant) = self.hub.next_read(self.encryption.handshakes_left > 0) {
            let bytes = self.read(grant.id, grant.bytes, now);
            let more = self.socket(grant.id).is_some_and(|socket| socket.readable);
            self.hub.read(grant, bytes, more);
        }
        self.hub.end_reads(now);
    }

    /// Reads one socket; returns how many bytes.
    fn read(&mut self, id: ConnectionId, budget: usize, now: Moment) -> usize {
        let Some(socket) = socket_of(&mut self.sockets.slots, id) else { return 0 };
        let mut left = budget;
        while socket.readable && left > 0 {
            let held = socket.transport.incoming().len();
            let room = socket.transport.least_room(self.hub.read_room(id));
            let room = room.min(left).min(self.sockets.scratch.len() - held);
            if room == 0 {
                break;
            }
            self.sockets.scratch[..held].copy_from_slice(socket.transport.incoming());
            let outcome = socket.read(&mut self.sockets.scratch[held..held + room]);
            let (bytes, last) = match outcome {
                ReadOutcome::Bytes(bytes) => (bytes, false),
                ReadOutcome::Nothing => continue,
                ReadOutcome::End if socket.failed => {
                    // It had ended its side before it was lost, so that reading does not say that it is.
                    self.close(id, now);
                    return budget - left;
                }
                ReadOutcome::End => (0, true),
                ReadOutcome::Lost(error) => {
                    log::debug!("action: receive_message | result: in_progress | reason: {error}");
                    self.close(id, now);
                    return budget - left;
                }
            };
            left -= bytes;
            self.measures.traffic.bytes_in += bytes as u64;
            if self.hub.is_closing(id) {
                // At the hub's end time is the limit, and it is short.
                if socket.discard(bytes) && self.incoming.listener.is_some() {
                    self.close(id, now);
                    return budget - left;
                }
                continue;
            }
            let records = &mut self.sockets.scratch[..held + bytes];
            let decoding_from = self.measures.marks.is_traced().then(|| self.clock.elapsed());
            let steps = deliver((id, socket), &mut self.hub, self.encryption.tls.as_ref(), records, last, now);
            if let Some(from) = decoding_from {
                self.measures.marks.decoded(self.clock.elapsed().saturating_sub(from));
            }
            self.encryption.handshakes_left = self.encryption.handshakes_left.saturating_sub(steps);
            if !socket.transport.is_flushed() {
                self.sockets.writable.push(id);
            }
            if last {
                self.hub.half_close(id, now);
            }
            // What came while this was decoded joins a commit that is dear; else it would need another one.
            // Where commits are cheap the peer is better served by an early answer, and one that waits for each
            // answer has sent no more.
            let sends_ahead = self.hub.requests_in_hand(id) > 1;
            socket.readable |= bytes > 0 && self.hub.commits_wait() && (sends_ahead || socket.sends_ahead);
            socket.sends_ahead = sends_ahead;
        }
        let lost = socket.failed && socket.readable;
        self.close_if_done(id, now);
        if lost && !self.hub.wants_read(id) {
            self.close(id, now);
        }
        budget - left
    }

    /// Flushes the outboxes with new bytes, and those of sockets that have become writable.
    pub(super) fn write_all(&mut self, now: Moment) {
        while let Some(id) = self.hub.take_dirty() {
            self.write(id, now);
        }
        self.write_ready(now);
    }

    /// Flushes the outboxes of sockets that have become writable.
    pub(super) fn write_ready(&mut self, now: Moment) {
        for id in std::mem::take(&mut self.sockets.writable) {
            self.write(id, now);
        }
        self.hub.watermark().writes_tried();
    }

    fn write(&mut self, id: ConnectionId, now: Moment) {
        let Some(socket) = socket_of(&mut self.sockets.slots, id) else { return };
        let before = socket.stream.bytes_out();
        let written = match &mut socket.transport {
            // What the hub dropped is not sent, though a record of it may be encrypted already.
            _ if self.hub.is_cut(id) => Ok(()),
            Transport::Undecided { .. } | Transport::Plain => loop {
                let outgoing = self.hub.outgoing(id);
                if outgoing.is_empty() {
                    break Ok(());
                }
                match socket.stream.write(outgoing) {
                    Ok(Some(bytes)) => self.hub.sent(id, bytes, now),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            },
            Transport::Tls(session) => {
                let written = write_tls(&mut socket.stream, session, &mut self.hub, id, now);
                self.hub.hold(id, session.memory_bytes());
                written
            }
        };
        self.measures.traffic.bytes_out += socket.stream.bytes_out() - before;
        if let Err(error) = written {
            log::debug!("action: send_message | result: in_progress | reason: {error}");
            return self.close(id, now);
        }
        self.close_if_done(id, now);
    }

    /// Ends our side of a connection that has said everything; closes it when the peer has ended its own.
    fn close_if_done(&mut self, id: ConnectionId, now: Moment) {
        if !self.hub.is_done(id) {
            return;
        }
        let Some(socket) = socket_of(&mut self.sockets.slots, id) else { return };
        let cut = self.hub.is_cut(id);
        if cut || socket.transport.is_finished() {
            socket.shut();
            if socket.at_end || cut {
                self.close(id, now);
            }
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId, now: Moment) {
        let Some(socket) = self.sockets.slots.get_mut(id.slot as usize) else { return };
        if socket.as_ref().is_none_or(|socket| socket.generation != id.generation) {
            return;
        }
        *socket = None;
        self.hub.closed(id, now);
        self.accept_again();
    }

    fn socket(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        socket_of(&mut self.sockets.slots, id)
    }
}

fn socket_of(sockets: &mut [Option<Socket>], id: ConnectionId) -> Option<&mut Socket> {
    sockets.get_mut(id.slot as usize)?.as_mut().filter(|socket| socket.generation == id.generation)
}

/// Gives `bytes`, which begin with [`Transport::incoming`], to the hub, decrypted where the connection uses TLS.
/// `last`: no more will come. Returns the number of handshake steps.
fn deliver<K: Keep>(
    (id, socket): (ConnectionId, &mut Socket),
    hub: &mut Hub<K>,
    tls: Option<&Tls>,
    bytes: &mut [u8],
    last: bool,
    now: Moment,
) -> usize {
    if bytes.is_empty() {
        return 0;
    }
    if let Some(tls) = tls {
        if let Err(why) = socket.transport.decide(bytes, last, tls, hub.peer(id)) {
            // What is not said in TLS is answered as TLS has it, so that a client can tell what is wanted. The socket is new,
            // and takes so few bytes.
            let _ = socket.stream.write(&UNEXPECTED_MESSAGE);
            refuse(hub, id, &why, now);
            return 0;
        }
        hub.set_handshaking(id, socket.transport.may_shake_hands());
    }
    match &mut socket.transport {
        Transport::Undecided { .. } => 0,
        Transport::Plain => {
            hub.receive(id, bytes, now);
            0
        }
        Transport::Tls(session) => decrypt(id, session, hub, bytes, now),
    }
}

fn decrypt<K: Keep>(
    id: ConnectionId,
    session: &mut Session,
    hub: &mut Hub<K>,
    records: &mut [u8],
    now: Moment,
) -> usize {
    let steps = usize::from(session.is_handshaking());
    let decrypted = session.receive(records, |received| match received {
        Received::Established(Some(agency)) => hub.certify(id, agency),
        Received::Established(None) => {}
        Received::Bytes(bytes) => hub.receive(id, bytes, now),
        Received::End => hub.half_close(id, now),
    });
    hub.set_handshaking(id, session.is_handshaking());
    hub.hold(id, session.memory_bytes());
    if let Err(why) = decrypted {
        refuse(hub, id, &why, now);
    }
    steps
}

/// Closes a connection whose bytes cannot be given to the hub.
fn refuse<K: Keep>(hub: &mut Hub<K>, id: ConnectionId, why: &str, now: Moment) {
    let Some(peer) = hub.peer(id) else { return };
    let why = crate::logging::Value(why);
    log::warn!("action: tls | result: fail | ip: {peer} | reason: {why}, connection closed");
    hub.hang_up(id, now);
}

/// Writes what the hub has for a peer, as far as the socket takes it, one record at a time. Bytes count as sent when the socket has taken their whole record.
///
/// # Errors
/// The connection is lost, or the session cannot encrypt.
fn write_tls<K: Keep>(
    stream: &mut CountedStream,
    session: &mut Session,
    hub: &mut Hub<K>,
    id: ConnectionId,
    now: Moment,
) -> io::Result<()> {
    loop {
        if session.unsent().is_empty() {
            let outgoing = hub.outgoing(id);
            if !outgoing.is_empty() {
                session.encrypt(outgoing).map_err(io::Error::other)?;
            } else if hub.is_done(id) {
                session.send_close_notify();
            }
            if session.unsent().is_empty() {
                return Ok(());
            }
        }
        let Some(bytes) = stream.write(session.unsent())? else { return Ok(()) };
        let carried = session.sent(bytes);
        if carried > 0 {
            hub.sent(id, carried, now);
        }
    }
}
