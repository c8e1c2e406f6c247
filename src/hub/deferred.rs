//! Connections that decode bytes which were deferred behind a reply that is out now.

use super::Hub;
use super::connections::ConnectionId;
use super::queue::{Class, ClassQueue, Deficit};
use crate::limits;
use crate::storage::Keep;
use crate::timers::Moment;

/// Them, in the order in which their replies went out.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    queue: ClassQueue,
    deficit: Deficit,
    /// How many trusted connections the last turn answered.
    pub(super) trusted_answered: usize,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Drops connections that are gone, once they are most of all; there are `connections`.
    pub(super) fn clear_leftovers(&mut self, connections: usize, is_there: impl Fn(ConnectionId) -> bool) {
        if self.queue.len() > 2 * connections + limits::LEFTOVERS_MIN {
            self.queue.retain(is_there);
        }
    }

    pub(super) fn push(&mut self, id: ConnectionId, class: Class) {
        self.queue.push(id, class);
    }
}

impl<K: Keep> Hub<K> {
    /// Goes on with bytes that were held back behind a reply which is out now, as far as one turn can: agencies' first,
    /// and of untrusted connections a few, each of which is one more to be answered before the next turn.
    pub fn run_deferred(&mut self, now: Moment) {
        let full = self.turn_is_full();
        let untrusted_first = self.scheduler.deferred.deficit.settle(full);
        if untrusted_first {
            self.run_untrusted(now);
        }
        for _ in 0..self.scheduler.deferred.queue.len_of(Class::Trusted) {
            if self.turn_is_full() {
                break;
            }
            let Some(id) = self.scheduler.deferred.queue.pop_of(Class::Trusted) else { break };
            self.run_one(id, now);
        }
        if !untrusted_first {
            let full = self.turn_is_full();
            self.scheduler.deferred.deficit.note(full);
            self.run_untrusted(now);
        }
        // What is read next of untrusted connections is counted by itself: those that wait do not keep newcomers out.
        self.turn.forget_untrusted();
    }

    /// As many as are read: at least a few, and no fewer than agencies, so that the line does not grow where many come.
    fn run_untrusted(&mut self, now: Moment) {
        let mut left = self.scheduler.budgets.untrusted.max(self.scheduler.deferred.trusted_answered);
        for _ in 0..left + limits::LEFTOVERS_PER_TURN {
            let served =
                self.untrusted_are_served() || self.turn.untrusted_bytes >= self.scheduler.budgets.untrusted_bytes;
            if left == 0 || served || self.turn_is_full() {
                return;
            }
            let Some(id) = self.scheduler.deferred.queue.pop_of(Class::Untrusted) else { return };
            left -= usize::from(self.run_one(id, now));
        }
    }

    /// Says whether there was anything to do.
    fn run_one(&mut self, id: ConnectionId, now: Moment) -> bool {
        let Some(slot) = self.connections.slot(id) else { return false };
        self.connections[slot].flags.deferred = false;
        if self.connections[slot].is_held_by_its_reader() {
            // What it has asked for already would be answered into the same full outbox.
            self.schedule(slot);
            return false;
        }
        // What the hub itself has held back has not been slow.
        self.connections[slot].frame_began(now);
        self.decode(slot, &[], now);
        self.end_if_nothing_is_left(slot, now);
        self.schedule(slot);
        true
    }

    /// The entries of the queue of deferred work, including those of connections that are gone.
    pub fn deferred_len(&self) -> usize {
        self.scheduler.deferred.len()
    }
}
