//! After the commit: events, then replies, then the winners that the draw set free; and what peers take of it.

use core::net::{IpAddr, Ipv4Addr};

use super::connections::{Connection, ConnectionId};
use super::events::{Broken, Event, Peer};
use super::queue::Class;
use super::reminders::Reminder;
use super::turn::{CommittedTurn, Done, Ending, Entry, Outcome, Refused};
use super::{EarlyQuery, Hub};
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::session::Phase;
use crate::storage::{Committed, Keep};
use crate::timers::Moment;
use crate::wire::{After, Reply, Unwelcome};

/// A run of batches that one cumulative acknowledgement answers.
#[derive(Clone, Copy)]
struct Run {
    slot: usize,
    /// The number behind its last batch.
    next: u64,
}

/// No connection has it.
const NO_CONNECTION: ConnectionId = ConnectionId { slot: u32::MAX, generation: 0 };

/// The peer of a connection that is gone.
const fn gone(id: ConnectionId) -> Peer {
    Peer { id, ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 }
}

impl<K: Keep> Hub<K> {
    /// Sends the events and the replies of committed turns, and some of the parked queries. `now` is read after the commit, which
    /// may have taken long: no peer's time runs out while the hub waits for its disk.
    pub fn release(&mut self, turn: CommittedTurn, now: Moment) {
        if let CommittedTurn { mut entries, proof: Some(committed) } = turn {
            entries.iter().for_each(|entry| self.emit_outcome(entry, now));
            let group = self.keeping.keeper.group();
            if std::mem::replace(&mut self.keeping.group, group) != group {
                self.keeping.written_at = now;
                if !std::mem::replace(&mut self.reminders.seal, true) {
                    self.reminders.timers.remind(Reminder::Seal, now + limits::SEAL_AFTER);
                }
            }
            self.announce_draw();
            let mut run = None;
            for entry in &entries {
                self.answer(entry, &mut run, &committed, now);
            }
            self.acknowledge(&mut run, &committed, now);
            if self.turn.entries.is_empty() {
                // The next turn uses its memory.
                entries.clear();
                self.turn.entries = entries;
            }
            self.release_draw(committed);
        }
        self.flush_parked(now);
        self.scheduler.deferred.trusted_answered = self.writes.len_of(Class::Trusted);
        self.turn.forget_untrusted();
        self.shed_buffers(now);
    }

    /// Whether a refusal makes an event: of an untrusted connection with many refusals only some do.
    fn is_reported(&mut self, id: Option<ConnectionId>) -> bool {
        let Some(connection) = id.and_then(|id| self.connections.by_id_mut(id)) else { return true };
        let refusals = connection.trust.refusals.saturating_add(1);
        connection.trust.refusals = refusals;
        refusals <= limits::REFUSALS_LOGGED || refusals.is_power_of_two() || connection.is_agency()
    }

    /// The event of one outcome, of those that have one.
    fn emit_outcome(&mut self, entry: &Entry, now: Moment) {
        if let Outcome::Rejected { agency: Some(agency), .. } = &entry.outcome {
            // It has been here, although nothing of it is stored.
            self.liveness.presence.saw(*agency);
        }
        let is_refusal = matches!(
            entry.outcome,
            Outcome::Rejected { .. } | Outcome::Refused(Refused::Query(_) | Refused::Request(_))
        );
        if is_refusal && !self.is_reported(entry.id) {
            return;
        }
        let peer = || self.peer_of(entry.id);
        let event = match &entry.outcome {
            Outcome::Done { agency, what } => return self.emit_done(entry.id, *agency, what, now),
            Outcome::Rejected { agency, count, why, .. } => {
                Event::Rejected { agency: *agency, claimed: entry.claimed, peer: peer(), count: *count, why: *why }
            }
            Outcome::Refused(why) => Event::Refused { peer: peer(), claimed: entry.claimed, why: *why },
            Outcome::Ended(Ending::Malformed(malformed)) => {
                Event::Broken { peer: peer(), why: Broken::Malformed(*malformed) }
            }
            Outcome::Ended(Ending::Gap) | Outcome::Asked { .. } => Event::Broken { peer: peer(), why: Broken::Gap },
            Outcome::Ended(Ending::Echo(line)) => Event::Echoed { peer: peer(), line },
            Outcome::Excluded { agency } => Event::AgencyExcluded(*agency),
            Outcome::FinishUnclaimed
            | Outcome::NothingToStore
            | Outcome::Ended(Ending::ShuttingDown)
            | Outcome::Dropped => return,
        };
        self.emit(&event);
    }

    /// The events of a request that was carried out: the connection's hello for the agency comes first.
    fn emit_done(&mut self, id: Option<ConnectionId>, agency: AgencyId, what: &Done, now: Moment) {
        let id = id.unwrap_or(NO_CONNECTION);
        let connection = self.connections.by_id_mut(id);
        let is_here = connection.is_some();
        let (peer, dialect, greets) = connection.map_or((gone(id), None, false), |connection| {
            (connection.peer(id), connection.session.dialect(), connection.greets(agency))
        });
        if greets {
            self.liveness.presence.saw(agency);
            self.remind_of_missing(now);
            self.emit(&Event::Hello { peer, agency, dialect });
        }
        let is_open = |id| self.connections.by_id(id).is_some_and(Connection::is_open);
        if is_here && let Some(rival) = self.liveness.rivals.acted(agency, peer, is_open, now) {
            self.emit(&Event::TwoClients { agency, peer, rival });
        }
        match what {
            Done::Stored { bets, log, .. } => {
                let logged = log.as_deref().unwrap_or_default();
                self.emit(&Event::Stored { agency, peer, dialect, bets: *bets, logged });
                if self.reminders.summarises {
                    self.remind_of_summary(now);
                }
            }
            Done::Finished { first: true } | Done::Query { first: true, .. } => {
                let bets = self.lottery.agency(agency).map_or(0, |state| state.committed().bets);
                self.emit(&Event::Finished { agency, peer, dialect, bets });
            }
            Done::Welcome | Done::Repeated { .. } | Done::Finished { .. } | Done::Query { .. } => {}
        }
    }

    fn peer_of(&self, id: Option<ConnectionId>) -> Peer {
        let id = id.unwrap_or(NO_CONNECTION);
        self.connections.by_id(id).map_or(gone(id), |connection| connection.peer(id))
    }

    /// Writes the reply to one outcome. In a dialect with cumulative acknowledgements those of a run of
    /// batches become one, which waits in `run` for the run's end.
    fn answer(&mut self, entry: &Entry, run: &mut Option<Run>, committed: &Committed, now: Moment) {
        let Some(slot) = entry.id.and_then(|id| self.connections.slot(id)) else { return };
        let stored = self.acknowledged_with_others(slot, &entry.outcome);
        // While this outcome is pending, the acknowledgement of those before it does not resume the connection.
        if run.is_some_and(|run| run.slot != slot || stored.is_none()) {
            self.acknowledge(run, committed, now);
        }
        self.connections[slot].pending -= 1;
        if let Outcome::Done {
            agency,
            what: Done::Stored { .. } | Done::Finished { first: true } | Done::Query { first: true, .. },
        } = entry.outcome
            && self.connections[slot].session.agency == Some(agency)
        {
            // A repeated finish does not count: any peer can send one.
            self.know(slot, |connection| connection.trust.has_committed = true);
        }
        if let Phase::Closing(_) = self.connections[slot].session.phase {
            // An earlier answer was its last.
            return;
        }
        if let Some(sequence) = stored {
            // Not the agency's next number: another connection may have stored batches in the same turn, under numbers
            // that this one has used for others.
            let before = run.map_or(0, |run| run.next);
            *run = Some(Run { slot, next: before.max(sequence + 1) });
            return;
        }
        self.connections[slot].session.rejected_any |= matches!(entry.outcome, Outcome::Rejected { .. });
        match &entry.outcome {
            Outcome::Done { agency, what: Done::Query { .. } } => self.answer_query(slot, *agency, committed, now),
            Outcome::Done { agency, what: Done::Welcome } if self.is_excluded(*agency) => {
                self.send(slot, &Reply::Unwelcome(Unwelcome::UnknownAgency), committed, now);
            }
            Outcome::Done { agency, what } => {
                let reply = self.reply_to(slot, *agency, what);
                self.send(slot, &reply, committed, now);
            }
            Outcome::Dropped => self.pass_over(slot),
            Outcome::FinishUnclaimed => {
                let all_stored = !self.connections[slot].session.rejected_any;
                self.send(slot, &Reply::Finished { batches: 0, bets: 0, all_stored }, committed, now);
            }
            Outcome::NothingToStore => self.send(slot, &Reply::Stored { next: 0 }, committed, now),
            Outcome::Rejected { sequence, why, .. } => {
                self.send(slot, &Reply::Rejected { sequence: *sequence, why: *why }, committed, now);
            }
            Outcome::Refused(why) => self.send(slot, &refusal_of(*why), committed, now),
            // Only dialects with batches in flight have a reply for it.
            Outcome::Ended(Ending::ShuttingDown) if !self.connections[slot].session.server_rules().in_flight => {
                self.end(slot, now);
            }
            Outcome::Ended(ending) => self.send(slot, &last_reply_of(ending), committed, now),
            // No answer has come: nothing is stored under its number any more, although the hub knew of it.
            Outcome::Asked { .. } => self.send(slot, &last_reply_of(&Ending::Gap), committed, now),
            Outcome::Excluded { .. } => {}
        }
    }

    /// In a dialect with cumulative acknowledgements: the number of a batch that is stored.
    fn acknowledged_with_others(&self, slot: usize, outcome: &Outcome) -> Option<u64> {
        let Outcome::Done { what, .. } = outcome else { return None };
        let sequence = match what {
            Done::Stored { place, .. } => place.expected(),
            Done::Repeated { sequence } => *sequence,
            Done::Welcome | Done::Finished { .. } | Done::Query { .. } => return None,
        };
        self.connections[slot].session.server_rules().in_flight.then_some(sequence)
    }

    /// The reply to what was carried out, by what is stored of the agency. Queries have [`answer_query`](Self::answer_query).
    fn reply_to(&self, slot: usize, agency: AgencyId, what: &Done) -> Reply<'static> {
        let stored = self.lottery.agency(agency).map(|state| state.committed());
        let (batches, bets) = stored.map_or((0, 0), |state| (state.batches, state.bets));
        match what {
            Done::Welcome => Reply::Welcome { next: batches },
            Done::Stored { .. } | Done::Repeated { .. } => Reply::Stored { next: batches },
            Done::Finished { .. } => {
                Reply::Finished { batches, bets, all_stored: !self.connections[slot].session.rejected_any }
            }
            Done::Query { .. } => unreachable!("a query is answered with winners, or parked"),
        }
    }

    /// An outcome without a reply.
    fn pass_over(&mut self, slot: usize) {
        if self.connections[slot].pending == 0 {
            self.resume(slot);
            self.schedule(slot);
        }
    }

    fn acknowledge(&mut self, run: &mut Option<Run>, committed: &Committed, now: Moment) {
        let Some(Run { slot, next }) = run.take() else { return };
        self.send(slot, &Reply::Stored { next }, committed, now);
    }

    /// After the draw the reply has the winners; before it the query is parked, or the reply is "not yet".
    fn answer_query(&mut self, slot: usize, agency: AgencyId, committed: &Committed, now: Moment) {
        let polls = self.connections[slot].session.server_rules().polls;
        if self.lottery.draw_is_committed() {
            self.connections[slot].session.agency = Some(agency);
            self.connections.park(slot);
            self.queue_winners(self.connections.id(slot));
        } else if polls && self.policy.early_query == EarlyQuery::Reject {
            self.send(slot, &Reply::NotDrawn, committed, now);
        } else {
            self.park(slot, now);
        }
    }

    fn send(&mut self, slot: usize, reply: &Reply<'_>, committed: &Committed, now: Moment) {
        let Some(dialect) = self.connections[slot].session.dialect() else { return };
        let after = self.connections.reply(slot, committed, now, |outbox| dialect.encode(reply, outbox));
        self.replied(slot, after, now);
    }

    /// A reply was written into the outbox.
    pub(super) fn replied(&mut self, slot: usize, after: After, now: Moment) {
        if after == After::CloseUnrepresentable {
            self.emit(&Event::Unrepresentable { peer: self.peer_in(slot) });
        }
        if after != After::Open {
            self.end(slot, now);
            return;
        }
        let Connection { pending, session, .. } = &self.connections[slot];
        // A session that is not paused has decoded every whole frame, or decodes the rest when its peer reads.
        if *pending == 0 && (!session.is_reading() || session.half_closed) {
            self.resume(slot);
        }
        self.queue_write(slot);
    }

    /// Resumes a connection whose reply is sent; bytes in its inbox are decoded in the next turn.
    pub(super) fn resume(&mut self, slot: usize) {
        self.connections[slot].session.resume();
        self.queue_read(slot);
        self.defer(slot);
    }

    /// Sees that the bytes in a connection's inbox are decoded in the next turn.
    fn defer(&mut self, slot: usize) {
        let id = self.connections.id(slot);
        let connection = &mut self.connections[slot];
        let left = !connection.inbox().is_empty() || connection.session.half_closed;
        if left && !mutants::is(Mutant::ForgetHeld) && !std::mem::replace(&mut connection.flags.deferred, true) {
            let class = Class::of(connection.is_agency());
            self.scheduler.deferred.push(id, class);
        }
    }

    /// What the peer should be sent next: not always all that there is.
    pub fn outgoing(&self, id: ConnectionId) -> &[u8] {
        self.connections.slot(id).map_or(&[], |slot| self.connections[slot].outbox().unsent())
    }

    /// The peer took the first `bytes` of [`outgoing`](Self::outgoing).
    pub fn sent(&mut self, id: ConnectionId, bytes: usize, now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        let connection = &self.connections[slot];
        let (held, had_list) = (connection.is_held_by_its_reader(), connection.outbox().has_list());
        self.connections.sent(slot, bytes, now);
        let connection = &self.connections[slot];
        let goes_on = held && !connection.is_held_by_its_reader();
        if self.parked.paused && had_list && !connection.outbox().has_list() {
            // Its memory may be what others wait for.
            self.parked.lists.drop_unused();
        }
        if goes_on {
            self.queue_read(slot);
            self.defer(slot);
        }
        self.schedule(slot);
    }

    /// Whether the connection has said all it will say, so that its side can be shut.
    pub fn is_done(&self, id: ConnectionId) -> bool {
        let Some(slot) = self.connections.slot(id) else { return false };
        let connection = &self.connections[slot];
        matches!(connection.session.phase, Phase::Closing(_)) && connection.outbox().is_empty()
    }

    /// Takes one connection that has something to send, or is done; agencies first.
    pub fn take_dirty(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.writes.pop()?;
            if let Some(slot) = self.connections.slot(id) {
                self.connections[slot].flags.write = false;
                return Some(id);
            }
        }
    }

    /// Whether a connection is being closed.
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_none_or(|connection| matches!(connection.session.phase, Phase::Closing(_)))
    }

    /// Whether the connection is to be closed without waiting for its peer.
    pub fn is_cut(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_some_and(|connection| connection.flags.cut)
    }

    /// Puts a connection into the write queue: it has something to send, or is done.
    pub(super) fn queue_write(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if !std::mem::replace(&mut connection.flags.write, true) {
            let class = Class::of(connection.is_agency());
            self.writes.push(self.connections.id(slot), class);
        }
        self.schedule(slot);
    }
}

fn refusal_of(why: Refused) -> Reply<'static> {
    match why {
        Refused::Query(refusal) => Reply::Refused(refusal),
        Refused::Request(malformed) => Reply::BadRequest(malformed),
        Refused::Connection(why) => Reply::Unwelcome(why),
    }
}

fn last_reply_of(ending: &Ending) -> Reply<'_> {
    match ending {
        Ending::Gap => Reply::Gap,
        Ending::Malformed(malformed) => Reply::Malformed(*malformed),
        Ending::Echo(line) => Reply::Echo(line),
        Ending::ShuttingDown => Reply::ShuttingDown,
    }
}
