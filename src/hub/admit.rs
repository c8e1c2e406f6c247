//! Admission and eviction when the hub is full.
//!
//! A newcomer gets the slot of a connection that has shown no dialect for a while, or of one that is spare: it may have
//! closed, it is untrusted and from an address with far more connections than the newcomer's own, or its agency has more
//! than its share. So neither silence nor numbers lock the agencies out, and no agency locks out the others. Where no
//! connection is spare the newcomer is refused, with a reply where its dialect has one.

use core::net::{IpAddr, SocketAddr};

use super::connections::{Connection, ConnectionId};
use super::{Hub, TooManyConnections};
use crate::limits;
use crate::storage::Keep;
use crate::timers::Moment;

/// Why a connection may be closed for a newcomer; what comes first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spare {
    /// It is untrusted, waits for the draw, and has ended its side: its peer may have closed.
    HalfClosed,
    /// It is untrusted, and one of many of its address, or asks for an agency that is connected otherwise.
    Untrusted,
    /// It is an agency's, which has more than its share, or may have closed.
    Trusted,
}

impl<K: Keep> Hub<K> {
    /// A peer connected. Where the hub is full, [`evict`](Self::evict) may find a slot.
    ///
    /// # Errors
    /// [`TooManyConnections`]: [`refuse`](Self::refuse) it.
    pub fn open(&mut self, peer: SocketAddr, now: Moment) -> Result<ConnectionId, TooManyConnections> {
        if self.connections.len() - self.admission.refused >= self.policy.connections_max {
            return Err(TooManyConnections);
        }
        Ok(self.insert(peer, false, now))
    }

    /// Accepts a peer only to reply that the hub is full, in dialects that have such a reply. `None`: too many connections
    /// are being refused so already, and the caller closes this one.
    pub fn refuse(&mut self, peer: SocketAddr, now: Moment) -> Option<ConnectionId> {
        (self.admission.refused < limits::REFUSALS_MAX).then(|| self.insert(peer, true, now))
    }

    fn insert(&mut self, peer: SocketAddr, refused: bool, now: Moment) -> ConnectionId {
        let slot = self.connections.insert(peer, refused, now);
        self.admission.joined(&self.connections[slot]);
        self.schedule(slot);
        self.connections.id(slot)
    }

    /// Which connection should be closed to admit one more: a newcomer from `peer`, or from any address. Each call
    /// examines a few slots only, behind those of the last call: a flood of newcomers must not make the hub search.
    pub fn evict(&mut self, peer: Option<IpAddr>) -> Option<ConnectionId> {
        // A connection whose bytes are not read yet has not been silent.
        let now = self.scheduler.watermark.at();
        let slots = self.slots();
        let share = peer.map(|peer| 2 * (self.admission.of(peer) + 1));
        let mut found: Option<(Spare, usize)> = None;
        for _ in 0..limits::SLOTS_EXAMINED.min(slots) {
            let slot = self.next_slot(slots);
            let Some(connection) = self.connections.get(slot) else { continue };
            if connection.is_undecided(now) {
                return Some(self.connections.id(slot));
            }
            let crowded = share.is_some_and(|share| self.admission.of(connection.ip()) > share);
            if let Some(spare) = self.spare(connection, crowded)
                && found.is_none_or(|(found, _)| spare < found)
            {
                found = Some((spare, slot));
            }
        }
        found.map(|(_, slot)| self.connections.id(slot))
    }

    /// Whether, and before which others, a connection may be closed for a newcomer.
    fn spare(&self, connection: &Connection, crowded: bool) -> Option<Spare> {
        let half_closed = connection.is_parked() && connection.session.half_closed;
        if !connection.is_known() {
            let agency = connection.session.agency.filter(|_| connection.is_parked());
            let beside_others = agency.is_some_and(|agency| self.liveness.presence.connections(agency) > 1);
            return if half_closed {
                Some(Spare::HalfClosed)
            } else {
                (crowded || beside_others).then_some(Spare::Untrusted)
            };
        }
        (half_closed || self.has_more_than_its_share(connection)).then_some(Spare::Trusted)
    }

    /// How many slots there are to examine.
    pub(super) fn slots(&self) -> usize {
        self.connections_max().min(self.connections.capacity())
    }

    /// The next of `slots` slots to examine: a search continues behind the last one.
    pub(super) fn next_slot(&mut self, slots: usize) -> usize {
        self.admission.hand = (self.admission.hand + 1) % slots;
        self.admission.hand
    }

    /// Whether the connection's agency is known to have so many that one of them may go: more than all agencies together
    /// could have, with room left for newcomers. Untrusted connections, which only say that they are the agency, do not count.
    ///
    /// Of queries that wait for the draw an agency needs one: where slots are few, more of them than its share are spare.
    fn has_more_than_its_share(&self, connection: &Connection) -> bool {
        let share = self.policy.connections_max / (self.lottery.roster().ids().len() + 1);
        let least = if connection.is_parked() { 1 } else { limits::AGENCY_CONNECTIONS };
        let agency = connection.session.agency.filter(|_| connection.is_agency() && !connection.trust.refused);
        agency.is_some_and(|agency| self.liveness.presence.known_connections(agency) > share.max(least))
    }
}
