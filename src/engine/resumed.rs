//! Connections that decode bytes which were deferred behind a reply that is out now.

use super::Engine;
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

impl<D: Disk> Engine<D> {
    /// Goes on with bytes that were held back behind a reply which is out now, as far as one turn can: agencies' first,
    /// and of strangers a few, each of whom is one more to be answered before the next turn.
    pub fn work(&mut self, now: Moment) {
        let full = self.turn_is_full();
        let strangers_first = self.deferred.deficit.settle(full);
        if strangers_first {
            self.resume_strangers(now);
        }
        for _ in 0..self.deferred.queue.len_of(Class::Trusted) {
            if self.turn_is_full() {
                break;
            }
            let Some(id) = self.deferred.queue.pop_of(Class::Trusted) else { break };
            self.go_on_with(id, now);
        }
        if !strangers_first {
            let full = self.turn_is_full();
            self.deferred.deficit.note(full);
            self.resume_strangers(now);
        }
        // What strangers say next is counted by itself, so that those who wait do not keep newcomers out.
        (self.strangers_requests, self.strangers_bytes) = (0, 0);
    }

    /// As many as are read: at least a few, and no fewer than agencies, so that the line does not grow where many come.
    fn resume_strangers(&mut self, now: Moment) {
        let mut left = self.scheduler.budgets.untrusted.max(self.deferred.trusted_answered);
        for _ in 0..left + limits::LEFTOVERS_PER_TURN {
            let heard = self.strangers_are_heard() || self.strangers_bytes >= self.scheduler.budgets.untrusted_bytes;
            if left == 0 || heard || self.turn_is_full() {
                return;
            }
            let Some(id) = self.deferred.queue.pop_of(Class::Untrusted) else { return };
            left -= usize::from(self.go_on_with(id, now));
        }
    }

    /// Says whether there was anything to do.
    fn go_on_with(&mut self, id: ConnectionId, now: Moment) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        self.connections[slot].resumed = false;
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
    pub fn held_back(&self) -> usize {
        self.deferred.len()
    }
}
