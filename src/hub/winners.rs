//! Queries that wait for the draw, and the winners that it sets free.
//!
//! A query is parked when its turn is committed. The draw queues all of them; then each turn answers a slice, as far as the
//! memory of lists on their way allows.

use super::Hub;
use super::connections::{Connection, ConnectionId};
use super::events::{Closing, Event, Missing, PENDING_NAMED_MAX};
use super::lists::Encoded;
use super::queue::Class;
use super::reminders::Reminder;
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::storage::{Committed, Keep};
use crate::timers::Moment;

impl<K: Keep> Hub<K> {
    /// The connection's query waits for the draw.
    pub(super) fn park(&mut self, slot: usize, now: Moment) {
        self.connections.park(slot);
        self.parked.waiting.push(self.connections.id(slot));
        self.remind_of_pending(now);
        self.look_for_watch(slot, now);
    }

    /// Periodically logs the agencies that the parked queries wait for.
    pub(super) fn emit_draw_waits(&mut self, now: Moment) {
        self.reminders.pending = false;
        if self.lottery.draw_is_committed() || self.connections.parked() == 0 {
            return;
        }
        let (agencies, more) = first_named(self.lottery.pending());
        self.emit(&Event::DrawWaits { agencies: &agencies, more });
        self.remind_of_pending(now);
    }

    /// Periodically says what the agencies do that the draw waits for, whether or not a query is parked.
    pub(super) fn emit_draw_misses(&mut self, now: Moment) {
        self.reminders.missing = false;
        if self.lottery.draw_is_committed() {
            return;
        }
        let stored = |agency| self.lottery.agency(agency).map_or(0, |state| state.committed().bets);
        let describe = |agency| {
            let bets = stored(agency);
            Missing { agency, doing: self.doing(agency, bets), bets }
        };
        let (missing, more) = first_named(self.lottery.pending().map(describe));
        if !missing.is_empty() {
            self.emit(&Event::DrawMisses { missing: &missing, more });
        }
        self.remind_of_missing(now);
    }

    /// The draw is committed: its event is sent once, and parked queries are queued for their winners.
    pub(super) fn announce_draw(&mut self) {
        if self.lottery.draw_is_committed() && !std::mem::replace(&mut self.parked.announced, true) {
            self.emit(&Event::Drawn);
            std::mem::take(&mut self.parked.waiting).into_iter().for_each(|id| self.queue_winners(id));
        }
    }

    /// Where the draw is committed, its proof is kept for the winners; before that, for those who are told whom it waits for.
    pub(super) fn release_draw(&mut self, proof: Committed) {
        if self.lottery.draw_is_committed() {
            self.parked.proof.get_or_insert(proof);
        } else {
            self.note_for_watchers(proof);
        }
    }

    /// Queues a connection for its winners: agencies come first.
    pub(super) fn queue_winners(&mut self, id: ConnectionId) {
        let class = Class::of(self.is_agency(id));
        self.parked.unflushed.push(id, class);
    }

    /// Answers parked queries after the draw, a slice a turn.
    pub(super) fn flush_parked(&mut self, now: Moment) {
        let Some(proof) = self.parked.proof.take() else { return };
        if self.parked.lists.bytes > 0 && (self.parked.unflushed.is_empty() || self.parked.is_full()) {
            self.parked.lists.drop_unused();
        }
        self.flush_some(&proof, now);
        self.parked.proof = Some(proof);
    }

    fn flush_some(&mut self, proof: &Committed, now: Moment) {
        let mut bytes = 0;
        for _ in 0..limits::FLUSH_PER_TURN {
            if bytes >= limits::FLUSH_BYTES_PER_TURN {
                return;
            }
            if self.parked.is_full() && !self.parked.unflushed.is_empty() {
                return self.pause_flush(now);
            }
            let Some(id) = self.parked.unflushed.pop() else { return };
            let Some(slot) = self.connections.slot(id) else { continue };
            if self.connections.unpark(slot) {
                let agency = self.connections[slot].session.agency.expect("a parked query names its agency");
                bytes += self.send_winners(slot, agency, proof, now);
            }
        }
    }

    /// Returns how many bytes were encoded or copied for it.
    fn send_winners(&mut self, slot: usize, agency: AgencyId, proof: &Committed, now: Moment) -> usize {
        let Some(dialect) = self.connections[slot].session.dialect() else { return 0 };
        let shared_as = if mutants::is(Mutant::ShareAcrossAgencies) { AgencyId(0) } else { agency };
        let shared_bytes_min = self.scheduler.budgets.shared_bytes_min;
        let winners = || self.lottery.winners(agency);
        let (after, bytes) = match self.parked.lists.of((shared_as, dialect), winners, shared_bytes_min) {
            Encoded::Shared { list, fresh } => {
                let (after, bytes) = (list.after, if fresh { list.bytes.len() } else { 0 });
                self.connections.share(slot, list, proof, now);
                (after, bytes)
            }
            Encoded::Own { bytes, after } => {
                self.connections.reply(slot, proof, now, |outbox| {
                    outbox.extend_from_slice(bytes);
                    after
                });
                (after, bytes.len())
            }
        };
        self.replied(slot, after, now);
        bytes
    }

    /// No more lists are put into outboxes until some are read. Peers that read nothing are closed after a while.
    fn pause_flush(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.parked.paused, true) {
            self.reminders.timers.remind(Reminder::Flush, now + limits::FLUSH_PATIENCE);
        }
    }

    /// Closes the peers that have read nothing of their winners for a while, where others wait for the memory.
    pub(super) fn cut_slow_winners(&mut self, now: Moment) {
        self.parked.paused = false;
        if !self.parked.is_full() {
            return;
        }
        let slow = |(slot, connection): (usize, &Connection)| connection.holds_winners_back(now).then_some(slot);
        let slow: Vec<usize> = self.connections.iter().filter_map(slow).collect();
        for slot in slow {
            self.emit_closing(slot, Closing::WinnersUnread);
            self.cut(slot, now);
        }
    }
}

/// The first [`PENDING_NAMED_MAX`] of `all`, and whether there are more.
fn first_named<T>(mut all: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let named = all.by_ref().take(PENDING_NAMED_MAX).collect();
    (named, all.next().is_some())
}
