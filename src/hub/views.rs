//! Views of the hub, to look at: for tests, the simulation and the reactor's own bookkeeping.

use core::net::IpAddr;
use std::time::Duration;

use super::Hub;
use super::connections::{Connection, ConnectionId};
use crate::limits;
use crate::lottery::Lottery;
use crate::session::Phase;
use crate::storage::Keep;

impl<K: Keep> Hub<K> {
    /// The lottery, to look at.
    pub fn lottery(&self) -> &Lottery {
        &self.lottery
    }

    /// The keeper, to look at.
    pub fn keeper(&self) -> &K {
        &self.keeping.keeper
    }

    /// The keeper, for a simulation that has it fail.
    #[doc(hidden)]
    pub fn keeper_mut(&mut self) -> &mut K {
        &mut self.keeping.keeper
    }

    /// Whether every request is answered as far as commits go: no turn is in flight, and nothing is in the one in hand.
    pub fn is_settled(&self) -> bool {
        self.keeping.has_none_in_flight() && self.turn.entries.is_empty()
    }

    /// Whether it is settled, and the keeper has nothing to store by itself.
    pub fn owes_nothing(&self) -> bool {
        self.is_settled() && !self.keeping.keeper.owes()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many there can be, those included that are only refused with a reply.
    pub fn connections_max(&self) -> usize {
        self.policy.connections_max + limits::REFUSALS_MAX
    }

    /// `HANDSHAKE_TIMEOUT`.
    pub fn handshake_timeout(&self) -> Duration {
        self.policy.handshake_timeout
    }

    /// How many queries wait for the draw.
    pub fn parked(&self) -> usize {
        self.connections.parked()
    }

    /// How many slots of the queue for the draw are kept, those of connections included that are gone.
    pub fn parked_slots(&self) -> usize {
        self.parked.len()
    }

    /// How many reminders are kept, those of connections included that are gone.
    pub fn reminders(&self) -> usize {
        self.reminders.timers.len()
    }

    /// Whether each commit waits for the disk, so that it is worth sharing between many requests.
    pub fn commits_wait(&self) -> bool {
        self.keeping.keeper.waits()
    }

    /// How many requests of the connection wait for a commit.
    pub fn requests_in_hand(&self, id: ConnectionId) -> u32 {
        self.connections.slot(id).map_or(0, |slot| self.connections[slot].pending)
    }

    /// Everything that the peer has not taken yet.
    #[doc(hidden)]
    pub fn unsent(&self, id: ConnectionId) -> Vec<u8> {
        self.connections.slot(id).map_or_else(Vec::new, |slot| self.connections[slot].outbox().unsent_bytes())
    }

    /// Every connection, by id and its peer's address.
    pub fn peers(&self) -> impl Iterator<Item = (ConnectionId, IpAddr)> {
        self.connections.iter().map(|(slot, connection)| (self.connections.id(slot), connection.ip()))
    }

    /// The address of a connection's peer.
    pub fn peer(&self, id: ConnectionId) -> Option<IpAddr> {
        self.connections.slot(id).map(|slot| self.connections[slot].ip())
    }

    /// Counts again what is kept as a sum. Slow: it looks at every connection.
    ///
    /// # Panics
    /// Where a sum is wrong.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        self.connections.assert_sums();
        let settled = self.is_settled();
        let connections = || self.connections.iter().map(|(_, connection)| connection);
        for connection in connections() {
            let phase = connection.session.phase;
            assert!(!settled || connection.pending == 0, "no reply is pending between turns");
            assert!(!connection.is_parked() || matches!(phase, Phase::Paused(_)), "a parked connection is {phase:?}");
            assert!(
                connection.inbox().is_empty() || !matches!(phase, Phase::Closing(_)),
                "a closing connection keeps no frame"
            );
        }
        assert!(
            settled || !self.keeping.has_none_in_flight(),
            "a turn leaves nothing behind where no other is in flight"
        );
        let spoken_for = |connection: &Connection| Some((connection.session.agency?, connection.is_agency()));
        self.liveness.assert_counts(&self.lottery, connections().filter_map(spoken_for));
    }
}
