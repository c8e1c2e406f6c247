//! What the hub wants of the reactor: which bytes to read and to write, and what waits for no input.

use super::Hub;
use super::connections::ConnectionId;
use super::queue::Class;
use crate::limits;
use crate::session::Phase;
use crate::storage::Keep;
use crate::timers::Moment;

impl<K: Keep> Hub<K> {
    /// How many bytes of the connection are wanted now, at most: none while its own answers pile up, and few
    /// while its reply is held.
    pub fn read_room(&self, id: ConnectionId) -> usize {
        let Some(slot) = self.connections.slot(id) else { return 0 };
        let connection = &self.connections[slot];
        match connection.session.phase {
            Phase::Detecting { .. } | Phase::Speaking(_) if connection.is_held_by_its_reader() => 0,
            Phase::Detecting { .. } | Phase::Speaking(_) => usize::MAX,
            Phase::Paused(_) => limits::PARKED_INBOX_BYTES.saturating_sub(connection.inbox().len()),
            Phase::Closing(_) => usize::MAX,
        }
    }

    /// Whether the connection should be read from.
    pub fn wants_read(&self, id: ConnectionId) -> bool {
        self.read_room(id) > 0
    }

    /// What the peer should be sent next: not always all that there is.
    pub fn outgoing(&self, id: ConnectionId) -> &[u8] {
        self.connections.slot(id).map_or(&[], |slot| self.connections[slot].outbox().unsent())
    }

    /// The peer took the first `bytes` of [`outgoing`](Self::outgoing).
    pub fn sent(&mut self, id: ConnectionId, bytes: usize, now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        let connection = &self.connections[slot];
        let (held, had_list) = (connection.is_held_by_its_reader(), connection.outbox().has_list());
        self.connections.sent(slot, bytes, now);
        let connection = &self.connections[slot];
        let goes_on = held && !connection.is_held_by_its_reader();
        if self.parked.paused && had_list && !connection.outbox().has_list() {
            // Its memory may be what others wait for.
            self.parked.lists.drop_unused();
        }
        if goes_on {
            self.queue_read(slot);
            self.defer(slot);
        }
        self.schedule(slot);
    }

    /// Whether the connection has said all it will say, so that its side can be shut.
    pub fn is_done(&self, id: ConnectionId) -> bool {
        let Some(slot) = self.connections.slot(id) else { return false };
        let connection = &self.connections[slot];
        matches!(connection.session.phase, Phase::Closing(_)) && connection.outbox().is_empty()
    }

    /// Takes one connection that has something to send, or is done; agencies first.
    pub fn take_dirty(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.writes.pop()?;
            if let Some(slot) = self.connections.slot(id) {
                self.connections[slot].flags.write = false;
                return Some(id);
            }
        }
    }

    /// Whether there is work that waits for no input: call [`run_deferred`](Self::run_deferred) and commit again, soon.
    pub fn has_work(&self) -> bool {
        (!self.scheduler.deferred.is_empty() && !self.is_stalled()) || self.parked.has_work()
    }

    /// Whether a connection is being closed.
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_none_or(|connection| matches!(connection.session.phase, Phase::Closing(_)))
    }

    /// Whether the connection is to be closed without waiting for its peer.
    pub fn is_cut(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_some_and(|connection| connection.flags.cut)
    }

    /// The connection has something to send, or is done.
    pub(super) fn mark_dirty(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if !std::mem::replace(&mut connection.flags.write, true) {
            let class = Class::of(connection.is_agency());
            self.writes.push(self.connections.id(slot), class);
        }
    }
}
