//! Balancers' connections, until the hub knows their clients.

use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;

use super::Reactor;
use super::accept::{Opens, canonical};
use super::proxy::{Progress, Unkept, read_header};
use crate::limits;
use crate::logging::Value;
use crate::storage::Keep;
use crate::timers::Moment;

impl<K: Keep> Reactor<K> {
    /// Takes a connection that has just been accepted from a balancer. Most have their header already.
    pub(super) fn greet(&mut self, mut stream: TcpStream, balancer: SocketAddr, now: Moment) {
        let mut taken = Vec::new();
        let progress = read_header(&mut stream, &mut taken);
        let Progress::Part = progress else { return self.announce(stream, balancer, &taken, progress, now) };
        match self.incoming.unannounced.insert(stream, balancer, taken, self.poll.registry(), now) {
            Ok(None) => {}
            Ok(Some(gone)) => log_place_needed(gone.ip()),
            Err(Unkept::Unwatched(error)) => self.pause_accepting(&error, now),
            Err(Unkept::Full) => log_place_needed(balancer.ip()),
        }
    }

    /// Reads balancers' connections that have become readable, and opens `most` of them. Returns how many it may still open.
    pub(super) fn read_unannounced(&mut self, most: usize, now: Moment) -> usize {
        let mut left = most;
        for _ in 0..limits::UNANNOUNCED_PER_TURN {
            if left == 0 || !self.incoming.unannounced.has_reads() {
                break;
            }
            if let Some((stream, balancer, taken, progress)) = self.incoming.unannounced.read_next(self.poll.registry())
            {
                left -= usize::from(matches!(progress, Progress::Whole(_)));
                self.announce(stream, balancer, &taken, progress, now);
            }
        }
        left
    }

    /// Closes those that are overdue by `judged`.
    pub(super) fn expire_unannounced(&mut self, judged: Moment) {
        while let Some(balancer) = self.incoming.unannounced.expire(judged) {
            log_refused(balancer.ip(), &"no whole PROXY header within HANDSHAKE_TIMEOUT");
            self.accept_again();
        }
    }

    /// Closes one that has waited for long, to free its descriptor. Says whether there was one.
    pub(super) fn evict_unannounced(&mut self, now: Moment) -> bool {
        let gone = self.incoming.unannounced.evict(|since| since + limits::UNDECIDED_GRACE <= now);
        gone.inspect(|balancer| log_place_needed(balancer.ip())).is_some()
    }

    /// Opens a connection whose header is whole; closes any other.
    fn announce(&mut self, stream: TcpStream, balancer: SocketAddr, taken: &[u8], progress: Progress, now: Moment) {
        let ip = balancer.ip();
        match progress {
            Progress::Part => {}
            Progress::Whole(client) => {
                let client = client.filter(|client| is_elsewhere(client.ip(), ip));
                let opens = if client.is_some() { Opens::Client } else { Opens::Balancer };
                return self.open(stream, canonical(client.unwrap_or(balancer)), opens, now);
            }
            Progress::Malformed(malformed) => log_refused(ip, &malformed),
            Progress::Ended if taken.is_empty() => log_gone(ip, &"it ended before its first byte"),
            Progress::Ended => log_refused(ip, &"it ended in the middle of its PROXY header"),
            Progress::Lost(error) => log_gone(ip, &error),
        }
        drop(stream);
        self.accept_again();
    }
}

/// Whether a header's address can be a client's. A balancer's own loopback address is the balancer's machine; taken for a peer
/// of this machine it would need no TLS.
fn is_elsewhere(client: IpAddr, balancer: IpAddr) -> bool {
    let client = client.to_canonical();
    !client.is_unspecified() && (!client.is_loopback() || balancer.is_loopback())
}

fn log_refused(balancer: IpAddr, why: &dyn std::fmt::Display) {
    let why = Value(why);
    log::warn!("action: proxy | result: fail | ip: {balancer} | reason: {why}, connection closed");
}

/// Health checks connect and close.
fn log_gone(balancer: IpAddr, why: &dyn std::fmt::Display) {
    let why = Value(why);
    log::debug!("action: proxy | result: in_progress | ip: {balancer} | reason: {why}");
}

fn log_place_needed(balancer: IpAddr) {
    log_refused(balancer, &"no whole PROXY header, and its place is needed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancers_own_machine_is_not_this_one() {
        let is_elsewhere =
            |client: &str, balancer: &str| is_elsewhere(client.parse().unwrap(), balancer.parse().unwrap());
        for (client, balancer, expected) in [
            ("203.0.113.7", "10.0.0.5", true),
            ("10.0.0.5", "10.0.0.5", true),
            ("127.0.0.1", "10.0.0.5", false),
            ("::ffff:127.0.0.1", "10.0.0.5", false),
            ("::1", "10.0.0.5", false),
            ("0.0.0.0", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "127.0.0.1", true),
        ] {
            assert_eq!(is_elsewhere(client, balancer), expected, "{client} by {balancer}");
        }
    }
}
