//! Taking turns back: the disk was full, so that no batch of them has happened.

use std::collections::{HashMap, HashSet};

use super::Hub;
use super::connections::ConnectionId;
use super::events::Event;
use super::turn::{Done, Ending, Entry, Outcome, Refused};
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::Rejection;

/// The batches that were taken back.
#[derive(Default)]
struct TakenBack {
    /// The number of the first one of a connection and an agency, which has to come again before what is behind it counts. Of
    /// connections with several batches in flight, and of those that are gone: their clients got no reply.
    first: HashMap<(ConnectionId, AgencyId), u64>,
    /// All of them. Another hub may have stored other bets under such a number since: what was compared with these is not
    /// compared with those.
    numbers: HashSet<(AgencyId, u64)>,
}

impl TakenBack {
    /// The batch is to be sent again. `key`: its connection, where that sends several at a time.
    fn reject(
        &mut self,
        key: Option<(ConnectionId, AgencyId)>,
        (agency, sequence, count): (AgencyId, u64, u32),
    ) -> Outcome {
        if let Some(key) = key {
            self.first.entry(key).or_insert(sequence);
        }
        Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::StorageFull }
    }
}

impl<K: Keep> Hub<K> {
    /// Of all turns in flight and the one in hand the batches have not happened, everything else still has. All of it is in
    /// the turn in hand then, to be submitted again.
    pub(super) fn take_back_batches(&mut self, error: &std::io::Error, now: Moment) {
        let mut entries = self.take_back();
        self.emit(&Event::StoreFull { error });
        self.keeping.was_full = true;
        self.keeping.full_until = Some(now + limits::FULL_DISK_PAUSE);
        if !mutants::is(Mutant::KeepLotteryOnFull) {
            self.lottery.roll_back();
        }
        let mut taken_back = TakenBack::default();
        for entry in &mut entries {
            if !keeps_by_mutant(&entry.outcome) {
                let outcome = std::mem::replace(&mut entry.outcome, Outcome::Dropped);
                entry.outcome = self.without_batches(entry.id, outcome, &mut taken_back);
            }
        }
        self.apply_again(entries, now);
        for ((id, _), sequence) in taken_back.first {
            if let Some(slot) = self.connections.slot(id).filter(|_| !mutants::is(Mutant::ForgetResend)) {
                let session = &mut self.connections[slot].session;
                (session.awaiting_resend, session.in_conflict) = (Some(sequence), false);
            }
        }
    }

    /// The entries of all turns in flight and of the one in hand, in order.
    pub(super) fn take_back(&mut self) -> Vec<Entry> {
        let mut entries = self.keeping.take_back();
        entries.append(&mut self.turn.entries);
        entries
    }

    /// What is left of turns that were taken back is the turn in hand, to be submitted again.
    pub(super) fn apply_again(&mut self, entries: Vec<Entry>, now: Moment) {
        self.turn.entries = entries;
        // An agency whose connection has ended may have no bet any more, or no finish.
        self.liveness.count_unclaimed(&self.lottery);
        self.lose_absent_agencies(now);
    }

    /// What an outcome becomes when no batch could be stored.
    fn without_batches(&mut self, id: Option<ConnectionId>, outcome: Outcome, taken_back: &mut TakenBack) -> Outcome {
        if let Outcome::Done { agency, what: Done::Stored { place, .. } } = &outcome {
            taken_back.numbers.insert((*agency, place.expected()));
        }
        let connection = id.and_then(|id| self.connections.by_id(id));
        let resends = connection.is_none_or(|connection| connection.session.server_rules().in_flight);
        let key = id.zip(agency_of(&outcome)).filter(|_| resends);
        let awaited = key.and_then(|key| taken_back.first.get(&key).copied());
        let is_behind = awaited.is_some_and(|awaited| sequence_of(&outcome).is_some_and(|sequence| sequence > awaited));
        if is_behind && connection.is_some() {
            return Outcome::Dropped;
        }
        let is_stored = |hub: &Self, agency, sequence| {
            hub.has_batch(agency, sequence) && !taken_back.numbers.contains(&(agency, sequence))
        };
        match outcome {
            Outcome::Done { agency, what: Done::Stored { place, bets: count, .. } } => {
                taken_back.reject(key, (agency, place.expected(), count))
            }
            Outcome::Done { agency, what: Done::Repeated { sequence } } if !is_stored(self, agency, sequence) => {
                taken_back.reject(key, (agency, sequence, 0))
            }
            // The other bets of that number are not stored either.
            Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::Conflict }
                if !is_stored(self, agency, sequence) =>
            {
                taken_back.reject(key, (agency, sequence, count))
            }
            // The finish before it has not happened either.
            Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::Refused(_) }
                if self.lottery.admits(agency).is_ok() =>
            {
                taken_back.reject(key, (agency, sequence, count))
            }
            Outcome::Done { agency, what: Done::Finished { .. } | Done::Query { .. } }
                if awaited.is_some() && self.is_betting(agency) =>
            {
                if let Some(slot) = id.and_then(|id| self.connections.slot(id)) {
                    self.connections[slot].session.pause();
                }
                Outcome::Ended(Ending::Gap)
            }
            Outcome::Done { agency, what } => self.done_again(agency, what),
            Outcome::Excluded { agency } => {
                if self.lottery.exclude(agency) == Ok(true) {
                    self.keeping.keeper.stage_exclusion(agency);
                }
                outcome
            }
            Outcome::FinishUnclaimed
            | Outcome::NothingToStore
            | Outcome::Rejected { .. }
            | Outcome::Refused(_)
            | Outcome::Ended(_)
            | Outcome::Dropped => outcome,
            Outcome::Asked { agency, sequence, count } => taken_back.reject(key, (agency, sequence, count)),
        }
    }

    /// A finish is applied again.
    pub(super) fn done_again(&mut self, agency: AgencyId, what: Done) -> Outcome {
        let what = match what {
            Done::Finished { .. } => self.finish_agency(agency).map(|first| Done::Finished { first }),
            Done::Query { finishes: true, .. } => {
                self.finish_agency(agency).map(|first| Done::Query { finishes: true, first })
            }
            Done::Welcome | Done::Stored { .. } | Done::Repeated { .. } | Done::Query { .. } => Ok(what),
        };
        match what {
            Ok(what) => Outcome::Done { agency, what },
            Err(refusal) => Outcome::Refused(Refused::Query(refusal)),
        }
    }

    /// Whether batch `sequence` of the agency is stored.
    pub(super) fn has_batch(&self, agency: AgencyId, sequence: u64) -> bool {
        self.lottery.agency(agency).is_ok_and(|state| sequence < state.batches)
    }
}

/// Whose request it was.
pub(super) fn agency_of(outcome: &Outcome) -> Option<AgencyId> {
    match outcome {
        Outcome::Done { agency, .. } | Outcome::Excluded { agency } | Outcome::Asked { agency, .. } => Some(*agency),
        Outcome::Rejected { agency, .. } => *agency,
        Outcome::FinishUnclaimed
        | Outcome::NothingToStore
        | Outcome::Refused(_)
        | Outcome::Ended(_)
        | Outcome::Dropped => None,
    }
}

/// The number of a batch.
fn sequence_of(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Done { what: Done::Stored { place, .. }, .. } => Some(place.expected()),
        Outcome::Done { what: Done::Repeated { sequence }, .. }
        | Outcome::Asked { sequence, .. }
        | Outcome::Rejected { sequence, .. } => Some(*sequence),
        Outcome::Done { .. }
        | Outcome::FinishUnclaimed
        | Outcome::NothingToStore
        | Outcome::Refused(_)
        | Outcome::Ended(_)
        | Outcome::Excluded { .. }
        | Outcome::Dropped => None,
    }
}

fn keeps_by_mutant(outcome: &Outcome) -> bool {
    let Outcome::Done { what, .. } = outcome else { return false };
    let stored = matches!(what, Done::Stored { .. }) && mutants::is(Mutant::KeepTakenBack);
    stored || matches!(what, Done::Finished { .. }) && mutants::is(Mutant::ForgetFinishOnFull)
}
