//! Taking turns back: the disk was full, so that no batch of them has happened.

use std::collections::HashMap;

use super::Hub;
use super::connections::ConnectionId;
use super::events::Event;
use super::turn::{Done, Ending, Outcome, Refused};
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::storage::{CommitError, Keep};
use crate::timers::Moment;
use crate::wire::Rejection;

/// The number of the first batch of a connection that was taken back, which has to come again before what is behind it
/// counts. Of connections with several batches in flight, and of those that are gone: their clients got no reply.
type TakenBack = HashMap<ConnectionId, u64>;

impl<K: Keep> Hub<K> {
    /// Of all turns in flight and the one in hand the batches have not happened, everything else still has. All of it is in
    /// the turn in hand then, to be submitted again.
    ///
    /// # Errors
    /// [`CommitError::Full`]: there was no batch among it. Room for the others is reserved, and the disk has not kept it.
    pub(super) fn take_back_batches(&mut self, error: std::io::Error, now: Moment) -> Result<(), CommitError> {
        let mut entries = self.keeping.take_back();
        entries.append(&mut self.turn.entries);
        if !entries.iter().any(|entry| matches!(entry.outcome, Outcome::Done { what: Done::Stored { .. }, .. })) {
            return Err(CommitError::Full(error));
        }
        self.emit(&Event::StoreFull { error: &error });
        self.keeping.full_until = Some(now + limits::FULL_DISK_PAUSE);
        if !mutants::is(Mutant::KeepLotteryOnFull) {
            self.lottery.roll_back();
        }
        let mut taken_back = TakenBack::new();
        for entry in &mut entries {
            if !keeps_by_mutant(&entry.outcome) {
                let outcome = std::mem::replace(&mut entry.outcome, Outcome::Dropped);
                entry.outcome = self.without_batches(entry.id, outcome, &mut taken_back);
            }
        }
        self.turn.entries = entries;
        // An agency whose connection ended since it was stored may have no bet any more.
        self.liveness.count_unclaimed(&self.lottery);
        for (id, sequence) in taken_back {
            if let Some(slot) = self.connections.slot(id).filter(|_| !mutants::is(Mutant::ForgetResend)) {
                let session = &mut self.connections[slot].session;
                (session.awaiting_resend, session.in_conflict) = (Some(sequence), false);
            }
        }
        Ok(())
    }

    /// What an outcome becomes when no batch could be stored.
    fn without_batches(&mut self, id: Option<ConnectionId>, outcome: Outcome, taken_back: &mut TakenBack) -> Outcome {
        let connection = id.and_then(|id| self.connections.by_id(id));
        let resends = id.filter(|_| connection.is_none_or(|connection| connection.session.server_rules().in_flight));
        let awaited = resends.and_then(|id| taken_back.get(&id).copied());
        if awaited.is_some_and(|awaited| sequence_of(&outcome).is_some_and(|sequence| sequence > awaited)) {
            return Outcome::Dropped;
        }
        let spoken_for = connection.and_then(|connection| connection.session.agency);
        let mut reject = |sequence, count| {
            if let Some(id) = resends {
                taken_back.entry(id).or_insert(sequence);
            }
            Outcome::Rejected { sequence, count, why: Rejection::StorageFull }
        };
        match outcome {
            Outcome::Done { what: Done::Stored { sequence, bets: count, .. }, .. } => reject(sequence, count),
            Outcome::Done { agency, what: Done::Repeated { sequence } } if !self.has_batch(Some(agency), sequence) => {
                reject(sequence, 0)
            }
            // The other bets of that number are not stored either.
            Outcome::Rejected { sequence, count, why: Rejection::Conflict }
                if !self.has_batch(spoken_for, sequence) =>
            {
                reject(sequence, count)
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
            // What it had begun with has not happened.
            Outcome::Excluded { agency } if self.lottery.agency(agency).is_ok_and(|state| state.bets == 0) => {
                Outcome::Dropped
            }
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
        }
    }

    /// A finish is applied again.
    fn done_again(&mut self, agency: AgencyId, what: Done) -> Outcome {
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
    fn has_batch(&self, agency: Option<AgencyId>, sequence: u64) -> bool {
        let state = agency.and_then(|agency| self.lottery.agency(agency).ok());
        state.is_some_and(|state| sequence < state.batches)
    }
}

/// The number of a batch.
fn sequence_of(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Done { what: Done::Stored { sequence, .. } | Done::Repeated { sequence }, .. }
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
