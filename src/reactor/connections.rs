//! Accepting, reading, writing and closing connections.

use std::net::{IpAddr, SocketAddr};

use mio::Interest;
use mio::event::Event;

use super::listener::Accepted;
use super::socket::{ReadOutcome, Socket};
use super::transport::{Transport, deliver, write_plain, write_tls};
use super::{Accept, Reactor, token_of};
use crate::hub::ConnectionId;
use crate::limits;
use crate::storage::Keep;
use crate::timers::Moment;

/// For whom a connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    /// A client.
    Client,
    /// A balancer itself, whose health checks come every few seconds.
    Balancer,
}

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
            self.writable.push(id);
        }
    }

    /// Accepts some of the pending connections.
    pub(super) fn accept(&mut self, now: Moment) {
        let most = self.hub.accepts();
        let left = self.read_unannounced(most, now);
        self.accept_some(left, now);
        if self.accept != Accept::Pending && !self.unannounced.has_reads() {
            self.hub.watermark().none_to_accept();
        }
    }

    fn accept_some(&mut self, most: usize, now: Moment) {
        match self.accept {
            Accept::Idle => return,
            Accept::Paused(until) if now < until => return,
            Accept::Pending | Accept::Paused(_) => self.accept = Accept::Pending,
        }
        for _ in 0..most {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept() {
                Accepted::Stream(stream, peer) => {
                    self.note_accepted();
                    let peer = canonical(peer);
                    if self.unannounced.expects_of(peer.ip()) {
                        self.greet(stream, peer, now);
                    } else {
                        self.open(stream, peer, Opens::Client, now);
                    }
                }
                Accepted::Lost => self.note_accepted(),
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

    /// One connection fewer waits. Those whose headers have come and are not read still do: the hub does not know them.
    fn note_accepted(&mut self) {
        if !self.unannounced.has_reads() {
            self.hub.watermark().accepted();
        }
    }

    /// Nothing tells when what accepting lacks is there again: it is tried a little later, or when a connection
    /// ends.
    pub(super) fn pause_accepting(&mut self, error: &std::io::Error, now: Moment) {
        if !std::mem::replace(&mut self.accept_exhausted, true) {
            log::warn!("action: accept_connections | result: in_progress | reason: {error}, new connections wait");
        }
        self.accept = Accept::Paused(now + limits::ACCEPT_RETRY);
        if let Some(status) = &mut self.status {
            status.give_way(now);
        }
        // The freed descriptor lets the hub accept again at once.
        if self.evict_unannounced(now) {
            self.accept_again();
        } else {
            self.evict(None, now);
        }
    }

    /// A descriptor is free: accepting need not wait for one any longer.
    pub(super) fn accept_again(&mut self) {
        if let Accept::Paused(_) = self.accept {
            self.accept = Accept::Pending;
        }
    }

    pub(super) fn open(&mut self, mut stream: mio::net::TcpStream, peer: SocketAddr, opens: Opens, now: Moment) {
        let Some(id) = self.admit(peer, opens, now) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token_of(id), interest) {
            // The kernel watches no more sockets for now: this connection is lost, the others are not.
            self.hub.closed(id, now);
            return self.pause_accepting(&error, now);
        }
        let slot = id.slot as usize;
        if slot >= self.sockets.len() {
            self.sockets.resize_with(slot + 1, || None);
        }
        let transport = Transport::new(self.tls.as_ref());
        let mut socket = Socket::new(stream, transport, id.generation, now);
        // What a client sends right after connecting is often here already.
        socket.readable = true;
        self.hub.set_handshaking(id, socket.transport.may_shake_hands());
        self.sockets[slot] = Some(socket);
        self.hub.readable(id);
    }

    /// Finds a slot for a newcomer: a free one, one of an evicted connection, or one among the refused, which are only
    /// told that the hub is full.
    fn admit(&mut self, peer: SocketAddr, opens: Opens, now: Moment) -> Option<ConnectionId> {
        let ip = peer.ip();
        let mut admitted = self.hub.open(peer, now);
        if admitted.is_err() && self.evict(Some(ip), now) {
            admitted = self.hub.open(peer, now);
        }
        match admitted {
            Ok(id) => {
                match opens {
                    Opens::Client => log::info!("action: accept_connections | result: success | ip: {ip}"),
                    Opens::Balancer => log::debug!("action: accept_connections | result: success | ip: {ip}"),
                }
                Some(id)
            }
            Err(full) => {
                log::warn!("action: accept_connections | result: fail | ip: {ip} | reason: {full}");
                self.hub.refuse(peer, now)
            }
        }
    }

    /// Evicts a connection; says whether there was one to evict.
    fn evict(&mut self, newcomer: Option<IpAddr>, now: Moment) -> bool {
        // A peer whose bytes have not been read yet has not been silent.
        let Some(id) = self.hub.evict(newcomer) else { return false };
        if let Some(peer) = self.hub.peer(id) {
            log::info!("action: close_connection | result: success | ip: {peer} | reason: its place is needed");
        }
        self.close(id, now);
        true
    }

    /// Reads the connections that the hub grants, and as much as it grants.
    pub(super) fn read_all(&mut self, now: Moment) {
        self.hub.begin_reads(now);
        while let Some(grant) = self.hub.next_read(self.handshakes_left > 0) {
            let bytes = self.read(grant.id, grant.bytes, now);
            let more = self.socket(grant.id).is_some_and(|socket| socket.readable);
            self.hub.read(grant, bytes, more);
        }
        self.hub.end_reads(now);
    }

    /// Reads one socket; returns how many bytes.
    fn read(&mut self, id: ConnectionId, budget: usize, now: Moment) -> usize {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return 0 };
        let mut left = budget;
        while socket.readable && left > 0 {
            let held = socket.transport.incoming().len();
            let room = socket.transport.least_room(self.hub.read_room(id));
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
            self.traffic.bytes_in += bytes as u64;
            if self.hub.is_closing(id) {
                // At the hub's end time is the limit, and it is short.
                if socket.discard(bytes) && self.listener.is_some() {
                    self.close(id, now);
                    return budget - left;
                }
                continue;
            }
            let records = &mut self.scratch[..held + bytes];
            let decoding_from = self.marks.is_traced().then(|| self.clock.elapsed());
            let steps = deliver((id, socket), &mut self.hub, self.tls.as_ref(), records, last, now);
            if let Some(from) = decoding_from {
                self.marks.decoded(self.clock.elapsed().saturating_sub(from));
            }
            self.handshakes_left = self.handshakes_left.saturating_sub(steps);
            if !socket.transport.is_flushed() {
                self.writable.push(id);
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
        self.hub.set_handshaking(id, socket.transport.may_shake_hands());
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
        for id in std::mem::take(&mut self.writable) {
            self.write(id, now);
        }
        self.hub.watermark().writes_tried();
    }

    fn write(&mut self, id: ConnectionId, now: Moment) {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        let before = socket.stream.bytes_out();
        let written = match &mut socket.transport {
            // What the hub dropped is not sent, though a record of it may be encrypted already.
            _ if self.hub.is_cut(id) => Ok(()),
            Transport::Undecided { .. } | Transport::Plain => write_plain(&mut socket.stream, &mut self.hub, id, now),
            Transport::Tls(session) => {
                let written = write_tls(&mut socket.stream, session, &mut self.hub, id, now);
                self.hub.hold(id, session.memory_bytes(), now);
                written
            }
        };
        self.traffic.bytes_out += socket.stream.bytes_out() - before;
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
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        let cut = self.hub.is_cut(id);
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
        self.hub.closed(id, now);
        self.accept_again();
    }

    fn socket(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        socket_of(&mut self.sockets, id)
    }
}

/// An IPv4 address is itself, also where the socket is one of IPv6.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

fn socket_of(sockets: &mut [Option<Socket>], id: ConnectionId) -> Option<&mut Socket> {
    sockets.get_mut(id.slot as usize)?.as_mut().filter(|socket| socket.generation == id.generation)
}
