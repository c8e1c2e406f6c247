//! Accepting connections: a slot in the hub, and a socket for it.

use std::net::{IpAddr, SocketAddr};

use mio::Interest;

use super::listener::Accepted;
use super::socket::Socket;
use super::tls::Transport;
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
    /// Accepts some of the pending connections.
    pub(super) fn accept(&mut self, now: Moment) {
        let most = self.hub.accepts();
        let left = self.read_unannounced(most, now);
        self.accept_some(left, now);
        if self.incoming.next != Accept::Pending && !self.incoming.unannounced.has_reads() {
            self.hub.watermark().none_to_accept();
        }
    }

    fn accept_some(&mut self, most: usize, now: Moment) {
        match self.incoming.next {
            Accept::Idle => return,
            Accept::Paused(until) if now < until => return,
            Accept::Pending | Accept::Paused(_) => self.incoming.next = Accept::Pending,
        }
        for _ in 0..most {
            let Some(listener) = &mut self.incoming.listener else { return };
            match listener.accept() {
                Accepted::Stream(stream, peer) => {
                    self.note_accepted();
                    let peer = canonical(peer);
                    if self.incoming.unannounced.expects_of(peer.ip()) {
                        self.greet(stream, peer, now);
                    } else {
                        self.open(stream, peer, Opens::Client, now);
                    }
                }
                Accepted::Lost => self.note_accepted(),
                Accepted::NoneLeft => {
                    self.incoming.next = Accept::Idle;
                    if std::mem::take(&mut self.incoming.exhausted) {
                        log::info!(
                            "action: accept_connections | result: in_progress | reason: new connections are accepted again"
                        );
                    }
                }
                Accepted::Exhausted(error) => self.pause_accepting(&error, now),
            }
            if self.incoming.next != Accept::Pending {
                return;
            }
        }
    }

    /// One connection fewer waits. Those whose headers have come and are not read still do: the hub does not know them.
    fn note_accepted(&mut self) {
        if !self.incoming.unannounced.has_reads() {
            self.hub.watermark().accepted();
        }
    }

    /// Nothing tells when what accepting lacks is there again: it is tried a little later, or when a connection
    /// ends.
    pub(super) fn pause_accepting(&mut self, error: &std::io::Error, now: Moment) {
        if !std::mem::replace(&mut self.incoming.exhausted, true) {
            log::warn!("action: accept_connections | result: in_progress | reason: {error}, new connections wait");
        }
        self.incoming.next = Accept::Paused(now + limits::ACCEPT_RETRY);
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
        if let Accept::Paused(_) = self.incoming.next {
            self.incoming.next = Accept::Pending;
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
        if slot >= self.sockets.slots.len() {
            self.sockets.slots.resize_with(slot + 1, || None);
        }
        let transport = Transport::new(self.encryption.tls.as_ref());
        let mut socket = Socket::new(stream, transport, id.generation, now);
        // What a client sends right after connecting is often here already.
        socket.readable = true;
        self.hub.set_handshaking(id, socket.transport.may_shake_hands());
        self.sockets.slots[slot] = Some(socket);
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
}

/// An IPv4 address is itself, also where the socket is one of IPv6.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
