//! Connections that are told whom the draw waits for, while their queries wait for it.
//!
//! At most one connection of an agency is told, so that the cost is bounded by the roster, however many queries are parked. A
//! turn tells a few; nothing is sent into an outbox that its peer has not emptied, and nothing after the draw.

use super::Hub;
use super::connections::ConnectionId;
use super::reminders::Reminder;
use super::watchers::Watchers;
use crate::limits;
use crate::lottery::AgencyId;
use crate::session::Progress;
use crate::storage::{Committed, Keep};
use crate::timers::Moment;
use crate::wire::{Reply, WAITING_NAMED_MAX};

impl<K: Keep> Hub<K> {
    /// Looks whether the connection, whose query waits for the draw, asks to be told whom the draw waits for.
    pub(super) fn look_for_watch(&mut self, slot: usize, now: Moment) {
        let connection = &self.connections[slot];
        let Some(dialect) = connection.session.dialect() else { return };
        let Some(consumed) = dialect.watch_at_start(connection.inbox().bytes()) else { return };
        let mut inbox = self.connections.take_inbox(slot);
        inbox.consume(Progress { consumed, need: 0, scanned: 0 });
        self.connections.put_inbox(slot, inbox);
        if !self.lottery.draw_is_committed() {
            self.watch(slot, now);
        }
    }

    fn watch(&mut self, slot: usize, now: Moment) {
        let id = self.connections.id(slot);
        let Some(agency) = self.connections[slot].session.agency else { return };
        let earlier = self.parked.watchers.of.get(&agency).copied();
        let gives_way = earlier.is_none_or(|earlier| !self.is_watching(earlier) || !self.is_agency(earlier));
        if gives_way || self.connections[slot].is_agency() {
            self.parked.watchers.of.insert(agency, id);
        }
        if earlier.is_none() {
            self.parked.watchers.due.remind(agency, now + limits::WAITING_FIRST_AFTER);
            self.remind_to_tell(now);
        }
    }

    fn is_watching(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_some_and(|connection| connection.is_parked())
    }

    /// Sees that the next watcher is told in its time, but not in the turn in hand.
    fn remind_to_tell(&mut self, now: Moment) {
        let Some(next) = self.parked.watchers.due.next() else { return };
        if !std::mem::replace(&mut self.parked.watchers.reminded, true) {
            self.reminders.timers.remind(Reminder::Tell, next.max(now + limits::WAITING_PAUSE));
        }
    }

    /// Keeps the proof of a durable turn before the draw.
    pub(super) fn note_for_watchers(&mut self, proof: Committed) {
        self.parked.watchers.proof = Some(proof);
    }

    /// Tells the watchers that are due, or a few of them, and the rest soon.
    pub(super) fn tell_watchers(&mut self, now: Moment) {
        self.parked.watchers.reminded = false;
        if self.lottery.draw_is_committed() {
            self.parked.watchers = Watchers::default();
            return;
        }
        let Some(proof) = self.parked.watchers.proof.take() else { return };
        let missing: Vec<AgencyId> = self.lottery.pending_by_commit().collect();
        for _ in 0..limits::WAITING_TOLD_PER_TURN {
            let Some((_, agency)) = self.parked.watchers.due.take_due(now) else { break };
            let Some(id) = self.parked.watchers.of.get(&agency).copied().filter(|id| self.is_watching(*id)) else {
                self.parked.watchers.of.remove(&agency);
                continue;
            };
            self.tell(id, &missing, &proof, now);
            self.parked.watchers.due.remind(agency, now + limits::WAITING_PERIOD);
        }
        self.parked.watchers.proof = Some(proof);
        self.remind_to_tell(now);
    }

    fn tell(&mut self, id: ConnectionId, missing: &[AgencyId], proof: &Committed, now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        let connection = &self.connections[slot];
        let Some(dialect) = connection.session.dialect().filter(|_| connection.outbox().is_empty()) else { return };
        let Some(count) = u32::try_from(missing.len()).ok().filter(|count| *count > 0) else { return };
        let named = &missing[..missing.len().min(WAITING_NAMED_MAX)];
        let reply = Reply::Waiting { missing: count, named };
        self.connections.reply(slot, proof, now, |outbox| dialect.encode(&reply, outbox));
        // The query stays parked: nothing is resumed.
        self.queue_write(slot);
    }
}
