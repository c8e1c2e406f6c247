//! Accepting, reading, writing and closing connections.

use mio::Interest;
use mio::event::Event;

use super::listener::Accepted;
use super::socket::{ReadOutcome, Socket};
use super::transport::{Transport, hear, write_plain, write_tls};
use super::{Accept, Reactor, token_of};
use crate::engine::ConnectionId;
use crate::limits;
use crate::storage::Disk;
use crate::timers::Moment;

/// The read queues, as the watermark numbers them.
const AGENCIES: usize = 0;
const STRANGERS: usize = 1;

impl<D: Disk> Reactor<D> {
    pub(super) fn note_readiness(&mut self, id: ConnectionId, event: &Event, now: Moment) {
        let Some(socket) = self.socket(id) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            socket.read_closed |= event.is_read_closed() || event.is_error();
            socket.failed |= event.is_error();
            self.queue_read(id, now);
        }
        if event.is_writable() {
            self.writable.push(id);
        }
    }

    /// Accepts a slice of those who wait, if anyone does.
    pub(super) fn accept(&mut self, now: Moment) {
        self.accept_some(now);
        if self.accept != Accept::Pending {
            self.watermark.none_to_accept();
        }
    }

    fn accept_some(&mut self, now: Moment) {
        match self.accept {
            Accept::Idle => return,
            Accept::Paused(until) if now < until => return,
            Accept::Pending | Accept::Paused(_) => self.accept = Accept::Pending,
        }
        for _ in 0..limits::ACCEPT_PER_TURN.max(self.agencies.len()) {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Accepted::Stream(stream, peer) => {
                    self.watermark.accepted();
                    self.open(stream, peer.ip().to_canonical(), now);
                }
                Accepted::Lost => self.watermark.accepted(),
                Accepted::NoneLeft => {
                    self.accept = Accept::Idle;
                    if std::mem::take(&mut self.accept_exhausted) {
                        log::info!(
                            "action: accept_connections | result: in_progress | reason: new connections are accepted again"
                        );
                    }
                }
                Accepted::Exhausted(error) => self.pause_accepting(&error, now),
            }
            if self.accept != Accept::Pending {
                return;
            }
        }
    }

    /// Nothing tells when what accepting lacks is there again: it is tried a little later, or when a connection
    /// ends.
    fn pause_accepting(&mut self, error: &std::io::Error, now: Moment) {
        if !std::mem::replace(&mut self.accept_exhausted, true) {
            log::warn!("action: accept_connections | result: in_progress | reason: {error}, new connections wait");
        }
        self.accept = Accept::Paused(now + limits::ACCEPT_RETRY);
        // Makes accepting go on at once, with the descriptor that came free.
        self.displace(None, now);
    }

    fn open(&mut self, mut stream: mio::net::TcpStream, peer: std::net::IpAddr, now: Moment) {
        let Some(id) = self.admit(peer, now) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token_of(id), interest) {
            // The kernel watches no more sockets for now: this connection is lost, the others are not.
            self.engine.closed(id, now);
            return self.pause_accepting(&error, now);
        }
        let slot = id.slot as usize;
        if slot >= self.sockets.len() {
            self.sockets.resize_with(slot + 1, || None);
        }
        let mut socket = Socket::new(stream, Transport::new(self.tls.as_ref()), id.generation);
        // What a client sends right after connecting is often here already.
        socket.readable = true;
        self.sockets[slot] = Some(socket);
        self.queue_read(id, now);
    }

    /// Finds a place for a newcomer: a free one, or one that somebody has to leave for it, or one among those
    /// who are only told that there is none.
    fn admit(&mut self, peer: std::net::IpAddr, now: Moment) -> Option<ConnectionId> {
        let mut admitted = self.engine.open(peer, now);
        if admitted.is_err() && self.displace(Some(peer), now) {
            admitted = self.engine.open(peer, now);
        }
        match admitted {
            Ok(id) => {
                log::info!("action: accept_connections | result: success | ip: {peer}");
                Some(id)
            }
            Err(full) => {
                log::warn!("action: accept_connections | result: fail | ip: {peer} | reason: {full}");
                self.engine.refuse(peer, now)
            }
        }
    }

    /// Closes a connection that others need the place of; says whether there was one.
    fn displace(&mut self, newcomer: Option<std::net::IpAddr>, now: Moment) -> bool {
        // Who has said something that has not been read yet has not been silent.
        let Some(id) = self.engine.make_room(newcomer, self.watermark.at()) else { return false };
        if let Some(peer) = self.engine.peer(id) {
            log::info!("action: close_connection | result: success | ip: {peer} | reason: its place is needed");
        }
        self.close(id, now);
        true
    }

    /// Reads the sockets that may have something, each within its budget, until the turn has enough: agencies' first,
    /// and of strangers' a few.
    ///
    /// Where many are read each gets less, so that nobody waits long for the others; but whoever is in
    /// line is read before anyone in it is read twice.
    pub(super) fn read_all(&mut self, now: Moment) {
        let (agencies, strangers) = (self.agencies.len(), self.strangers.len());
        let few = strangers_heard(strangers, agencies);
        let budget = (limits::TURN_BYTES / (agencies + few).max(1))
            .clamp(limits::TURN_BYTES_PER_CONNECTION_MIN, limits::TURN_BYTES_PER_CONNECTION);
        let strangers_budget = (limits::STRANGERS_TURN_BYTES / few.max(1)).max(limits::TURN_BYTES_PER_CONNECTION_MIN);
        self.watermark.queued([agencies, strangers]);
        let strangers_first = self.owed.pay(self.engine.turn_is_full());
        if strangers_first {
            self.read_strangers(few, limits::STRANGERS_TURN_BYTES, strangers_budget, now);
        }
        let mut bytes = 0;
        for _ in 0..agencies {
            if bytes >= limits::TURN_BYTES || self.engine.turn_is_full() {
                break;
            }
            let Some(id) = self.agencies.pop_front() else { break };
            bytes += self.read(id, budget, now);
            self.watermark.read(AGENCIES);
        }
        if !strangers_first {
            self.owed.note(strangers > 0 && self.engine.turn_is_full());
            self.read_strangers(few, limits::STRANGERS_TURN_BYTES.max(bytes), strangers_budget, now);
        }
    }

    /// Reads the first `sockets` of the strangers' line, or fewer, when they have said enough.
    fn read_strangers(&mut self, sockets: usize, bytes_max: usize, budget: usize, now: Moment) {
        let mut bytes = 0;
        for _ in 0..sockets {
            let said = bytes.max(self.engine.strangers_bytes());
            let enough = said >= bytes_max || self.engine.strangers_are_heard();
            if enough || self.engine.turn_is_full() {
                return;
            }
            let Some(id) = self.strangers.front().copied() else { return };
            if self.waits_for_a_handshake(id) {
                return;
            }
            self.strangers.pop_front();
            bytes += self.read(id, budget, now);
            self.watermark.read(STRANGERS);
        }
    }

    /// Whether reading the socket may be a step of a handshake, and the turn has made enough of those.
    fn waits_for_a_handshake(&mut self, id: ConnectionId) -> bool {
        let turn_is_spent = self.handshakes_left == 0;
        turn_is_spent && self.socket(id).is_some_and(|socket| socket.transport.may_shake_hands())
    }

    /// Reads one socket; returns how many bytes.
    fn read(&mut self, id: ConnectionId, budget: usize, now: Moment) -> usize {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return 0 };
        socket.queued = false;
        let mut left = budget;
        while socket.readable && left > 0 {
            let held = socket.transport.incoming().len();
            let room = socket.transport.least_room(self.engine.read_room(id));
            let room = room.min(left).min(self.scratch.len() - held);
            if room == 0 {
                break;
            }
            self.scratch[..held].copy_from_slice(socket.transport.incoming());
            let outcome = socket.read(&mut self.scratch[held..held + room]);
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
            if self.engine.is_closing(id) {
                // At the hub's end time is the limit, and it is short.
                if socket.discard(bytes) && self.listener.is_some() {
                    self.close(id, now);
                    return budget - left;
                }
                continue;
            }
            let records = &mut self.scratch[..held + bytes];
            let steps = hear((id, socket), &mut self.engine, self.tls.as_ref(), records, last, now);
            self.handshakes_left = self.handshakes_left.saturating_sub(steps);
            if !socket.transport.is_flushed() {
                self.writable.push(id);
            }
            if last {
                self.engine.half_close(id, now);
            }
            // What came while this was decoded joins a commit that is dear; else it would need another one.
            // Where commits are cheap the peer is better served by an early answer, and one that waits for each
            // answer has sent no more.
            let sends_ahead = self.engine.requests_in_hand(id) > 1;
            socket.readable |= bytes > 0 && self.engine.commits_wait() && (sends_ahead || socket.sends_ahead);
            socket.sends_ahead = sends_ahead;
        }
        self.engine.note_unread(id, socket.readable);
        self.close_if_done(id, now);
        self.queue_read(id, now);
        budget - left
    }

    /// Sends what there is to send, to those who have something new and to those who take more now.
    pub(super) fn write_all(&mut self, now: Moment) {
        while let Some(id) = self.engine.take_dirty() {
            self.write(id, now);
        }
        self.write_ready(now);
    }

    /// Sends to those who take more now.
    pub(super) fn write_ready(&mut self, now: Moment) {
        for id in std::mem::take(&mut self.writable) {
            self.write(id, now);
        }
    }

    fn write(&mut self, id: ConnectionId, now: Moment) {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        let written = match &mut socket.transport {
            // What the engine dropped is not sent, though a record of it may be encrypted already.
            _ if self.engine.is_cut(id) => Ok(()),
            Transport::Undecided { .. } | Transport::Plain => {
                write_plain(&mut socket.stream, &mut self.engine, id, now)
            }
            Transport::Tls(session) => {
                let written = write_tls(&mut socket.stream, session, &mut self.engine, id, now);
                self.engine.hold(id, session.memory_bytes(), now);
                written
            }
        };
        if let Err(error) = written {
            log::debug!("action: send_message | result: in_progress | reason: {error}");
            return self.close(id, now);
        }
        self.close_if_done(id, now);
        self.queue_read(id, now);
    }

    /// Ends our side of a connection that has said everything; closes it when the peer has ended its own.
    fn close_if_done(&mut self, id: ConnectionId, now: Moment) {
        if !self.engine.is_done(id) {
            return;
        }
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        let cut = self.engine.is_cut(id);
        if cut || socket.transport.is_finished() {
            socket.shut();
            if socket.at_end || cut {
                self.close(id, now);
            }
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId, now: Moment) {
        let Some(socket) = self.sockets.get_mut(id.slot as usize) else { return };
        if socket.as_ref().is_none_or(|socket| socket.generation != id.generation) {
            return;
        }
        *socket = None;
        self.engine.closed(id, now);
        if let Accept::Paused(_) = self.accept {
            self.accept = Accept::Pending;
        }
    }

    /// Puts a socket in line that may be read and whose bytes are wanted. A lost one that is not wanted now has
    /// nobody left to wait for.
    fn queue_read(&mut self, id: ConnectionId, now: Moment) {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        if !socket.readable || socket.queued {
            return;
        }
        if self.engine.wants_read(id) {
            socket.queued = true;
            let line = if self.engine.is_agency(id) { &mut self.agencies } else { &mut self.strangers };
            line.push_back(id);
        } else if socket.failed {
            self.close(id, now);
        }
    }

    fn socket(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        socket_of(&mut self.sockets, id)
    }
}

/// How many strangers a turn reads: a few, so that agencies do not wait for them. But agencies that are many at once
/// came as many at once: newcomers get half of the turn.
fn strangers_heard(strangers: usize, agencies: usize) -> usize {
    strangers.min(limits::STRANGERS_PER_TURN.max(agencies))
}

fn socket_of(sockets: &mut [Option<Socket>], id: ConnectionId) -> Option<&mut Socket> {
    sockets.get_mut(id.slot as usize)?.as_mut().filter(|socket| socket.generation == id.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_strangers_are_heard_beside_few_agencies_and_as_many_as_there_are_agencies() {
        let few = limits::STRANGERS_PER_TURN;
        assert_eq!(strangers_heard(10_000, 0), few);
        assert_eq!(strangers_heard(10_000, few - 1), few);
        assert_eq!(strangers_heard(1, 5), 1);
        assert_eq!(strangers_heard(10_000, 600), 600);
        assert_eq!(strangers_heard(400, 600), 400);
    }
}
