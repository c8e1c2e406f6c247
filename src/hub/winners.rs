//! The draw's answers: who is in line for winners, and how much of them waits to be read.

use std::collections::HashMap;
use std::rc::Rc;

use super::Hub;
use super::connection::{Connection, ConnectionId};
use super::deadlines::Reminder;
use super::outbox::List;
use super::queue::Class;
use crate::limits;
use crate::lottery::{AgencyId, Bet, Refusal};
use crate::mutants::{self, Mutant};
use crate::storage::{Committed, Disk};
use crate::timers::Moment;
use crate::wire::{After, Dialect, Reply};

/// Lists of winners that are on their way. They do not change after the draw, so that each is encoded once, however many
/// connections ask for it.
#[derive(Debug, Default)]
pub(super) struct Lists {
    known: HashMap<(AgencyId, Dialect), Rc<List>>,
    /// Memory that they hold, in bytes.
    pub(super) bytes: usize,
    /// What was encoded last, where it is too short to be shared.
    short: Vec<u8>,
}

/// The reply to a query.
enum Encoded<'a> {
    /// `fresh`: it was not encoded before.
    Shared { list: Rc<List>, fresh: bool },
    /// Too short to be shared.
    Own { bytes: &'a [u8], after: After },
}

impl Lists {
    /// The winners of an agency in a dialect, shared where they are `shared_bytes_min` bytes or more.
    fn of<'b>(
        &mut self,
        key: (AgencyId, Dialect),
        winners: impl FnOnce() -> Result<Option<&'b [Bet]>, Refusal>,
        shared_bytes_min: usize,
    ) -> Encoded<'_> {
        if let Some(list) = self.known.get(&key) {
            return Encoded::Shared { list: Rc::clone(list), fresh: false };
        }
        let (agency, dialect) = key;
        let reply = match winners() {
            Ok(winners) => Reply::Winners { agency, bets: winners.expect("parked queries are flushed after the draw") },
            Err(refusal) => Reply::Refused(refusal),
        };
        self.short.clear();
        let after = dialect.encode(&reply, &mut self.short);
        if self.short.len() < shared_bytes_min {
            return Encoded::Own { bytes: &self.short, after };
        }
        let mut bytes = std::mem::take(&mut self.short);
        bytes.shrink_to_fit();
        self.bytes += bytes.capacity();
        let list = Rc::new(List { bytes, after });
        self.known.insert(key, Rc::clone(&list));
        Encoded::Shared { list, fresh: true }
    }

    /// Drops lists that no connection waits for.
    pub(super) fn drop_unused(&mut self) {
        self.known.retain(|_, list| Rc::strong_count(list) > 1);
        self.bytes = self.known.values().map(|list| list.bytes.capacity()).sum();
    }
}

impl<D: Disk> Hub<D> {
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
        if self.lists.bytes > 0 && (self.unflushed.is_empty() || self.flush_is_full()) {
            self.lists.drop_unused();
        }
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

    /// Whether the lists on their way hold so much memory that another one has to wait until one of them is read. Only
    /// lists count: what else peers make the hub hold does not stop the draw's answers.
    pub(super) fn flush_is_full(&self) -> bool {
        let to_an_agency = self.unflushed.len_of(Class::Trusted) > 0;
        let high = if to_an_agency { limits::LISTS_BYTES_HIGH_OF_AGENCIES } else { limits::LISTS_BYTES_HIGH };
        self.lists.bytes > high
    }

    /// Returns how many bytes were encoded or copied for it.
    fn send_winners(&mut self, slot: usize, agency: AgencyId, committed: &Committed, now: Moment) -> usize {
        let connection = &mut self.connections[slot];
        let Some(dialect) = connection.session.dialect() else { return 0 };
        let before = connection.buffered();
        if connection.outbox.is_empty() {
            connection.owes_bytes(now);
        }
        let shared_as = if mutants::is(Mutant::ShareAcrossAgencies) { AgencyId(0) } else { agency };
        let shared_bytes_min = self.scheduler.budgets.shared_bytes_min;
        let (after, bytes) =
            match self.lists.of((shared_as, dialect), || self.lottery.winners(agency), shared_bytes_min) {
                Encoded::Shared { list, fresh } => {
                    let after = list.after;
                    let bytes = if fresh { list.bytes.len() } else { 0 };
                    connection.outbox.share(list, committed);
                    (after, bytes)
                }
                Encoded::Own { bytes, after } => {
                    connection.outbox.reply(committed).extend_from_slice(bytes);
                    (after, bytes.len())
                }
            };
        self.sent_to(slot, before, after, now);
        bytes
    }

    /// No more lists are put into outboxes until some are read. Peers that read nothing give way.
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
                "action: close_connection | result: success | ip: {peer} | reason: it does not read its winners, and others' wait for the memory"
            );
            self.cut(slot, now);
        }
    }
}
