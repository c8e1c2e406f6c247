//! What other hubs have stored in the same draw: it is taken over, and turns that did not expect it are decided again.

use std::collections::HashSet;

use super::Hub;
use super::connections::ConnectionId;
use super::events::Event;
use super::rollback::agency_of;
use super::turn::{CommittedTurn, Done, Ending, Entry, LoggedBet, Outcome};
use crate::lottery::{AgencyId, Refusal, Standing};
use crate::mutants::{self, Mutant};
use crate::storage::{Compared, Keep, Known, Learned, Place};
use crate::timers::Moment;
use crate::wire::Rejection;

/// Connections whose numbers for an agency's batches do not fit what is stored: what follows of them is not stored.
type Misnumbered = HashSet<(ConnectionId, AgencyId)>;

/// The answers to comparisons, each used once.
struct Comparisons {
    answers: Vec<Compared>,
    /// Numbers of batches that were in flight here, and under which other hubs have stored other bets.
    displaced: HashSet<(AgencyId, u64)>,
}

impl Comparisons {
    fn of(answers: Vec<Compared>) -> Comparisons {
        Comparisons { answers, displaced: HashSet::new() }
    }

    /// Whether the bets of that batch are those stored; `None`: no batch is stored under the number.
    fn take(&mut self, agency: AgencyId, sequence: u64) -> Option<bool> {
        let at = self.answers.iter().position(|compared| compared.agency == agency && compared.sequence == sequence)?;
        Some(self.answers.remove(at).same)
    }

    /// Whether other hubs' bets are stored under this number, in the place of a batch that was in flight here.
    fn displaces(&self, agency: AgencyId, sequence: u64) -> bool {
        self.displaced.contains(&(agency, sequence)) && !mutants::is(Mutant::ForgetDisplaced)
    }
}

impl<K: Keep> Hub<K> {
    /// Takes over what the keeper has read. `committed` has the turn that asked, with requests that waited for it.
    pub(super) fn learn(&mut self, learned: Learned, committed: &mut CommittedTurn) {
        let Learned { agencies, compared, drawn } = learned;
        self.learn_agencies(&agencies);
        if !compared.is_empty() {
            let mut comparisons = Comparisons::of(compared);
            for entry in &mut committed.entries {
                if let Outcome::Asked { agency, sequence, count } = entry.outcome {
                    entry.outcome = self.compared(entry.id, (agency, sequence, count), &mut comparisons);
                }
            }
        }
        if let Some(winners) = drawn {
            self.lottery.learn_draw(winners);
        }
    }

    /// Takes over what other hubs have stored of these agencies.
    fn learn_agencies(&mut self, agencies: &[Known]) {
        for Known { agency, standing, batches, bets } in agencies {
            let before = self.lottery.agency(*agency).map(|state| state.committed().standing);
            if *standing == Standing::Excluded && before.is_ok_and(|before| before != Standing::Excluded) {
                self.emit(&Event::AgencyExcluded(*agency));
            }
            if self.lottery.learn(*agency, *standing, *batches, *bets).is_err() {
                // The rosters are compared when a hub starts.
                debug_assert!(false, "agency {agency} is not of this draw");
            }
            if !self.liveness.presence.is_here(*agency) {
                // Its bets may have come by another hub.
                self.liveness.unnumbered.claimed(*agency);
                self.liveness.unnumbered.left(*agency, &self.lottery);
            }
        }
    }

    /// Nothing of the turns in flight and the one in hand has happened, for other hubs have stored in the meantime what
    /// `learned` says. Each request is decided again by that; what is left of them is in the turn in hand then.
    pub(super) fn decide_again(&mut self, learned: Learned, now: Moment) {
        let mut entries = self.take_back();
        if !mutants::is(Mutant::KeepLotteryOnMove) {
            self.lottery.roll_back();
        }
        if !mutants::is(Mutant::ForgetLearned) {
            self.learn_agencies(&learned.agencies);
        }
        let mut comparisons = Comparisons::of(learned.compared);
        let mut misnumbered = Misnumbered::new();
        for entry in &mut entries {
            let outcome = std::mem::replace(&mut entry.outcome, Outcome::Dropped);
            let key = entry.id.zip(agency_of(&outcome));
            let follows = key.is_some_and(|key| misnumbered.contains(&key)) && !mutants::is(Mutant::ForgetMisnumbered);
            entry.outcome = self.decided_again(entry, outcome, follows, &mut comparisons);
            if let (Some(key), Outcome::Rejected { why: Rejection::Conflict, .. } | Outcome::Ended(Ending::Gap)) =
                (key, &entry.outcome)
            {
                misnumbered.insert(key);
            }
        }
        if let Some(winners) = learned.drawn {
            self.lottery.learn_draw(winners);
        }
        self.apply_again(entries, now);
    }

    /// What an outcome becomes by what is stored now. `follows`: its connection is one of the [`Misnumbered`].
    fn decided_again(
        &mut self,
        entry: &Entry,
        outcome: Outcome,
        follows: bool,
        comparisons: &mut Comparisons,
    ) -> Outcome {
        match outcome {
            Outcome::Done { agency, what: Done::Stored { place, bets, log } } => {
                self.stored_again(entry.id, agency, (place, bets, log), follows, comparisons)
            }
            Outcome::Asked { agency, sequence, count } => {
                let outcome = self.compared(entry.id, (agency, sequence, count), comparisons);
                // An acknowledgement would be one of the batch before it, too, whose bets are not stored.
                if follows { self.gap(entry.id) } else { outcome }
            }
            // The one that it repeated was in flight.
            Outcome::Done { agency, what: Done::Repeated { sequence } }
                if follows || !self.has_batch(agency, sequence) =>
            {
                self.gap(entry.id)
            }
            Outcome::Done { agency, what: Done::Repeated { sequence } } if comparisons.displaces(agency, sequence) => {
                self.conflict(entry.id, (agency, sequence, 0))
            }
            Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::Conflict }
                if !self.has_batch(agency, sequence) || comparisons.displaces(agency, sequence) =>
            {
                // Its client sends it again: it may be the one that is stored.
                Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::StorageFull }
            }
            // The finish before it has not happened.
            Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::Refused(_) }
                if self.lottery.admits(agency).is_ok() && !mutants::is(Mutant::KeepTooLate) =>
            {
                Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::StorageFull }
            }
            Outcome::Done { agency, what: Done::Finished { .. } | Done::Query { .. } }
                if follows && self.is_betting(agency) =>
            {
                self.gap(entry.id)
            }
            Outcome::Done { agency, what } => self.done_again(agency, what),
            Outcome::Excluded { .. }
            | Outcome::FinishUnclaimed
            | Outcome::NothingToStore
            | Outcome::Rejected { .. }
            | Outcome::Refused(_)
            | Outcome::Ended(_)
            | Outcome::Dropped => outcome,
        }
    }

    /// A batch that was staged: it is staged again, or another hub has stored it, or it comes too late.
    fn stored_again(
        &mut self,
        id: Option<ConnectionId>,
        agency: AgencyId,
        (place, bets, log): (Place, u32, Option<Box<[LoggedBet]>>),
        follows: bool,
        comparisons: &mut Comparisons,
    ) -> Outcome {
        let next = self.lottery.agency(agency).map_or(0, |state| state.batches);
        let sequence = place.expected();
        let numbered = matches!(place, Place::Numbered(_));
        if numbered && (follows || sequence > next) {
            self.keeping.keeper.stage_again(None);
            if comparisons.take(agency, sequence) == Some(false) {
                comparisons.displaced.insert((agency, sequence));
            }
            return if self.follows_late(id, sequence) { Outcome::Dropped } else { self.gap(id) };
        }
        if numbered && sequence < next {
            self.keeping.keeper.stage_again(None);
            let outcome = self.compared(id, (agency, sequence, bets), comparisons);
            if let Outcome::Rejected { .. } = outcome {
                comparisons.displaced.insert((agency, sequence));
            }
            return outcome;
        }
        if let Err(refusal) = self.lottery.admits(agency) {
            self.keeping.keeper.stage_again(None);
            return self.rejected_late(id, (agency, sequence, bets), refusal);
        }
        let place = if numbered { Place::Numbered(next) } else { Place::Next(next) };
        let Some(staged) = self.keeping.keeper.stage_again(Some(place)) else {
            debug_assert!(false, "a keeper keeps what it takes back");
            return self.gap(id);
        };
        self.lottery.store(agency, staged.bets, staged.winners).expect("the lottery has just admitted it");
        Outcome::Done { agency, what: Done::Stored { place, bets, log } }
    }

    /// The outcome of a batch whose number other hubs have stored by now, or not.
    fn compared(
        &mut self,
        id: Option<ConnectionId>,
        (agency, sequence, count): (AgencyId, u64, u32),
        comparisons: &mut Comparisons,
    ) -> Outcome {
        match comparisons.take(agency, sequence) {
            Some(same) if same || mutants::is(Mutant::IgnoreConflict) => {
                Outcome::Done { agency, what: Done::Repeated { sequence } }
            }
            Some(_) => self.conflict(id, (agency, sequence, count)),
            None => self.gap(id),
        }
    }

    /// Other bets are stored under that number.
    fn conflict(&mut self, id: Option<ConnectionId>, (agency, sequence, count): (AgencyId, u64, u32)) -> Outcome {
        if let Some(slot) = id.and_then(|id| self.connections.slot(id)) {
            let session = &mut self.connections[slot].session;
            (session.awaiting_resend, session.in_conflict) = (Some(sequence), true);
        }
        Outcome::Rejected { agency: Some(agency), sequence, count, why: Rejection::Conflict }
    }

    /// Batches that came too late by what this hub knew, and are stored: another hub had taken them before the finish, on
    /// other connections. A client that is told that its batch is too late takes the batch for lost.
    pub(super) fn settle_late(&mut self, entries: &mut [Entry]) {
        for entry in entries {
            let Outcome::Rejected { agency: Some(agency), sequence, why: Rejection::Refused(why), .. } = entry.outcome
            else {
                continue;
            };
            let connection = entry.id.and_then(|id| self.connections.by_id(id));
            let is_numbered = connection.is_some_and(|connection| connection.session.server_rules().in_flight);
            let is_stored = why != Refusal::Excluded && self.has_batch(agency, sequence);
            if is_numbered && is_stored && !mutants::is(Mutant::TooLateThoughStored) {
                entry.outcome = self.gap(entry.id);
            }
        }
    }

    fn rejected_late(
        &mut self,
        id: Option<ConnectionId>,
        (agency, sequence, count): (AgencyId, u64, u32),
        refusal: Refusal,
    ) -> Outcome {
        if let Some(slot) = id.and_then(|id| self.connections.slot(id)) {
            let session = &mut self.connections[slot].session;
            if session.server_rules().in_flight {
                session.awaiting_resend.get_or_insert(sequence);
            }
        }
        Outcome::Rejected { agency: Some(agency), sequence, count, why: refusal.into() }
    }

    /// Whether the connection was told that a batch before this one is too late, which says all.
    fn follows_late(&self, id: Option<ConnectionId>, sequence: u64) -> bool {
        let session = id.and_then(|id| self.connections.by_id(id)).map(|connection| &connection.session);
        session.is_some_and(|it| !it.in_conflict && it.is_behind_rejected(sequence))
    }

    /// Ends the connection: its client says hello again, and learns the next number.
    fn gap(&mut self, id: Option<ConnectionId>) -> Outcome {
        if let Some(slot) = id.and_then(|id| self.connections.slot(id)) {
            self.connections[slot].session.pause();
        }
        Outcome::Ended(Ending::Gap)
    }
}
