//! The draw's answers: who is in line for winners, and how much of them waits to be read.

use super::Engine;
use super::connection::{Connection, ConnectionId};
use super::deadlines::Reminder;
use super::queue::Class;
use crate::limits;
use crate::lottery::AgencyId;
use crate::storage::{Committed, Disk};
use crate::timers::Moment;
use crate::wire::Reply;

impl<D: Disk> Engine<D> {
    /// Whether the connection is still here, and its query waits.
    pub(super) fn is_parked(&self, id: ConnectionId) -> bool {
        self.slot(id).is_some_and(|slot| self.connections[slot].parked)
    }

    /// Puts a connection in line for its winners: agencies come first.
    pub(super) fn queue_winners(&mut self, id: ConnectionId) {
        self.unflushed.push(id, Class::of(self.is_agency(id)));
    }

    /// Answers parked queries after the draw, a slice a turn.
    pub(super) fn flush_parked(&mut self, committed: &Committed, now: Moment) {
        let mut bytes = 0;
        for _ in 0..limits::FLUSH_PER_TURN {
            if bytes >= limits::FLUSH_BYTES_PER_TURN {
                return;
            }
            if self.flush_is_full() && !self.unflushed.is_empty() {
                return self.pause_flush(now);
            }
            let Some(id) = self.unflushed.pop() else { return };
            let Some(slot) = self.slot(id) else { continue };
            if !std::mem::take(&mut self.connections[slot].parked) {
                continue;
            }
            self.parked_count -= 1;
            let agency = self.connections[slot].session.agency.expect("a parked query names its agency");
            bytes += self.send_winners(slot, agency, committed, now);
        }
    }

    /// Whether so many bytes of winners wait to be read that those of the next in line are not even put into an outbox.
    /// Only winners count: what strangers make the hub hold must not stop the draw's answers.
    pub(super) fn flush_is_full(&self) -> bool {
        let to_an_agency = self.unflushed.len_of(Class::Trusted) > 0;
        let high = if to_an_agency { limits::FLUSH_BYTES_HIGH_OF_AGENCIES } else { limits::FLUSH_BYTES_HIGH };
        self.winners_bytes > high
    }

    fn send_winners(&mut self, slot: usize, agency: AgencyId, committed: &Committed, now: Moment) -> usize {
        let connection = &mut self.connections[slot];
        let Some(dialect) = connection.session.dialect() else { return 0 };
        let before = connection.buffered();
        let unsent = connection.outbox.unsent().len();
        if unsent == 0 {
            connection.owes_bytes(now);
        }
        let reply = match self.lottery.winners(agency) {
            Ok(winners) => Reply::Winners { agency, bets: winners.expect("parked queries are flushed after the draw") },
            Err(refusal) => Reply::Refused(refusal),
        };
        let after = dialect.encode(&reply, connection.outbox.reply(committed));
        let connection = &mut self.connections[slot];
        let bytes = connection.outbox.unsent().len() - unsent;
        let more = u32::try_from(bytes).unwrap_or(u32::MAX).min(u32::MAX - connection.winners_bytes);
        connection.winners_bytes += more;
        self.winners_bytes += more as usize;
        self.sent_to(slot, before, after, now);
        bytes
    }

    /// No more winners are put into outboxes until some are read; those who read nothing give way.
    fn pause_flush(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.flush_paused, true) {
            self.timers.remind(Reminder::Flush, now + limits::FLUSH_PATIENCE);
        }
    }

    /// The peers that have read nothing of their winners for a while give way to those that wait.
    pub(super) fn cut_slow_winners(&mut self, now: Moment) {
        self.flush_paused = false;
        if !self.flush_is_full() {
            return;
        }
        let slow = |(slot, connection): (usize, &Connection)| connection.holds_winners_back(now).then_some(slot);
        let slow: Vec<usize> = self.connections.iter().filter_map(slow).collect();
        for slot in slow {
            let peer = self.connections[slot].peer;
            log::info!(
                "action: close_connection | result: success | ip: {peer} | reason: winners that it does not read hold others' up"
            );
            self.cut(slot, now);
        }
    }
}
