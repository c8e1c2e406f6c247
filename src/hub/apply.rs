//! Applying requests: to the lottery and the keeper at once, to the client only after the commit.

use super::Hub;
use super::events::Event;
use super::turn::{Done, Ending, Entry, LoggedBet, Outcome, Refused};
use crate::lottery::{AgencyId, BatchError, Bet, BetError, BetSource, Refusal, Standing};
use crate::mutants::{self, Mutant};
use crate::storage::{Keep, Match, MatchError, Place};
use crate::timers::Moment;
use crate::wire::{Batch, Bets, Malformed, Rejection, Request, Speaker, Unwelcome};

/// Said of a batch whose bets are more or fewer bytes than its frame.
const OVERRUN: Malformed = Malformed("the bets do not fill their frame exactly");

impl<K: Keep> Hub<K> {
    /// Applies one request, whose whole frame is `frame`.
    pub(super) fn apply(&mut self, slot: usize, request: Request<Bets<'_>>, frame: &[u8], now: Moment) {
        if self.connections[slot].trust.refused {
            // The hub is full: the reply to the first request says so.
            return self.note_last(slot, Outcome::Refused(Refused::Connection(Unwelcome::Busy)));
        }
        let (noted, claimed) = (self.turn.entries.len(), self.claimed(slot, &request));
        match request {
            Request::Hello(agency) => self.hello(slot, agency),
            Request::Batch(batch) => self.batch(slot, &batch, now),
            Request::Finish(speaker) => self.finish(slot, speaker),
            Request::Query(speaker) => self.query(slot, speaker),
            Request::FinishAndQuery(speaker) => self.finish_and_query(slot, speaker),
            Request::EmptyBatch => self.note(slot, Outcome::NothingToStore),
            Request::BadBatch { count, error } => {
                self.note(slot, Outcome::Rejected { agency: None, sequence: 0, count, why: error.into() });
            }
            Request::Refused(malformed) => self.note(slot, Outcome::Refused(Refused::Request(malformed))),
            // Its query has been answered already.
            Request::Watch => {}
            Request::Echo => self.echo(slot, frame),
        }
        if let Some(entry) = self.turn.entries.get_mut(noted) {
            entry.claimed = claimed;
        }
    }

    /// The agency that a request is for, by its own words or its connection's.
    fn claimed(&self, slot: usize, request: &Request<Bets<'_>>) -> Option<AgencyId> {
        let speaker = match request {
            Request::Hello(agency) => Speaker::Named(*agency),
            Request::Batch(batch) => batch.agency,
            Request::Finish(speaker) | Request::Query(speaker) | Request::FinishAndQuery(speaker) => *speaker,
            Request::EmptyBatch | Request::BadBatch { .. } | Request::Refused(_) | Request::Watch | Request::Echo => {
                Speaker::Connection
            }
        };
        match speaker {
            Speaker::Named(agency) => Some(agency),
            Speaker::Connection => self.connections[slot].session.agency,
        }
    }

    /// Sends a line back, then closes.
    pub(super) fn echo(&mut self, slot: usize, line: &[u8]) {
        self.note_last(slot, Outcome::Ended(Ending::Echo(line.into())));
    }

    /// Notes what became of a request of the connection.
    pub(super) fn note(&mut self, slot: usize, outcome: Outcome) {
        self.connections[slot].pending += 1;
        self.turn.untrusted_requests += u32::from(!self.connections[slot].is_agency());
        self.turn.entries.push(Entry { id: Some(self.connections.id(slot)), claimed: None, outcome });
    }

    /// Notes an outcome behind which nothing is decoded before its reply.
    pub(super) fn note_last(&mut self, slot: usize, outcome: Outcome) {
        self.connections[slot].session.pause();
        self.note(slot, outcome);
    }

    fn hello(&mut self, slot: usize, agency: AgencyId) {
        let refused = match self.claim(slot, agency) {
            Ok(()) if !self.is_excluded(agency) => {
                let welcome = Outcome::Done { agency, what: Done::Welcome };
                // What is decoded behind it is decided by what the turn reads.
                let is_read = self.keeping.keeper.look(agency);
                return if is_read { self.note_last(slot, welcome) } else { self.note(slot, welcome) };
            }
            Err(Rejection::Credentials) => Unwelcome::Credentials,
            Ok(()) | Err(_) => Unwelcome::UnknownAgency,
        };
        self.note_last(slot, Outcome::Refused(Refused::Connection(refused)));
    }

    fn batch(&mut self, slot: usize, batch: &Batch<Bets<'_>>, now: Moment) {
        let outcome = self.store_batch(slot, batch, now);
        if let Outcome::Dropped = outcome {
            return;
        }
        let session = &mut self.connections[slot].session;
        if let Outcome::Ended(_) | Outcome::Asked { .. } = outcome {
            session.pause();
        }
        if let (Outcome::Rejected { sequence, why, .. }, Some(_)) = (&outcome, batch.sequence) {
            session.awaiting_resend.get_or_insert(*sequence);
            session.in_conflict |= *why == Rejection::Conflict;
        }
        self.note(slot, outcome);
    }

    /// Stages a batch if its number is the agency's next one, the agency may bet, and its bets are valid.
    fn store_batch(&mut self, slot: usize, batch: &Batch<Bets<'_>>, now: Moment) -> Outcome {
        let session = &mut self.connections[slot].session;
        if let Some(sequence) = batch.sequence {
            if session.is_behind_rejected(sequence) {
                // What follows a conflict was numbered by a client that does not know what is stored: it could be bets
                // that are stored already, one number off.
                return if session.in_conflict { Outcome::Ended(Ending::Gap) } else { Outcome::Dropped };
            }
            if session.awaiting_resend == Some(sequence) {
                (session.awaiting_resend, session.in_conflict) = (None, false);
            }
        }
        let agency = match self.speaker(slot, batch.agency) {
            Ok(agency) => agency,
            Err(why) => return rejected(batch, None, why),
        };
        let rejected = |why| rejected(batch, Some(agency), why);
        let next = match self.lottery.agency(agency) {
            Ok(state) => state.batches,
            Err(refusal) => return rejected(refusal.into()),
        };
        let sequence = batch.sequence.unwrap_or(next);
        if sequence < next {
            return self.repeated(agency, sequence, batch).unwrap_or_else(rejected);
        }
        if sequence > next {
            return Outcome::Ended(Ending::Gap);
        }
        if let Err(refusal) = self.lottery.admits(agency) {
            return rejected(refusal.into());
        }
        if self.keeping.full_until.is_some_and(|until| now < until) {
            return rejected(Rejection::StorageFull);
        }
        let place = batch.sequence.map_or(Place::Next(next), Place::Numbered);
        match self.keeping.keeper.stage_batch(agency, place, &batch.bets) {
            Ok(staged) if staged.bets == 0 => Outcome::NothingToStore,
            Ok(staged) => {
                self.lottery.store(agency, staged.bets, staged.winners).expect("the lottery has just admitted it");
                let log = if self.reminders.summarises { None } else { logged(&batch.bets, staged.bets) };
                Outcome::Done { agency, what: Done::Stored { place, bets: staged.bets, log } }
            }
            Err(BatchError::Malformed) => Outcome::Ended(Ending::Malformed(OVERRUN)),
            Err(error) => rejected(error.into()),
        }
    }

    /// A batch under a number that is stored already: the same bets are harmless, others are a conflict.
    fn repeated(&mut self, agency: AgencyId, sequence: u64, batch: &Batch<Bets<'_>>) -> Result<Outcome, Rejection> {
        match self.keeping.keeper.matches(agency, sequence, &batch.bets) {
            Ok(Match::Other) if !mutants::is(Mutant::IgnoreConflict) => Err(Rejection::Conflict),
            Ok(Match::Asked) => Ok(Outcome::Asked { agency, sequence, count: batch.bets.count() }),
            Ok(_) => Ok(Outcome::Done { agency, what: Done::Repeated { sequence } }),
            Err(MatchError::Batch(BatchError::Malformed)) => Ok(Outcome::Ended(Ending::Malformed(OVERRUN))),
            Err(MatchError::Batch(_)) => Err(Rejection::Conflict),
            Err(MatchError::Io(error)) => {
                self.emit(&Event::StoreUnreadable { agency, error: &error });
                Err(Rejection::StorageFull)
            }
        }
    }

    fn finish(&mut self, slot: usize, speaker: Speaker) {
        if self.overtakes(slot) {
            return self.refuse_overtaking(slot);
        }
        let session = &mut self.connections[slot].session;
        if speaker == Speaker::Connection && session.agency.is_none() && session.server_rules().finish_before_agency {
            session.finish_unclaimed = true;
            return self.note(slot, Outcome::FinishUnclaimed);
        }
        let finished = self.speaker(slot, speaker).and_then(|agency| {
            let first = self.finish_agency(agency)?;
            Ok(Outcome::Done { agency, what: Done::Finished { first } })
        });
        self.note(slot, finished.unwrap_or_else(refused));
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
            Ok(agency) if self.is_excluded(agency) => Outcome::Refused(Refused::Query(Refusal::Excluded)),
            Ok(agency) => Outcome::Done { agency, what: Done::Query { finishes: false, first: false } },
            Err(why) => refused(why),
        };
        self.note_last(slot, outcome);
    }

    fn finish_and_query(&mut self, slot: usize, speaker: Speaker) {
        let finished = self.speaker(slot, speaker).and_then(|agency| {
            let first = self.finish_agency(agency)?;
            Ok(Outcome::Done { agency, what: Done::Query { finishes: true, first } })
        });
        self.note_last(slot, finished.unwrap_or_else(refused));
    }

    /// Says whether the agency had not finished before.
    pub(super) fn finish_agency(&mut self, agency: AgencyId) -> Result<bool, Refusal> {
        let first = self.lottery.finish(agency)?;
        if first {
            self.keeping.keeper.stage_finish(agency);
        }
        Ok(first)
    }

    /// Whether a finish or a query comes before a rejected batch has come again: the agency would end without it.
    /// Agencies whose finish is committed are exempt, and so are all after the draw. A finish that is not committed, on another
    /// connection, does not count: a full disk may take it back, and this one would be applied in its place.
    fn overtakes(&self, slot: usize) -> bool {
        let session = &self.connections[slot].session;
        let agency = session.agency.and_then(|agency| self.lottery.agency(agency).ok());
        session.awaiting_resend.is_some()
            && !self.lottery.draw_is_committed()
            && agency.is_some_and(|agency| agency.committed().standing == Standing::Betting)
            && !mutants::is(Mutant::FinishOverRejected)
    }

    /// To drop it, as the batches behind a rejected one are, would leave a client that has nothing to send again
    /// without an answer for ever. The reply is that a batch is missing; the client starts over on another connection.
    fn refuse_overtaking(&mut self, slot: usize) {
        self.note_last(slot, Outcome::Ended(Ending::Gap));
    }

    pub(super) fn is_excluded(&self, agency: AgencyId) -> bool {
        self.lottery.agency(agency).is_ok_and(|state| state.standing == Standing::Excluded)
    }

    pub(super) fn is_betting(&self, agency: AgencyId) -> bool {
        self.lottery.agency(agency).is_ok_and(|state| state.standing == Standing::Betting)
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

/// A batch that is not stored.
fn rejected(batch: &Batch<Bets<'_>>, agency: Option<AgencyId>, why: Rejection) -> Outcome {
    Outcome::Rejected { agency, sequence: batch.sequence.unwrap_or_default(), count: batch.bets.count(), why }
}

/// How a finish or a query is refused.
fn refused(why: Rejection) -> Outcome {
    let refusal = match why {
        Rejection::Refused(refusal) => refusal,
        Rejection::Batch(_) | Rejection::Conflict | Rejection::StorageFull | Rejection::Credentials => {
            Refusal::UnknownAgency
        }
    };
    Outcome::Refused(Refused::Query(refusal))
}
