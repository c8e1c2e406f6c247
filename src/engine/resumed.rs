//! Connections that go on with bytes which were held back behind a reply that is out now.

use std::collections::VecDeque;

use super::connection::ConnectionId;
use super::{Engine, Owed};
use crate::limits;
use crate::storage::Disk;
use crate::timers::Moment;

/// Them, in the order in which their replies went out; some may be gone.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    agencies: VecDeque<ConnectionId>,
    strangers: VecDeque<ConnectionId>,
    owed: Owed,
    /// How many agencies the last turn answered.
    pub(super) agencies_answered: usize,
}

impl Resumed {
    pub(super) fn is_empty(&self) -> bool {
        self.agencies.is_empty() && self.strangers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.agencies.len() + self.strangers.len()
    }

    /// Keeps those of whom `is_there` is true.
    pub(super) fn retain(&mut self, is_there: impl Fn(ConnectionId) -> bool) {
        for line in [&mut self.agencies, &mut self.strangers] {
            line.retain(|id| is_there(*id));
            line.shrink_to(2 * line.len());
        }
    }

    pub(super) fn push(&mut self, id: ConnectionId, is_agency: bool) {
        let line = if is_agency { &mut self.agencies } else { &mut self.strangers };
        line.push_back(id);
    }
}

impl<D: Disk> Engine<D> {
    /// Goes on with bytes that were held back behind a reply which is out now, as far as one turn can: agencies' first,
    /// and of strangers a few, each of whom is one more to be answered before the next turn.
    pub fn work(&mut self, now: Moment) {
        let full = self.turn_is_full();
        let strangers_first = self.resumed.owed.pay(full);
        if strangers_first {
            self.resume_strangers(now);
        }
        for _ in 0..self.resumed.agencies.len() {
            if self.turn_is_full() {
                break;
            }
            let Some(id) = self.resumed.agencies.pop_front() else { break };
            self.go_on_with(id, now);
        }
        if !strangers_first {
            let full = self.turn_is_full();
            self.resumed.owed.note(full);
            self.resume_strangers(now);
        }
        // What strangers say next is counted by itself, so that those who wait do not keep newcomers out.
        (self.strangers_requests, self.strangers_bytes) = (0, 0);
    }

    /// As many as are read: at least a few, and no fewer than agencies, so that the line does not grow where many come.
    fn resume_strangers(&mut self, now: Moment) {
        let mut left = limits::STRANGERS_PER_TURN.max(self.resumed.agencies_answered);
        for _ in 0..left + limits::LEFTOVERS_PER_TURN {
            let heard = self.strangers_are_heard() || self.strangers_bytes >= limits::STRANGERS_TURN_BYTES;
            if left == 0 || heard || self.turn_is_full() {
                return;
            }
            let Some(id) = self.resumed.strangers.pop_front() else { return };
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
        self.resumed.len()
    }
}
