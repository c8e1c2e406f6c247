//! Everything that happens because time has passed.

use super::Hub;
use super::connections::{ConnectionId, Due, Expiry};
use super::events::{Closing, Event};
use super::reminders::Reminder;
use crate::limits;
use crate::storage::{CommitError, Keep};
use crate::timers::Moment;

impl<K: Keep> Hub<K> {
    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.reminders.timers.next()
    }

    /// Does what is due by `now`, or a slice of it, and the rest when it is called again. Bytes that came before `now`
    /// have to be received first, so that no peer is timed out for the hub's own pauses.
    ///
    /// # Errors
    /// The disk failed while the store was sealed.
    pub fn tick(&mut self, now: Moment) -> Result<(), CommitError> {
        if self.keeping.keeper.is_looking() {
            // What is due may store something.
            return Ok(());
        }
        for _ in 0..limits::DUE_PER_TURN {
            let Some((at, reminder)) = self.reminders.timers.take_due(now) else { return Ok(()) };
            match reminder {
                Reminder::Connection(id) => self.connection_due(id, at, now),
                Reminder::LostAgency(agency) => self.look_for(agency, now),
                Reminder::Pending => self.emit_draw_waits(now),
                Reminder::Missing => self.emit_draw_misses(now),
                Reminder::Summary => self.emit_summary(),
                Reminder::Seal => self.seal_if_idle(now)?,
                Reminder::Tell => self.tell_watchers(now),
                Reminder::Flush => self.cut_slow_winners(now),
            }
        }
        Ok(())
    }

    /// Asks to be reminded of a connection's earliest deadline, unless an earlier reminder stands.
    pub(super) fn schedule(&mut self, slot: usize) {
        let Some((at, _)) = self.connections[slot].deadline(&self.policy) else { return };
        let connection = &mut self.connections[slot];
        if connection.reminder().is_none_or(|reminder| at < reminder) {
            connection.set_reminder(Some(at));
            self.reminders.timers.remind(Reminder::Connection(self.connections.id(slot)), at);
        }
    }

    fn connection_due(&mut self, id: ConnectionId, at: Moment, now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        if self.connections[slot].reminder() != Some(at) {
            return;
        }
        self.connections[slot].set_reminder(None);
        match self.connections[slot].deadline(&self.policy) {
            Some((at, Due::Silence)) if at <= now => self.settle_by_silence(slot, now),
            Some((at, Due::Expired(expiry))) if at <= now => self.expire(slot, expiry, now),
            Some(_) | None => {}
        }
        self.schedule(slot);
    }

    fn expire(&mut self, slot: usize, expiry: Expiry, now: Moment) {
        let why = match expiry {
            Expiry::Handshake => Closing::NoDialectInTime,
            Expiry::Refused => Closing::HubIsFull,
            Expiry::Frame => Closing::FrameTimeout(self.connections[slot].unfinished()),
            Expiry::Idle => Closing::IdleTimeout,
            Expiry::Write => Closing::WriteTimeout,
            Expiry::Drained => return self.cut(slot, now),
        };
        self.emit_closing(slot, why);
        if expiry == Expiry::Write {
            self.cut(slot, now);
        } else {
            self.end(slot, now);
        }
    }

    /// Sees that the log names soon the agencies that parked queries wait for.
    pub(super) fn remind_of_pending(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.reminders.pending, true) {
            self.reminders.timers.remind(Reminder::Pending, now + limits::PENDING_LOG_PERIOD);
        }
    }

    /// Sees that the log says in a minute what the agencies without a finish do.
    pub(super) fn remind_of_missing(&mut self, now: Moment) {
        if !self.lottery.draw_is_committed() && !std::mem::replace(&mut self.reminders.missing, true) {
            self.reminders.timers.remind(Reminder::Missing, now + limits::MISSING_LOG_PERIOD);
        }
    }

    /// A batch is stored of which the log has no line: sees that one stands for it soon.
    pub(super) fn remind_of_summary(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.reminders.summary, true) {
            self.reminders.timers.remind(Reminder::Summary, now + limits::SUMMARY_LOG_PERIOD);
        }
    }

    pub(super) fn emit_summary(&mut self) {
        if std::mem::take(&mut self.reminders.summary) {
            self.emit(&Event::SummaryDue);
        }
    }

    fn seal_if_idle(&mut self, now: Moment) -> Result<(), CommitError> {
        let idle_at = self.keeping.written_at + limits::SEAL_AFTER;
        if now < idle_at || !self.is_settled() {
            let at = if now < idle_at { idle_at } else { now + limits::SEAL_AFTER };
            self.reminders.timers.remind(Reminder::Seal, at);
            return Ok(());
        }
        self.reminders.seal = false;
        self.keeping.keeper.seal()
    }
}
