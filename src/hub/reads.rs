//! A turn's input: deferred work runs, and sockets are read, each as the scheduler has it.

use super::Hub;
use super::budgets::Budgets;
use super::connections::ConnectionId;
use super::queue::Class;
use super::scheduler::{ReadGrant, TurnState};
use super::watermark::InputWatermark;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::session::Phase;
use crate::storage::Keep;
use crate::timers::Moment;

impl<K: Keep> Hub<K> {
    /// Takes other budgets than `limits.rs` has.
    pub fn set_budgets(&mut self, budgets: Budgets) {
        self.scheduler.budgets = budgets;
    }

    /// A poll reported everything that had arrived by `before`, the moment at which it began: see [`InputWatermark`].
    pub fn polled(&mut self, before: Moment) {
        self.scheduler.watermark.polled(before);
    }

    /// Everything that had arrived by then was accepted and read. [`tick`](Self::tick) judges deadlines by it.
    pub fn watermark(&mut self) -> &mut InputWatermark {
        &mut self.scheduler.watermark
    }

    /// How many connections the turn in hand may accept.
    pub fn accepts(&self) -> usize {
        self.scheduler.budgets.accepts.max(self.scheduler.reads.len_of(Class::Trusted))
    }

    /// The connection's socket may have something to read.
    pub fn readable(&mut self, id: ConnectionId) {
        let Some(slot) = self.connections.slot(id) else { return };
        self.connections[slot].flags.readable = true;
        self.queue_read(slot);
    }

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

    /// Whether sockets wait to be read, and the hub can read them now.
    pub fn has_reads(&self) -> bool {
        !self.scheduler.reads.is_empty() && !self.is_stalled()
    }

    /// Begins a turn: deferred work runs, unless it left the last turn no room to read. Then [`next_read`](Self::next_read)
    /// says which connection to read, and [`end_reads`](Self::end_reads) ends that.
    pub fn begin_reads(&mut self, now: Moment) {
        self.scheduler.round.work_behind = std::mem::take(&mut self.scheduler.reads_first);
        if !self.scheduler.round.work_behind {
            self.run_deferred(now);
            self.scheduler.reads_first = self.turn_is_full();
        }
        let full = self.turn_is_full();
        self.scheduler.begin(full);
    }

    /// The next socket that the turn reads, and how much of it; `None`: it has read enough. `handshakes`: sockets whose
    /// bytes may be a step of a handshake may be read, too.
    pub fn next_read(&mut self, handshakes: bool) -> Option<ReadGrant> {
        loop {
            let turn = TurnState {
                is_full: self.turn_is_full(),
                untrusted_spent: self.untrusted_are_served(),
                untrusted_decoded: self.untrusted_bytes(),
            };
            let connections = &self.connections;
            let grant = self.scheduler.next(turn, |id| {
                handshakes || connections.by_id(id).is_none_or(|connection| !connection.trust.handshaking)
            })?;
            if let Some(slot) = self.connections.slot(grant.id) {
                self.connections[slot].flags.read = false;
                return Some(grant);
            }
        }
    }

    /// Whether what the connection's socket has next may be a step of a handshake.
    pub fn set_handshaking(&mut self, id: ConnectionId, handshaking: bool) {
        if let Some(slot) = self.connections.slot(id) {
            self.connections[slot].trust.handshaking = handshaking;
        }
    }

    /// A granted socket was read, `bytes` of it. `more`: there may be more to read now.
    pub fn read(&mut self, grant: ReadGrant, bytes: usize, more: bool) {
        self.scheduler.round.read[grant.class as usize] += bytes;
        let Some(slot) = self.connections.slot(grant.id) else { return };
        let connection = &mut self.connections[slot];
        if std::mem::replace(&mut connection.flags.readable, more) && !more {
            // A frame of which no more is there can be timed out.
            self.schedule(slot);
        }
        self.queue_read(slot);
    }

    /// Ends a turn's reads: deferred work that waited for them runs.
    pub fn end_reads(&mut self, now: Moment) {
        if std::mem::take(&mut self.scheduler.round.work_behind) {
            self.run_deferred(now);
        }
    }

    /// Puts a socket into the read queue that may be read and whose bytes are wanted.
    pub(super) fn queue_read(&mut self, slot: usize) {
        let id = self.connections.id(slot);
        let connection = &self.connections[slot];
        if connection.flags.readable && !connection.flags.read && self.wants_read(id) {
            let class = Class::of(connection.is_agency());
            self.connections[slot].flags.read = true;
            self.scheduler.reads.push(id, class);
        }
    }

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

    /// Whether the turn in hand should end before more is received: it has many rows to write, or many
    /// requests to answer.
    pub fn turn_is_full(&self) -> bool {
        let load = self.keeping.keeper.load();
        load.staged_bytes > limits::TURN_ROWS_BYTES
            || load.read_bytes > limits::TURN_JOURNAL_READ_BYTES
            || self.turn.entries.len() >= self.scheduler.budgets.turn_requests
    }

    /// Whether the turn in hand is full, and cannot be submitted yet: nothing is read until the keeper has settled a turn.
    /// Nor is anything while the keeper finds out what other hubs have stored.
    pub fn is_stalled(&self) -> bool {
        let looks = self.keeping.keeper.is_looking() && !mutants::is(Mutant::StageWhileLooking);
        looks || (!self.keeping.keeper.has_room() && self.turn_is_full())
    }

    /// Whether this turn has enough requests of untrusted connections.
    pub fn untrusted_are_served(&self) -> bool {
        self.turn.untrusted_requests >= self.scheduler.budgets.untrusted_requests
    }

    /// How many bytes of untrusted connections' frames were decoded in this turn, most of which may have come long before.
    pub fn untrusted_bytes(&self) -> usize {
        self.turn.untrusted_bytes
    }

    /// Whether there is work that waits for no input: call [`run_deferred`](Self::run_deferred) and commit again, soon.
    pub fn has_work(&self) -> bool {
        (!self.scheduler.deferred.is_empty() && !self.is_stalled()) || self.parked.has_work()
    }

    /// The entries of the queue of deferred work, including those of connections that are gone.
    pub fn deferred_len(&self) -> usize {
        self.scheduler.deferred.len()
    }
}
