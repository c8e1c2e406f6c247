//! Connections that decode bytes which were deferred behind a reply that is out now.

use super::Hub;
use super::connection::ConnectionId;
use super::queue::{Class, ClassQueue, Deficit};
use crate::limits;
use crate::storage::Disk;
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

    /// Keeps those of which `is_there` is true.
    pub(super) fn retain(&mut self, is_there: impl Fn(ConnectionId) -> bool) {
        self.queue.retain(is_there);
    }

    pub(super) fn push(&mut self, id: ConnectionId, class: Class) {
        self.queue.push(id, class);
    }
}

impl<D: Disk> Hub<D> {
    /// Goes on with bytes that were held back behind a reply which is out now, as far as one turn can: agencies' first,
    /// and of untrusted connections a few, each of which is one more to be answered before the next turn.
    pub fn run_deferred(&mut self, now: Moment) {
        let full = self.turn_is_full();
        let untrusted_first = self.deferred.deficit.settle(full);
        if untrusted_first {
            self.run_untrusted(now);
        }
        for _ in 0..self.deferred.queue.len_of(Class::Trusted) {
            if self.turn_is_full() {
                break;
            }
            let Some(id) = self.deferred.queue.pop_of(Class::Trusted) else { break };
            self.run_one(id, now);
        }
        if !untrusted_first {
            let full = self.turn_is_full();
            self.deferred.deficit.note(full);
            self.run_untrusted(now);
        }
        // What is read next of untrusted connections is counted by itself: those that wait do not keep newcomers out.
        (self.untrusted_requests, self.untrusted_bytes) = (0, 0);
    }

    /// As many as are read: at least a few, and no fewer than agencies, so that the line does not grow where many come.
    fn run_untrusted(&mut self, now: Moment) {
        let mut left = self.scheduler.budgets.untrusted.max(self.deferred.trusted_answered);
        for _ in 0..left + limits::LEFTOVERS_PER_TURN {
            let heard = self.untrusted_are_served() || self.untrusted_bytes >= self.scheduler.budgets.untrusted_bytes;
            if left == 0 || heard || self.turn_is_full() {
                return;
            }
            let Some(id) = self.deferred.queue.pop_of(Class::Untrusted) else { return };
            left -= usize::from(self.run_one(id, now));
        }
    }

    /// Says whether there was anything to do.
    fn run_one(&mut self, id: ConnectionId, now: Moment) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        self.connections[slot].deferred = false;
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

    /// How many places in the lines of those who go on are kept, those of connections included that are gone.
    pub fn deferred_len(&self) -> usize {
        self.deferred.len()
    }
}
