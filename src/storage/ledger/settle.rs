//! What became of what was sent.

use std::collections::HashMap;

use super::answers::{ErrorKind, ServerError};
use super::keeper::{Failure, Ledger, Opening};
use super::network::Network;
use super::options::LedgerError;
use super::stage::LinkError;
use super::wire::{Answer, InstanceRow, Sent, What};
use super::work::{Ask, Head, Work};
use crate::limits;
use crate::lottery::{AgencyId, Bet, Standing};
use crate::mutants::{self, Mutant};
use crate::storage::keep::{Committed, Compared, InstanceView, Known, Learned, Settled};

impl<N: Network> Ledger<N> {
    /// Takes an answer.
    ///
    /// # Errors
    /// The connection is to be dropped: what became of this and of all behind it is in doubt.
    pub(super) fn settle(&mut self, sent: Sent) -> Result<(), LinkError> {
        if let Some(doubt) = &sent.answer.doubt
            && !mutants::is(Mutant::TakeWarned)
        {
            return Err(LinkError::Lost(format!("a commit may be on one node alone: {doubt}")));
        }
        if let Some(error) = &sent.answer.error {
            return self.note_failure(sent.what, error);
        }
        match (sent.what, sent.answer.written) {
            (What::Try, _) => {
                if sent.answer.drew {
                    self.survey.due = self.now;
                }
                Ok(())
            }
            (What::Hold, _) => {
                self.course.holds.pop_front();
                Ok(())
            }
            (What::Turn | What::Look | What::Survey, Some(1)) => self.note_committed(sent),
            (What::Turn, None) if mutants::is(Mutant::ReadWithoutCommit) => match self.course.failed {
                Some(_) => Ok(()),
                None => self.settle_turn(&sent),
            },
            // It does not follow the one that has failed.
            (What::Turn | What::Look | What::Survey, Some(0)) if self.course.failed.is_some() => Ok(()),
            (What::Turn | What::Look | What::Survey, _) => {
                Err(LinkError::Lost("a later connection of this hub has taken over".to_owned()))
            }
        }
    }

    fn note_failure(&mut self, what: What, error: &ServerError) -> Result<(), LinkError> {
        let kind = error.kind();
        match kind {
            ErrorKind::NoLeader => return Err(LinkError::Lost(error.to_string())),
            ErrorKind::Person if self.is_opening() => {
                let host = self.options.hosts[self.links.host].clone();
                let (database, reason) = (self.options.database.clone(), error.to_string());
                return Err(LinkError::Mend(LedgerError::Schema { host, database, reason }));
            }
            ErrorKind::Person | ErrorKind::Full => self.log_trouble(None, &error.to_string()),
            ErrorKind::Again if error.is_locked_out() => self.log_trouble(None, &error.to_string()),
            ErrorKind::Moved | ErrorKind::Again => {}
        }
        if what == What::Hold {
            self.course.hold_at = Some(self.now + limits::ENGINE_RETRY);
        }
        if matches!(what, What::Try | What::Hold) || self.course.failed.is_some() {
            return Ok(());
        }
        for turn in self.turns.iter_mut().skip(self.course.confirmed) {
            turn.engine = None;
        }
        let has_batches = self.turns.iter().any(|turn| !turn.work.batches.is_empty());
        self.course.failed = Some(match kind {
            ErrorKind::Moved => Failure::Moved,
            ErrorKind::Again => Failure::Again,
            // Finishes are not rejected: they are sent until there is space.
            ErrorKind::Full if what == What::Turn && has_batches => Failure::Full(error.to_string()),
            ErrorKind::Full | ErrorKind::Person | ErrorKind::NoLeader => Failure::Later,
        });
        Ok(())
    }

    fn note_committed(&mut self, sent: Sent) -> Result<(), LinkError> {
        self.course.committed = sent.engine;
        self.course.told = self.course.told.max(sent.engine);
        match sent.what {
            What::Turn => self.settle_turn(&sent)?,
            What::Look => {
                self.check_look(&sent.answer)?;
                if self.course.confirmed > 0 {
                    self.settle_doubt(&sent.answer);
                } else {
                    self.settle_look(&sent.answer);
                }
            }
            What::Survey => {
                if !self.is_opening() {
                    self.check_survey(&sent.answer)?;
                }
                self.settle_survey(sent.answer);
            }
            What::Try | What::Hold => {}
        }
        self.trouble.text = None;
        Ok(())
    }

    /// Checks that the draw, which a survey has read, is the one that this hub has begun with.
    fn check_survey(&mut self, answer: &Answer) -> Result<(), LinkError> {
        let draw = self.options.draw;
        let agencies: Vec<AgencyId> = answer.known.iter().map(|known| known.agency).collect();
        let checked = match &answer.draw {
            Some(row) => self.options.check_draw(row.winning_number, &agencies),
            None => Err(LedgerError::Deleted { draw, what: "the draw".to_owned() }),
        };
        checked.map_err(|error| {
            let missing: Vec<AgencyId> = self.told.keys().copied().filter(|id| !agencies.contains(id)).collect();
            missing.into_iter().for_each(|agency| self.note_deleted(agency));
            LinkError::Mend(error)
        })
    }

    /// Checks that a look has read all agencies that it was to read: a turn for an agency that is not stored would be taken back
    /// again and again.
    fn check_look(&mut self, answer: &Answer) -> Result<(), LinkError> {
        let is_read = |agency: &AgencyId| answer.known.iter().any(|known| known.agency == *agency);
        let Some(agency) = self.course.look.agencies().find(|agency| !is_read(agency)) else { return Ok(()) };
        self.note_deleted(agency);
        let (draw, what) = (self.options.draw, format!("agency {agency}"));
        Err(LinkError::Mend(LedgerError::Deleted { draw, what }))
    }

    /// Nothing of the agency is stored any more.
    fn note_deleted(&mut self, agency: AgencyId) {
        let nothing = Known { agency, standing: Standing::Betting, batches: 0, bets: 0 };
        self.note_agency(&nothing, None);
    }

    fn settle_turn(&mut self, sent: &Sent) -> Result<(), LinkError> {
        let Some(turn) = self.turns.pop_front_if(|turn| turn.engine == Some(sent.engine)) else {
            return Err(LinkError::Lost("PostgreSQL has answered another turn".to_owned()));
        };
        let mut learned = Learned::default();
        for before in &sent.answer.known {
            let head = turn.work.head_of(before.agency);
            let is_news = self.note_agency(before, head);
            if is_news || turn.work.looks.contains(&before.agency) {
                learned.agencies.push(self.told[&before.agency]);
            }
        }
        learned.compared = compared(&turn.work.asks, &sent.answer);
        self.finish_turn(turn.work);
        self.last_settled = turn.number;
        self.settled.push_back(Settled::Committed(Committed::new(turn.number)));
        if learned != Learned::default() {
            self.settled.push_back(Settled::Learned(Box::new(learned)));
        }
        Ok(())
    }

    fn finish_turn(&mut self, work: Work) {
        if work.has_finish() {
            self.survey.try_draw = true;
            self.survey.due = self.now;
        }
        self.group += u64::from(!work.heads.is_empty());
        self.staging.recycle(work);
    }

    /// Notes an agency as it was before a turn that has done `head` to it. Says whether that is not what the hub believes.
    fn note_agency(&mut self, before: &Known, head: Option<&Head>) -> bool {
        let told = self.told.get(&before.agency).copied().unwrap_or(*before);
        if before.batches < told.batches && !mutants::is(Mutant::IgnoreForgotten) {
            let (agency, from, to) = (before.agency, before.batches, told.batches.saturating_sub(1));
            self.raise_alarm(&format!("batches {from} to {to} of agency {agency} were committed and are gone"));
        }
        let after = after(before, head);
        self.told.insert(before.agency, after);
        after != self::after(&told, head)
    }

    /// The oldest turns were found to be committed, and the look has read what they would have.
    fn settle_doubt(&mut self, answer: &Answer) {
        let look = std::mem::take(&mut self.course.look);
        for known in &answer.known {
            self.note_agency(known, None);
        }
        let learned = Learned { agencies: answer.known.clone(), compared: compared(&look.asks, answer), drawn: None };
        for _ in 0..std::mem::take(&mut self.course.confirmed) {
            let Some(turn) = self.turns.pop_front() else { break };
            self.last_settled = turn.number;
            self.finish_turn(turn.work);
        }
        self.settled.push_back(Settled::Committed(Committed::new(self.last_settled)));
        self.settled.push_back(Settled::Learned(Box::new(learned)));
    }

    /// What a mutant takes for the draw: nothing has been read.
    pub(super) fn flush_on_notification(&mut self) {
        if !self.is_opening() && !std::mem::replace(&mut self.survey.told, true) {
            let agencies: Vec<Known> = self.told.values().copied().collect();
            let drawn = Some(winners_of_each(&agencies, Vec::new()));
            self.settled.push_back(Settled::Learned(Box::new(Learned { drawn, ..Learned::default() })));
            self.settled.push_back(Settled::Committed(Committed::new(self.last_settled)));
        }
    }

    /// What other instances have stored is known: the hub may stage again.
    fn settle_look(&mut self, answer: &Answer) {
        let look = std::mem::take(&mut self.course.look);
        self.course.moved = false;
        for known in &answer.known {
            self.note_agency(known, None);
        }
        let Some(oldest) = self.turns.front() else { return };
        let learned = Learned { agencies: answer.known.clone(), compared: compared(&look.asks, answer), drawn: None };
        self.settled.push_back(Settled::Moved { turn: oldest.number, learned: Box::new(learned) });
        self.course.untold = true;
    }

    fn settle_survey(&mut self, mut answer: Answer) {
        for known in &answer.known {
            self.note_agency(known, None);
        }
        if let Some((at, excluded)) = answer.leases {
            self.leases.note_survey(at);
            if excluded > 0 {
                self.survey.due = self.now;
            }
        }
        let standing = |standing| answer.known.iter().any(|known| known.standing == standing);
        let drawn = answer.draw.as_ref().is_some_and(|draw| draw.drawn);
        self.survey.held = answer.draw.as_ref().and_then(|draw| draw.held.clone());
        if let Some(instances) = &answer.instances {
            self.survey.instances = instances.iter().map(|row| self.seen(row)).collect();
        }
        self.survey.try_draw |= !drawn && !standing(Standing::Betting) && standing(Standing::Finished);
        let winners = (drawn && answer.has_winners && !self.survey.told)
            .then(|| winners_of_each(&answer.known, std::mem::take(&mut answer.winners)));
        if drawn && winners.is_none() && !self.survey.told {
            self.survey.drawn = true;
            self.survey.due = self.now;
            if self.is_opening() {
                return;
            }
        }
        self.survey.told |= winners.is_some();
        let is_drawn = winners.is_some();
        let learned = Learned { agencies: answer.known.clone(), compared: Vec::new(), drawn: winners };
        if self.is_opening() {
            let stored = answer.draw.as_ref().map_or(0, |draw| draw.winning_number);
            let agencies: Vec<AgencyId> = answer.known.iter().map(|known| known.agency).collect();
            let checked = self.options.check_draw(stored, &agencies);
            self.opening = Opening::Done(Box::new(checked.map(|()| learned)));
            return;
        }
        self.settled.push_back(Settled::Learned(Box::new(learned)));
        if is_drawn {
            self.settled.push_back(Settled::Committed(Committed::new(self.last_settled)));
        }
    }

    /// An instance that was read now.
    fn seen(&self, row: &InstanceRow) -> InstanceView {
        let InstanceRow { here, name, turn, seen_ago } = row.clone();
        InstanceView { here, name, turn, seen_ago, read_at: self.now }
    }

    /// Notes why the engine cannot be used.
    pub(super) fn note_trouble(&mut self, host: usize, reason: &str) {
        let host = &self.options.hosts[host];
        if self.trouble.text.replace(format!("{host}: {reason}")).is_none() {
            self.trouble.since = self.now;
        }
    }

    /// Notes why the engine cannot be used, and logs it, at most once a minute.
    pub(super) fn log_trouble(&mut self, host: Option<usize>, reason: &str) {
        let host = host.unwrap_or(self.links.host);
        self.note_trouble(host, reason);
        let host = &self.options.hosts[host];
        if self.trouble.log_at.is_none_or(|at| at <= self.now) {
            self.trouble.log_at = Some(self.now + limits::ENGINE_LOG_PERIOD);
            let reason = crate::logging::Value(reason);
            log::error!("action: engine | result: fail | host: {host} | reason: {reason}");
        }
    }
}

/// An agency after a turn that has done `head` to it.
fn after(before: &Known, head: Option<&Head>) -> Known {
    let Some(head) = head else { return *before };
    Known {
        batches: before.batches.saturating_add_signed(head.batches),
        bets: before.bets.saturating_add_signed(head.bets),
        standing: if head.finishes { Standing::Finished } else { before.standing },
        ..*before
    }
}

/// Whether what was asked about is what is stored, in the order in which it was asked. What is not stored is left out.
fn compared(asks: &[Ask], answer: &Answer) -> Vec<Compared> {
    if asks.is_empty() {
        return Vec::new();
    }
    let stored: HashMap<_, _> = answer.stored.iter().map(|stored| ((stored.agency, stored.sequence), stored)).collect();
    let compare = |ask: &Ask| {
        let stored = stored.get(&(ask.agency, ask.sequence))?;
        let same = (stored.bets, stored.checksum) == (ask.bets, ask.checksum);
        Some(Compared { agency: ask.agency, sequence: ask.sequence, same })
    };
    asks.iter().filter_map(compare).collect()
}

/// The winners of every agency that takes part, those without winners among them.
fn winners_of_each(agencies: &[Known], winners: Vec<(AgencyId, Vec<Bet>)>) -> Vec<(AgencyId, Vec<Bet>)> {
    let mut winners: HashMap<AgencyId, Vec<Bet>> = winners.into_iter().collect();
    let finished = agencies.iter().filter(|known| known.standing == Standing::Finished);
    finished.map(|known| (known.agency, winners.remove(&known.agency).unwrap_or_default())).collect()
}
