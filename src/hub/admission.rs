//! How many connections each party has.

use core::net::IpAddr;
use std::collections::HashMap;

use super::connections::Connection;

/// How many connections each origin has, and where the search for a slot continues.
#[derive(Debug, Default)]
pub(super) struct Admission {
    origins: HashMap<Origin, u32>,
    /// Connections that were accepted only to be refused with a reply.
    pub(super) refused: usize,
    /// The slot that was examined last.
    pub(super) hand: usize,
}

/// What one party can be expected to hold: an IPv4 address, or the IPv6 network of one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4(u32),
    V6(u64),
}

impl Origin {
    fn of(peer: IpAddr) -> Origin {
        match peer.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Origin::V6([a, b, c, d].iter().fold(0, |network, part| network << 16 | u64::from(*part)))
            }
        }
    }
}

impl Admission {
    /// A connection came. A refused one counts neither towards `MAX_CONNECTIONS` nor for its origin.
    pub(super) fn joined(&mut self, connection: &Connection) {
        if connection.trust.refused {
            self.refused += 1;
        } else {
            *self.origins.entry(Origin::of(connection.ip())).or_default() += 1;
        }
    }

    /// A connection went.
    pub(super) fn left(&mut self, connection: &Connection) {
        if connection.trust.refused {
            self.refused -= 1;
            return;
        }
        let origin = Origin::of(connection.ip());
        let count = self.origins.get_mut(&origin).expect("a connection that leaves has joined");
        *count -= 1;
        if *count == 0 {
            self.origins.remove(&origin);
        }
    }

    pub(super) fn of(&self, peer: IpAddr) -> u32 {
        self.origins.get(&Origin::of(peer)).copied().unwrap_or_default()
    }
}
