//! The hub's replies and their effects.

use super::{
    ANSWER_BYTES_MAX, Event, FULL_PAUSE_MAX, FULL_PAUSE_MIN, Failure, Flight, Goal, NOT_DRAWN_PAUSE, OTHER_BETS,
    Outcome, Stage, Upload, grown,
};
use crate::agency::bet_reader::BetReader;
use crate::wire::{Answer, Cause, Dialect, Unwelcome};

/// What a rejection may mean whose cause the dialect cannot carry.
const UNSAID: &str =
    "its log has the reason: the agency may not be of this draw, be excluded or have finished, or a bet be wrong";

/// The reason to close the connection.
pub type CloseReason = String;

impl<R: BetReader> Upload<R> {
    /// Takes received bytes.
    ///
    /// # Errors
    /// The reason to close the connection: the driver closes it, logs the reason, and calls [`lost`](Self::lost).
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        self.inbox.extend_from_slice(bytes);
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut start = 0;
        let result = loop {
            if self.outcome.is_some() {
                break Ok(());
            }
            match self.plan.dialect.read_answer(&inbox[start..], self.expecting()) {
                Ok(Some((used, answer))) => {
                    start += used;
                    if let Err(reason) = self.handle(answer) {
                        break Err(reason);
                    }
                }
                Ok(None) if inbox.len() - start > ANSWER_BYTES_MAX => break Err("the reply is too long".to_owned()),
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed.to_string()),
            }
        };
        inbox.drain(..start);
        self.inbox = inbox;
        result
    }

    fn handle(&mut self, answer: Answer) -> Result<(), CloseReason> {
        if !matches!(answer, Answer::Welcome { .. } | Answer::Unwelcome(_) | Answer::Error { .. }) {
            self.attempts.losses = 0;
        }
        match (answer, self.stage) {
            (Answer::Welcome { next }, Stage::Hello) => self.welcomed(next),
            (Answer::Unwelcome(Unwelcome::Busy), Stage::Hello) => return Err(Unwelcome::Busy.to_string()),
            (Answer::Unwelcome(Unwelcome::UnknownAgency), Stage::Hello) => self.fail_refused(format!(
                "{}, or was excluded from it: check --id, and the hub's AGENCIES",
                Unwelcome::UnknownAgency
            )),
            (Answer::Unwelcome(Unwelcome::Credentials), Stage::Hello) => self
                .fail_refused(format!("{}: tls.cert must be the certificate of this agency", Unwelcome::Credentials)),
            (Answer::Stored, Stage::Betting) if self.in_flight.sent > 0 => self.acknowledged(1),
            (Answer::StoredBelow { next }, _) if self.rules.hello && self.stage != Stage::Hello => {
                self.stored_below(next);
            }
            (Answer::Rejected { sequence, cause, reason }, Stage::Betting | Stage::Comparing) => {
                return self.rejected(sequence, cause, reason);
            }
            (Answer::Finished { all_stored, bets }, Stage::Finishing) => self.finish_confirmed(all_stored, bets),
            (Answer::Winners { documents, bets }, Stage::Querying) => {
                self.known.winning_bets = bets;
                self.outcome = Some(Outcome::Done { winners: documents, doubt: self.known.doubt.take() });
            }
            (Answer::NotDrawn, Stage::Querying) => {
                self.events.push_back(Event::NotDrawn);
                self.pause = Some(NOT_DRAWN_PAUSE);
            }
            (Answer::Waiting { missing, named }, Stage::Querying) => {
                self.events.push_back(Event::DrawWaits { missing, named });
            }
            (Answer::Error { cause, reason }, _) => return self.refused(cause, reason),
            (answer, _) => return Err(format!("unexpected reply: {answer:?}")),
        }
        Ok(())
    }

    /// Acts on a welcome: the hub expects batch `next` of this agency.
    fn welcomed(&mut self, next: u64) {
        match self.plan.goal {
            Goal::Confirmed => self.welcomed_with_more(next),
            Goal::Winners => {
                self.in_flight.base = Some(0);
                self.known.compared |= next == 0;
                if self.known.compared { self.welcomed_back(next) } else { self.welcomed_again(next) }
            }
        }
    }

    /// Acts on a welcome when the bets follow those that the hub has.
    fn welcomed_with_more(&mut self, next: u64) {
        self.known.compared = true;
        match self.in_flight.base {
            Some(base) if next < base.saturating_add(self.reached()) => {
                self.in_flight.base = Some(next);
                self.events.push_back(Event::Forgotten { next });
                self.start_over();
            }
            // The batches are sent again under the same numbers, so that none is stored twice. They may not be stored even
            // if the hub has these numbers: another client may upload for this agency.
            Some(_) if !self.in_flight.batches.is_empty() => {}
            Some(_) | None => self.in_flight.base = Some(next.saturating_sub(self.source.batcher.batches())),
        }
        if self.outcome.is_none() {
            self.go_on();
        }
    }

    /// Acts on a welcome when the hub has batches of an earlier run.
    fn welcomed_again(&mut self, next: u64) {
        if self.in_flight.batches.front().is_some_and(|flight| flight.made.index + 1 == next) {
            self.stage = Stage::Comparing;
            return self.pump();
        }
        self.in_flight.clear();
        if self.source.batcher.batches() >= next {
            self.start_over();
        }
        self.stage = Stage::Skipping { to: next - 1 };
    }

    /// Acts on a welcome when the hub has batches of this run, or none.
    fn welcomed_back(&mut self, next: u64) {
        let acknowledged = self.in_flight.batches.iter().filter(|flight| flight.made.index < next).count();
        self.acknowledged(acknowledged);
        let reached = self.reached();
        if reached == next {
            return self.go_on();
        }
        if reached < next {
            // Another client uploads for this agency.
            if let Some(error) = self.source.broken.take() {
                return self.fail(Failure::Bets(error));
            }
        } else {
            self.events.push_back(Event::Forgotten { next });
            self.known.finished = false;
            self.start_over();
            // A store in the place of the earlier one may have other bets.
            self.known.compared = next == 0;
        }
        self.stage = Stage::Skipping { to: if self.known.compared { next } else { next - 1 } };
    }

    /// The index of the first unacknowledged batch.
    fn reached(&self) -> u64 {
        self.in_flight.batches.front().map_or(self.source.batcher.batches(), |flight| flight.made.index)
    }

    /// Acts on an acknowledgement of the oldest `count` batches.
    fn acknowledged(&mut self, count: usize) {
        let (mut bets, mut position) = (0, 0);
        for flight in self.in_flight.batches.drain(..count) {
            bets += u64::from(flight.made.bets);
            position = flight.made.position;
        }
        self.in_flight.sent = self.in_flight.sent.saturating_sub(count);
        if count > 0 {
            self.attempts.refusals = 0;
        }
        // The batch that is compared was stored before: `Resumed` has it.
        if count > 0 && self.stage != Stage::Comparing {
            self.events.push_back(Event::Progress { batches: count as u64, bets, position });
        }
        match self.stage {
            Stage::Comparing if self.in_flight.batches.is_empty() => self.same_as_stored(),
            Stage::Betting => self.pump(),
            Stage::Disconnected
            | Stage::Hello
            | Stage::Skipping { .. }
            | Stage::Comparing
            | Stage::Finishing
            | Stage::Querying => {}
        }
    }

    /// Acts on a cumulative acknowledgement. It may cover more than this client has sent, if another client uploads for
    /// the agency.
    fn stored_below(&mut self, next: u64) {
        let below = |flight: &&Flight| self.in_flight.sequence(flight.made.index) < next;
        let count = self.in_flight.batches.iter().take(self.in_flight.sent).filter(below).count();
        self.acknowledged(count);
    }

    /// Continues after the hub's batches of an earlier run were found to be the same.
    fn same_as_stored(&mut self) {
        self.known.compared = true;
        self.resumed();
    }

    pub(super) fn rejected(&mut self, sequence: Option<u64>, cause: Cause, reason: String) -> Result<(), CloseReason> {
        let index = match sequence {
            None if self.in_flight.sent == 0 => {
                return Err("the hub rejects a batch, and none is on its way".to_owned());
            }
            None => 0,
            Some(sequence) => match self.in_flight.position(sequence) {
                Some(index) => index,
                None => return Err(format!("the hub rejects batch {sequence}, which is not on its way")),
            },
        };
        if index >= self.in_flight.sent {
            // The batch follows another rejected one, and will be sent again with it.
            return Ok(());
        }
        match cause {
            Cause::StorageFull => {
                // The hub drops the batches above the rejected one.
                self.in_flight.sent = index;
                self.full(reason);
            }
            Cause::ShuttingDown | Cause::Stream => return Err(reason),
            Cause::Late if self.stage == Stage::Comparing => {
                // The agency has finished, and can still query its winners.
                self.in_flight.clear();
                self.same_as_stored();
            }
            Cause::Conflict if self.stage == Stage::Comparing => {
                self.fail_refused(format!("the hub has other bets of this agency: {OTHER_BETS} ({reason})"))
            }
            Cause::Conflict if self.plan.goal == Goal::Confirmed => {
                // Another client of this agency used the number: the next welcome has a free one.
                self.start_over();
                return Err(reason);
            }
            Cause::Unsaid | Cause::Permanent | Cause::Late | Cause::Conflict => {
                // In `key-value` the reply has the hub's words.
                let is_unsaid = cause == Cause::Unsaid && self.plan.dialect != Dialect::KeyValue;
                let reason = if is_unsaid { format!("{reason}; {UNSAID}") } else { reason };
                let rejected = self.in_flight.batches.get(index);
                let (first_line, last_line) =
                    rejected.map_or((0, 0), |flight| (flight.made.first_line, flight.made.last_line));
                self.in_flight.sent = index;
                self.fail(Failure::Rejected { first_line, last_line, reason });
            }
        }
        Ok(())
    }

    /// Acts on the reply to the finish.
    fn finish_confirmed(&mut self, all_stored: bool, bets: Option<u64>) {
        self.known.finished = true;
        self.events.push_back(Event::Finished);
        let own = self.source.batcher.bets();
        if !all_stored {
            self.known.doubt = Some("the hub rejected at least one batch".to_owned());
        } else if let Some(bets) = bets.filter(|bets| *bets != own) {
            self.known.doubt = Some(format!("the hub has {bets} bets of this agency, which has {own}"));
        }
        self.go_on();
    }

    pub(super) fn refused(&mut self, cause: Cause, reason: String) -> Result<(), CloseReason> {
        match cause {
            Cause::ShuttingDown | Cause::Stream => return Err(reason),
            Cause::StorageFull if matches!(self.stage, Stage::Finishing | Stage::Querying) => self.full(reason),
            Cause::Unsaid | Cause::Permanent | Cause::Late | Cause::Conflict | Cause::StorageFull => {
                self.fail_refused(reason);
            }
        }
        Ok(())
    }

    fn full(&mut self, reason: String) {
        let pause = grown(FULL_PAUSE_MIN, self.attempts.refusals, FULL_PAUSE_MAX);
        self.attempts.refusals = self.attempts.refusals.saturating_add(1);
        self.pause = Some(pause);
        self.events.push_back(Event::Full { reason, pause });
    }
}
