//! Applying requests: to the lottery and the store at once, to the client only after the commit.

use std::collections::HashMap;

use super::Hub;
use super::connection::ConnectionId;
use super::deadlines::Departure;
use super::turn::{LoggedBet, Outcome};
use crate::logging::Value;
use crate::lottery::{AgencyId, BatchError, Bet, BetError, BetSource, Refusal, Standing};
use crate::mutants::{self, Mutant};
use crate::storage::{Disk, MatchError};
use crate::timers::Moment;
use crate::wire::{Batch, Bets, Malformed, Rejection, Request, Speaker, Unwelcome};

/// Said of a batch whose bets are more or fewer bytes than its frame.
const OVERRUN: Malformed = Malformed("the bets do not fill their frame exactly");

/// In a turn that is taken back, of connections with batches in flight: the number that has to come again.
type TakenBack = HashMap<usize, u64>;

impl<D: Disk> Hub<D> {
    /// Applies one request, whose whole frame is `frame`.
    pub(super) fn apply(&mut self, slot: usize, request: Request<Bets<'_>>, frame: &[u8], now: Moment) {
        if self.connections[slot].refused {
            return self.turn_away(slot);
        }
        match request {
            Request::Hello(agency) => self.hello(slot, agency),
            Request::Batch(batch) => self.batch(slot, &batch, now),
            Request::Finish(speaker) => self.finish(slot, speaker),
            Request::Query(speaker) => self.query(slot, speaker),
            Request::FinishAndQuery(speaker) => self.finish_and_query(slot, speaker),
            Request::EmptyBatch => self.note(slot, Outcome::NothingToStore),
            Request::BadBatch { count, error } => {
                self.note(slot, Outcome::Rejected { sequence: 0, count, why: error.into() });
            }
            Request::Refused(malformed) => self.note(slot, Outcome::BadRequest(malformed)),
            Request::Echo => self.echo(slot, frame),
        }
    }

    /// Sends a line back, then closes.
    pub(super) fn echo(&mut self, slot: usize, line: &[u8]) {
        self.connections[slot].session.wait();
        self.note(slot, Outcome::Echo(line.into()));
    }

    /// The hub is full, which the peer's first request is told.
    fn turn_away(&mut self, slot: usize) {
        self.connections[slot].session.wait();
        self.note(slot, Outcome::Unwelcome(Unwelcome::Busy));
    }

    fn hello(&mut self, slot: usize, agency: AgencyId) {
        let outcome = match self.claim(slot, agency) {
            Ok(()) if self.is_excluded(agency) => Outcome::Unwelcome(Unwelcome::UnknownAgency),
            Ok(()) => Outcome::Welcome { agency },
            Err(Rejection::Credentials) => Outcome::Unwelcome(Unwelcome::Credentials),
            Err(_) => Outcome::Unwelcome(Unwelcome::UnknownAgency),
        };
        if matches!(outcome, Outcome::Unwelcome(_)) {
            self.connections[slot].session.wait();
        }
        self.note(slot, outcome);
    }

    fn batch(&mut self, slot: usize, batch: &Batch<Bets<'_>>, now: Moment) {
        let outcome = self.store_batch(slot, batch, now);
        if let Outcome::Dropped = outcome {
            return;
        }
        let session = &mut self.connections[slot].session;
        if let Outcome::Malformed(_) | Outcome::Gap = outcome {
            session.wait();
        }
        if let (Outcome::Rejected { sequence, why, .. }, Some(_)) = (&outcome, batch.sequence) {
            session.awaiting_resend.get_or_insert(*sequence);
            session.in_conflict |= *why == Rejection::Conflict;
        }
        self.note(slot, outcome);
    }

    fn store_batch(&mut self, slot: usize, batch: &Batch<Bets<'_>>, now: Moment) -> Outcome {
        let rejected = |why: Rejection| Outcome::Rejected {
            sequence: batch.sequence.unwrap_or_default(),
            count: batch.bets.count(),
            why,
        };
        if self.awaits_another(slot, batch.sequence) {
            // What follows a conflict was numbered by a client that does not know what is stored: it could be bets
            // that are stored already, one number off.
            let in_conflict = self.connections[slot].session.in_conflict;
            return if in_conflict { Outcome::Gap } else { Outcome::Dropped };
        }
        let agency = match self.speaker(slot, batch.agency) {
            Ok(agency) => agency,
            Err(why) => return rejected(why),
        };
        let next = match self.lottery.agency(agency) {
            Ok(state) => state.batches,
            Err(refusal) => return rejected(refusal.into()),
        };
        let sequence = batch.sequence.unwrap_or(next);
        if sequence < next {
            return self.repeated(agency, sequence, &batch.bets).unwrap_or_else(rejected);
        }
        if sequence > next {
            return Outcome::Gap;
        }
        if let Err(refusal) = self.lottery.admits(agency) {
            return rejected(refusal.into());
        }
        if self.full_until.is_some_and(|until| now < until) {
            return rejected(Rejection::StorageFull);
        }
        match self.store.stage_batch(agency, sequence, &batch.bets) {
            Ok(staged) if staged.bets == 0 => Outcome::NothingToStore,
            Ok(staged) => {
                self.lottery.store(agency, staged.bets, staged.winners).expect("the lottery has just admitted it");
                Outcome::Stored { agency, sequence, bets: staged.bets, log: logged(&batch.bets, staged.bets) }
            }
            Err(BatchError::Malformed) => Outcome::Malformed(OVERRUN),
            Err(error) => rejected(error.into()),
        }
    }

    /// A batch under a number that is stored already: the same bets are harmless, others are a conflict.
    fn repeated(&mut self, agency: AgencyId, sequence: u64, bets: &Bets<'_>) -> Result<Outcome, Rejection> {
        match self.store.matches(agency, sequence, bets) {
            Ok(false) if mutants::is(Mutant::IgnoreConflict) => Ok(Outcome::Repeated { agency, sequence }),
            Ok(true) => Ok(Outcome::Repeated { agency, sequence }),
            Ok(false) => Err(Rejection::Conflict),
            Err(MatchError::Batch(BatchError::Malformed)) => Ok(Outcome::Malformed(OVERRUN)),
            Err(MatchError::Batch(_)) => Err(Rejection::Conflict),
            Err(MatchError::Io(error)) => {
                let error = Value(error);
                log::error!("action: store | result: fail | agency: {agency} | reason: {error}");
                Err(Rejection::StorageFull)
            }
        }
    }

    fn finish(&mut self, slot: usize, speaker: Speaker) {
        if self.overtakes(slot) {
            return self.refuse_overtaking(slot);
        }
        let session = &mut self.connections[slot].session;
        if speaker == Speaker::Connection && session.agency.is_none() && session.conduct().finish_before_agency {
            session.finish_unclaimed = true;
            self.note(slot, Outcome::Finished { agency: None, first: false });
            return;
        }
        let outcome = match self.speaker(slot, speaker).and_then(|agency| Ok(self.finish_agency(agency)?)) {
            Ok((agency, first)) => Outcome::Finished { agency: Some(agency), first },
            Err(why) => refused(why),
        };
        self.note(slot, outcome);
    }

    fn query(&mut self, slot: usize, speaker: Speaker) {
        if self.overtakes(slot) {
            return self.refuse_overtaking(slot);
        }
        let unclaimed = std::mem::take(&mut self.connections[slot].session.finish_unclaimed);
        if unclaimed {
            return self.finish_and_query(slot, speaker);
        }
        let outcome = match self.speaker(slot, speaker) {
            Ok(agency) if self.is_excluded(agency) => Outcome::Refused(Refusal::Excluded),
            Ok(agency) => Outcome::Query { agency, finishes: false, first: false },
            Err(why) => refused(why),
        };
        self.connections[slot].session.wait();
        self.note(slot, outcome);
    }

    fn finish_and_query(&mut self, slot: usize, speaker: Speaker) {
        let outcome = match self.speaker(slot, speaker).and_then(|agency| Ok(self.finish_agency(agency)?)) {
            Ok((agency, first)) => Outcome::Query { agency, finishes: true, first },
            Err(why) => refused(why),
        };
        self.connections[slot].session.wait();
        self.note(slot, outcome);
    }

    /// Says whether the agency had not finished before.
    fn finish_agency(&mut self, agency: AgencyId) -> Result<(AgencyId, bool), Refusal> {
        let first = self.lottery.finish(agency)?;
        if first {
            self.store.stage_finish(agency);
        }
        Ok((agency, first))
    }

    /// Whether an earlier batch of this connection has to come again before this request counts.
    fn awaits_another(&mut self, slot: usize, sequence: Option<u64>) -> bool {
        let session = &mut self.connections[slot].session;
        let Some(awaited) = session.awaiting_resend else { return false };
        if sequence == Some(awaited) {
            (session.awaiting_resend, session.in_conflict) = (None, false);
        }
        sequence.is_some_and(|sequence| sequence > awaited)
    }

    /// Whether a finish or a query comes before a rejected batch has come again: the agency would end without it.
    /// Agencies that finished in an earlier turn are exempt. A finish of this turn, on another connection, does not
    /// count: a full disk may take it back, and this one would be applied in its place.
    fn overtakes(&self, slot: usize) -> bool {
        let session = &self.connections[slot].session;
        let agency = session.agency.and_then(|agency| self.lottery.agency(agency).ok());
        session.awaiting_resend.is_some()
            && agency.is_some_and(|agency| agency.committed_standing() == Standing::Betting)
            && !mutants::is(Mutant::FinishOverRejected)
    }

    /// To drop it, as the batches behind a rejected one are, would leave a client that has nothing to send again
    /// without an answer for ever: it is told that a batch is missing, and starts over on another connection.
    fn refuse_overtaking(&mut self, slot: usize) {
        self.connections[slot].session.wait();
        self.note(slot, Outcome::Gap);
    }

    /// Which agency a request speaks for, if it may.
    fn speaker(&mut self, slot: usize, speaker: Speaker) -> Result<AgencyId, Rejection> {
        let agency = match (speaker, self.connections[slot].session.agency) {
            (Speaker::Named(agency), _) => agency,
            (Speaker::Connection, Some(agency)) => agency,
            (Speaker::Connection, None) => self.free_agency(slot).ok_or(Refusal::UnknownAgency)?,
        };
        self.claim(slot, agency)?;
        Ok(agency)
    }

    /// The first agency that an unnumbered connection may be: neither a connection nor a stored bet has
    /// claimed it.
    fn free_agency(&self, slot: usize) -> Option<AgencyId> {
        self.connections[slot].session.certified.or_else(|| self.unnumbered.first())
    }

    /// The connection speaks for `agency` from here on.
    fn claim(&mut self, slot: usize, agency: AgencyId) -> Result<(), Rejection> {
        let session = &mut self.connections[slot].session;
        if session.agency == Some(agency) {
            return Ok(());
        }
        if session.certified.is_some_and(|certified| certified != agency) {
            log::warn!(
                "action: authorize | result: in_progress | ip: {} | agency: {agency} | reason: the certificate is another agency's",
                self.connections[slot].peer
            );
            return Err(Rejection::Credentials);
        }
        if !self.lottery.roster().contains(agency) {
            return Err(Refusal::UnknownAgency.into());
        }
        if let Some(before) = session.agency.replace(agency) {
            self.speaks_for_another(slot, before);
        }
        self.unnumbered.claimed(agency);
        let id = self.id(slot);
        if self.presence.speaks_again(id, agency) {
            if self.connections[slot].is_agency() {
                self.presence.known(agency);
            }
            return Ok(());
        }
        if self.presence.joined(agency, self.connections[slot].is_agency()) {
            log::info!("action: agency_returned | result: success | agency: {agency}");
        }
        Ok(())
    }

    /// The connection spoke for `before` until now. That agency is here as long as the connection is open.
    fn speaks_for_another(&mut self, slot: usize, before: AgencyId) {
        let left = Departure::of(&self.connections[slot]);
        self.connections[slot].has_committed = false;
        if mutants::is(Mutant::ForgetEarlierAgency) {
            return self.leave(before, left, left.heard_at);
        }
        let id = self.id(slot);
        if let Some(earliest) = self.presence.stays(id, before, left.known) {
            self.leave(earliest, Departure { known: false, ..left }, left.heard_at);
        }
    }

    /// The disk was full: the batches of this turn have not happened, everything else still has.
    pub(super) fn take_back_batches(&mut self, error: &std::io::Error, now: Moment) {
        let why = Value(error);
        log::error!("action: store | result: in_progress | reason: {why}, batches are rejected until there is space");
        self.full_until = Some(now + crate::limits::FULL_DISK_PAUSE);
        if !mutants::is(Mutant::KeepLotteryOnFull) {
            self.lottery.roll_back();
        }
        let mut turn = std::mem::take(&mut self.turn);
        let mut taken_back = TakenBack::new();
        for entry in &mut turn {
            if mutants::is(Mutant::KeepTakenBack) && matches!(entry.outcome, Outcome::Stored { .. }) {
                continue;
            }
            if mutants::is(Mutant::ForgetFinishOnFull) && matches!(entry.outcome, Outcome::Finished { .. }) {
                continue;
            }
            let outcome = std::mem::replace(&mut entry.outcome, Outcome::Dropped);
            entry.outcome = self.without_batches(entry.id, outcome, &mut taken_back);
        }
        self.turn = turn;
        // Of an agency that has left in this turn, no bet may be stored any more.
        self.unnumbered.count_again(&self.lottery, &self.presence);
        for (slot, sequence) in taken_back {
            if mutants::is(Mutant::ForgetResend) {
                continue;
            }
            let session = &mut self.connections[slot].session;
            (session.awaiting_resend, session.in_conflict) = (Some(sequence), false);
        }
    }

    /// What an outcome becomes when no batch of its turn could be stored.
    fn without_batches(&mut self, id: Option<ConnectionId>, outcome: Outcome, taken_back: &mut TakenBack) -> Outcome {
        let slot = id.and_then(|id| self.slot(id));
        let in_flight = slot.filter(|slot| self.connections[*slot].session.conduct().in_flight);
        let awaited = in_flight.and_then(|slot| taken_back.get(&slot).copied());
        let mut reject = |sequence, count| {
            taken_back.extend(in_flight.map(|slot| (slot, sequence)));
            Outcome::Rejected { sequence, count, why: Rejection::StorageFull }
        };
        match outcome {
            Outcome::Stored { sequence, .. }
            | Outcome::Repeated { sequence, .. }
            | Outcome::Rejected { sequence, .. }
                if awaited.is_some_and(|awaited| sequence > awaited) =>
            {
                Outcome::Dropped
            }
            Outcome::Stored { sequence, bets: count, .. } => reject(sequence, count),
            Outcome::Repeated { agency, sequence }
                if self.lottery.agency(agency).is_ok_and(|state| sequence >= state.batches) =>
            {
                reject(sequence, 0)
            }
            // The other bets of that number were this turn's, and are not stored either.
            Outcome::Rejected { sequence, count, why: Rejection::Conflict } if !self.has_batch(slot, sequence) => {
                reject(sequence, count)
            }
            Outcome::Finished { .. } | Outcome::Query { .. } if awaited.is_some() && self.may_bet(slot) => {
                slot.into_iter().for_each(|slot| self.connections[slot].session.wait());
                Outcome::Gap
            }
            Outcome::Finished { agency: Some(agency), .. } => match self.finish_agency(agency) {
                Ok((_, first)) => Outcome::Finished { agency: Some(agency), first },
                Err(refusal) => Outcome::Refused(refusal),
            },
            Outcome::Query { agency, finishes: true, .. } => match self.finish_agency(agency) {
                Ok((_, first)) => Outcome::Query { agency, finishes: true, first },
                Err(refusal) => Outcome::Refused(refusal),
            },
            Outcome::Excluded { agency } => {
                if self.lottery.exclude(agency) == Ok(true) {
                    self.store.stage_exclusion(agency);
                }
                Outcome::Excluded { agency }
            }
            Outcome::Welcome { .. }
            | Outcome::Unwelcome(_)
            | Outcome::Repeated { .. }
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
            | Outcome::Dropped => outcome,
        }
    }

    /// Whether batch `sequence` of the connection's agency is stored.
    fn has_batch(&self, slot: Option<usize>, sequence: u64) -> bool {
        let agency = slot.and_then(|slot| self.connections[slot].session.agency);
        let state = agency.and_then(|agency| self.lottery.agency(agency).ok());
        state.is_some_and(|state| sequence < state.batches)
    }

    /// Whether the connection's agency has not finished.
    fn may_bet(&self, slot: Option<usize>) -> bool {
        let agency = slot.and_then(|slot| self.connections[slot].session.agency);
        agency.is_some_and(|agency| self.is_betting(agency))
    }
}

/// What the log will say of the bets of a stored batch: a lone bet always, the others at DEBUG.
fn logged(bets: &Bets<'_>, count: u32) -> Option<Box<[LoggedBet]>> {
    if count != 1 && !log::log_enabled!(log::Level::Debug) {
        return None;
    }
    let mut checked: Vec<Result<Bet, BetError>> = Vec::new();
    bets.feed(&mut checked).ok()?;
    let logged = |bet: Bet| LoggedBet { document: bet.document().into(), number: bet.number() };
    Some(checked.into_iter().flatten().map(logged).collect())
}

/// How a finish or a query is refused.
fn refused(why: Rejection) -> Outcome {
    match why {
        Rejection::Refused(refusal) => Outcome::Refused(refusal),
        Rejection::Batch(_) | Rejection::Conflict | Rejection::StorageFull | Rejection::Credentials => {
            Outcome::Refused(Refusal::UnknownAgency)
        }
    }
}
