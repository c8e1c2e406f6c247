//! After the commit: the log lines, then the replies, then the winners that the draw set free.

use super::connection::ConnectionId;
use super::queue::Class;
use super::turn::{CommittedTurn, Entry, Outcome};
use super::{EarlyQuery, Hub};
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::session::Phase;
use crate::storage::{Committed, Disk};
use crate::timers::Moment;
use crate::wire::{After, Malformed, Reply};

impl<D: Disk> Hub<D> {
    /// Logs and answers everything of a committed turn. `now` is read after the commit, which may have taken
    /// long: nobody's time runs out while the hub waits for its disk.
    pub fn release(&mut self, turn: CommittedTurn, now: Moment) {
        let CommittedTurn { mut entries, proof: committed } = turn;
        entries.iter().for_each(|entry| self.log_outcome(entry));
        if self.lottery.drawn() && !self.draw_logged {
            self.draw_logged = true;
            log::info!("action: sorteo | result: success");
            std::mem::take(&mut self.parked).into_iter().for_each(|id| self.queue_winners(id));
        }
        if self.store.group() != self.group {
            self.group = self.store.group();
            self.written_at = now;
            self.remind_to_seal(now);
        }
        let mut acknowledge = None;
        for entry in &entries {
            self.answer(entry, &mut acknowledge, &committed, now);
        }
        self.send_acknowledgement(&mut acknowledge, &committed, now);
        self.flush_parked(&committed, now);
        self.deferred.trusted_answered = self.dirty.len_of(Class::Trusted);
        if self.turn.is_empty() {
            // The next turn uses its memory.
            entries.clear();
            self.turn = entries;
        }
        (self.untrusted_requests, self.untrusted_bytes) = (0, 0);
    }

    /// Whether a refusal has a line of its own: an untrusted connection that is refused without end has fewer and fewer.
    fn is_told(&mut self, entry: &Entry) -> bool {
        let (Outcome::Rejected { .. } | Outcome::Refused(_) | Outcome::BadRequest(_)) = &entry.outcome else {
            return true;
        };
        let Some(slot) = entry.id.and_then(|id| self.slot(id)) else { return true };
        let connection = &mut self.connections[slot];
        connection.refusals = connection.refusals.saturating_add(1);
        let refusals = connection.refusals;
        refusals <= limits::REFUSALS_LOGGED || refusals.is_power_of_two() || connection.is_agency()
    }

    /// The line of one outcome, of those that have one.
    fn log_outcome(&mut self, entry: &Entry) {
        if !self.is_told(entry) {
            return;
        }
        match &entry.outcome {
            Outcome::Stored { bets, log, .. } => {
                let level = if *bets == 1 { log::Level::Info } else { log::Level::Debug };
                for bet in log.iter().flatten() {
                    log::log!(
                        level,
                        "action: apuesta_almacenada | result: success | dni: {} | numero: {}",
                        bet.document,
                        bet.number
                    );
                }
                log::info!("action: apuesta_recibida | result: success | cantidad: {bets}");
            }
            Outcome::Rejected { count, why, .. } => {
                log::error!("action: apuesta_recibida | result: fail | cantidad: {count} | reason: {why}");
            }
            Outcome::Excluded { agency } => {
                log::warn!("action: agency_excluded | result: success | agency: {agency}");
            }
            Outcome::Malformed(Malformed(what)) => {
                let peer = self.peer_of(entry.id);
                log::error!("action: receive_message | result: fail | ip: {peer} | reason: {what}, connection closed");
            }
            Outcome::Gap => {
                let peer = self.peer_of(entry.id);
                log::error!(
                    "action: receive_message | result: fail | ip: {peer} | reason: gap in the sequence, connection closed"
                );
            }
            Outcome::Refused(refusal) => {
                let peer = self.peer_of(entry.id);
                log::warn!("action: query | result: fail | ip: {peer} | reason: {refusal}");
            }
            Outcome::BadRequest(Malformed(what)) => {
                let peer = self.peer_of(entry.id);
                log::warn!("action: receive_message | result: fail | ip: {peer} | reason: {what}");
            }
            Outcome::Unwelcome(why) => {
                let peer = self.peer_of(entry.id);
                log::warn!("action: receive_message | result: fail | ip: {peer} | reason: {why}, connection closed");
            }
            Outcome::Echo(line) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let shown = &line[..line.len().min(limits::ECHO_LOGGED_BYTES_MAX)];
                let rest = if shown.len() < line.len() { "…" } else { "" };
                let shown = String::from_utf8_lossy(shown);
                let (peer, message) = (self.peer_of(entry.id), crate::logging::Value(shown));
                log::info!("action: receive_message | result: success | ip: {peer} | msg: {message}{rest}");
            }
            Outcome::Finished { .. }
            | Outcome::Query { .. }
            | Outcome::Welcome { .. }
            | Outcome::Repeated { .. }
            | Outcome::NothingToStore
            | Outcome::ShuttingDown
            | Outcome::Dropped => {}
        }
    }

    fn peer_of(&self, id: Option<ConnectionId>) -> core::net::IpAddr {
        let slot = id.and_then(|id| self.slot(id));
        slot.map_or(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), |slot| self.connections[slot].peer)
    }

    /// Writes the reply to one outcome. In a dialect with cumulative acknowledgements those of a run of
    /// batches become one, which waits in `acknowledge` for the run's end, with the number behind them.
    fn answer(&mut self, entry: &Entry, acknowledge: &mut Option<(usize, u64)>, committed: &Committed, now: Moment) {
        let Some(slot) = entry.id.and_then(|id| self.slot(id)) else { return };
        let cumulative = self.connections[slot].session.conduct().in_flight;
        let stored = match entry.outcome {
            Outcome::Stored { sequence, .. } | Outcome::Repeated { sequence, .. } => cumulative.then_some(sequence),
            Outcome::Welcome { .. }
            | Outcome::Unwelcome(_)
            | Outcome::NothingToStore
            | Outcome::Rejected { .. }
            | Outcome::Finished { .. }
            | Outcome::Query { .. }
            | Outcome::Refused(_)
            | Outcome::BadRequest(_)
            | Outcome::Gap
            | Outcome::Malformed(_)
            | Outcome::Echo(_)
            | Outcome::ShuttingDown
            | Outcome::Excluded { .. }
            | Outcome::Dropped => None,
        };
        // While this outcome is owed, the acknowledgement of those before it does not let the connection go on.
        if acknowledge.is_some_and(|(pending, _)| pending != slot || stored.is_none()) {
            self.send_acknowledgement(acknowledge, committed, now);
        }
        self.connections[slot].owed -= 1;
        if let Outcome::Stored { agency, .. }
        | Outcome::Finished { agency: Some(agency), first: true }
        | Outcome::Query { agency, first: true, .. } = entry.outcome
        {
            self.know_by_commit(slot, agency);
        }
        if let Phase::Closing(_) = self.connections[slot].session.phase {
            // An earlier answer of this turn was its last.
            return;
        }
        if let Some(sequence) = stored {
            // Not the agency's next number: another connection may have stored batches in the same turn, under numbers
            // that this one has used for others.
            let before = acknowledge.map_or(0, |(_, next)| next);
            *acknowledge = Some((slot, before.max(sequence + 1)));
            return;
        }
        let agency = entry.outcome.agency();
        let state = agency.and_then(|agency| self.lottery.agency(agency).ok());
        let (batches, bets) = state.map_or((0, 0), |state| (state.batches, state.bets));
        let session = &mut self.connections[slot].session;
        session.rejected_any |= matches!(entry.outcome, Outcome::Rejected { .. });
        let all_stored = !session.rejected_any;
        let reply = match &entry.outcome {
            Outcome::Welcome { .. } => Reply::Welcome { next: batches },
            Outcome::Unwelcome(why) => Reply::Unwelcome(*why),
            Outcome::Stored { .. } | Outcome::Repeated { .. } | Outcome::NothingToStore => {
                Reply::Stored { next: batches }
            }
            Outcome::Rejected { sequence, why, .. } => Reply::Rejected { sequence: *sequence, why: *why },
            Outcome::Finished { .. } => Reply::Finished { batches, bets, all_stored },
            Outcome::Query { agency, .. } => return self.answer_query(slot, *agency, committed, now),
            Outcome::Refused(refusal) => Reply::Refused(*refusal),
            Outcome::BadRequest(malformed) => Reply::BadRequest(*malformed),
            Outcome::Gap => Reply::Gap,
            Outcome::ShuttingDown => Reply::ShuttingDown,
            Outcome::Malformed(malformed) => Reply::Malformed(*malformed),
            Outcome::Echo(line) => Reply::Echo(line),
            Outcome::Dropped => {
                if self.connections[slot].owed == 0 {
                    self.resume(slot);
                    self.schedule(slot);
                }
                return;
            }
            Outcome::Excluded { .. } => return,
        };
        self.send(slot, &reply, committed, now);
    }

    fn send_acknowledgement(&mut self, acknowledge: &mut Option<(usize, u64)>, committed: &Committed, now: Moment) {
        let Some((slot, next)) = acknowledge.take() else { return };
        self.send(slot, &Reply::Stored { next }, committed, now);
    }

    /// Winners after the draw; before it the connection is parked, or told so.
    fn answer_query(&mut self, slot: usize, agency: AgencyId, committed: &Committed, now: Moment) {
        let polls = self.connections[slot].session.conduct().polls;
        if self.lottery.drawn() {
            self.connections[slot].session.agency = Some(agency);
            self.queue_winners(self.id(slot));
            self.connections[slot].parked = true;
            self.parked_count += 1;
        } else if polls && self.policy.early_query == EarlyQuery::Reject {
            self.send(slot, &Reply::NotDrawn, committed, now);
        } else {
            self.connections[slot].parked = true;
            self.parked_count += 1;
            self.parked.push(self.id(slot));
            self.remind_of_pending(now);
        }
    }

    fn send(&mut self, slot: usize, reply: &Reply<'_>, committed: &Committed, now: Moment) {
        let connection = &mut self.connections[slot];
        let Some(dialect) = connection.session.dialect() else { return };
        let before = connection.buffered();
        if connection.outbox.is_empty() {
            connection.owes_bytes(now);
        }
        let after = dialect.encode(reply, connection.outbox.reply(committed));
        self.sent_to(slot, before, after, now);
    }

    /// Bookkeeping after a reply was written into an outbox that held `before` bytes of memory.
    pub(super) fn sent_to(&mut self, slot: usize, before: usize, after: After, now: Moment) {
        let connection = &mut self.connections[slot];
        self.buffered_bytes = self.buffered_bytes + connection.buffered() - before;
        if after == After::CloseUnsaid {
            let peer = connection.peer;
            log::error!(
                "action: send_message | result: fail | ip: {peer} | reason: the answer is more than the dialect can say, connection closed"
            );
        }
        if after != After::Open {
            self.end(slot, now);
            return;
        }
        if connection.owed == 0 {
            self.resume(slot);
        }
        self.mark_dirty(slot);
        self.schedule(slot);
        self.shed_buffers(now);
    }

    /// Lets a connection go on whose held reply is out; bytes that it kept are decoded in the next turn.
    pub(super) fn resume(&mut self, slot: usize) {
        self.connections[slot].session.resume();
        self.queue_read(slot);
        self.defer(slot);
    }

    /// Sees that what a connection has kept is decoded in the next turn.
    pub(super) fn defer(&mut self, slot: usize) {
        let id = self.id(slot);
        let connection = &mut self.connections[slot];
        let held = mutants::is(Mutant::ForgetHeld);
        let left = !connection.session.inbox.is_empty() || connection.session.half_closed;
        if left && !held && !std::mem::replace(&mut connection.deferred, true) {
            let class = Class::of(connection.is_agency());
            self.deferred.push(id, class);
        }
    }
}
