//! What is sent, and when.

use postgres_protocol::message::frontend;

use super::keeper::{Failure, Ledger, Opening};
use super::network::Network;
use super::start;
use super::statements;
use super::wire::{Sent, Step, What};
use super::work::Work;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::storage::keep::Settled;
use crate::timers::Moment;

/// The statements of a turn: see [`statements_of`].
const TURN: [&[Step]; 4] = [
    &[Step::Write],
    &[Step::Agencies, Step::Write],
    &[Step::Compare, Step::Write],
    &[Step::Agencies, Step::Compare, Step::Write],
];
/// Those of a survey, with instances or without, and with winners or without.
const SURVEY: [&[Step]; 4] = [
    &[Step::Draw, Step::Agencies, Step::Lease, Step::Write],
    &[Step::Draw, Step::Agencies, Step::Lease, Step::Instances, Step::Write],
    &[Step::Draw, Step::Agencies, Step::Lease, Step::Winners, Step::Write],
    &[Step::Draw, Step::Agencies, Step::Lease, Step::Instances, Step::Winners, Step::Write],
];

impl<N: Network> Ledger<N> {
    /// Sends what may be sent now.
    pub(super) fn send(&mut self) {
        if !self.is_connected() {
            return;
        }
        self.send_held();
        if let Some(link) = &mut self.links.main
            && let Err(error) = link.flush(&mut self.network)
        {
            self.lose_main(&error);
        }
    }

    fn send_held(&mut self) {
        if self.course.failed.is_some() {
            if !self.wire.is_empty() {
                return;
            }
            self.resolve_failure();
        }
        if self.course.retry_at.is_some_and(|at| self.now < at) {
            return;
        }
        self.course.retry_at = None;
        self.send_hold();
        if self.course.confirmed > 0 || self.course.moved {
            // Alone, so that what fails is the look.
            if self.wire.is_empty() {
                self.send_look();
            }
            return;
        }
        if !self.course.untold {
            while let Some(at) = self.turns.iter().position(|turn| turn.engine.is_none()) {
                self.send_turn(at);
            }
        }
        self.send_try();
        self.send_survey();
    }

    /// All that was sent is answered, and something of it has failed.
    fn resolve_failure(&mut self) {
        self.course.next = self.course.committed + 1;
        match self.course.failed.take() {
            Some(Failure::Moved) => self.course.moved = true,
            Some(Failure::Later) => self.course.retry_at = Some(self.now + limits::ENGINE_RETRY),
            Some(Failure::Full(error)) => {
                let Some(oldest) = self.turns.front() else { return };
                let error = std::io::Error::new(std::io::ErrorKind::StorageFull, error);
                self.settled.push_back(Settled::TakenBack { turn: oldest.number, error });
                self.course.untold = true;
            }
            Some(Failure::Again) | None => {}
        }
    }

    fn send_turn(&mut self, at: usize) {
        let work = std::mem::take(&mut self.turns[at].work);
        let only_reads = work.heads.is_empty() && work.agencies().next().is_some();
        if mutants::is(Mutant::ReadWithoutCommit) && only_reads {
            self.turns[at].engine = Some(self.course.next);
            self.read_without_commit(&work);
        } else {
            let engine = self.next_number();
            self.turns[at].engine = Some(engine);
            self.send_work(What::Turn, engine, &work);
        }
        self.turns[at].work = work;
    }

    /// What a mutant sends for a turn that writes nothing.
    fn read_without_commit(&mut self, work: &Work) {
        let (sender, engine) = (self.sender, self.course.next);
        let Some(link) = &mut self.links.main else { return };
        statements::lock(&sender, engine, work.agencies(), &mut link.out);
        if !work.asks.is_empty() {
            statements::compare(sender.draw, work, &mut link.out);
        }
        frontend::sync(&mut link.out);
        let steps: &[Step] = if work.asks.is_empty() { &[Step::Agencies] } else { &[Step::Agencies, Step::Compare] };
        self.expect_answer(Sent::new(What::Turn, engine, steps));
    }

    fn next_number(&mut self) -> i64 {
        let engine = self.course.next;
        self.course.next += 1;
        engine
    }

    fn send_work(&mut self, what: What, engine: i64, work: &Work) {
        let sender = self.sender;
        let Some(link) = &mut self.links.main else { return };
        let out = &mut link.out;
        let has_agencies = work.agencies().next().is_some();
        statements::bind_write(&sender, engine, work, out);
        if has_agencies {
            statements::lock(&sender, engine, work.agencies(), out);
        }
        if !work.asks.is_empty() {
            statements::compare(sender.draw, work, out);
        }
        statements::write(out);
        let steps = TURN[usize::from(has_agencies) + 2 * usize::from(!work.asks.is_empty())];
        self.expect_answer(Sent::new(what, engine, steps));
    }

    fn expect_answer(&mut self, sent: Sent) {
        if self.wire.is_empty()
            && let Some(link) = &mut self.links.main
        {
            // Silence counts from here.
            link.heard = self.now;
        }
        self.wire.push_back(sent);
    }

    /// Finds out what is stored of the agencies of turns that were taken back, or what turns in doubt have read.
    fn send_look(&mut self) {
        let mut look = Work::default();
        if self.course.confirmed > 0 {
            for turn in self.turns.iter().take(self.course.confirmed) {
                turn.work.agencies().for_each(|agency| look.add_look(agency));
                look.asks.extend(&turn.work.asks);
            }
        } else {
            self.turns.iter().for_each(|turn| turn.work.add_questions_to(&mut look));
            self.staging.work.add_questions_to(&mut look);
        }
        let engine = self.next_number();
        self.send_work(What::Look, engine, &look);
        self.course.look = look;
    }

    /// Tries the draw, where it may be due.
    fn send_try(&mut self) {
        if !self.course.holds.is_empty() {
            // The draw may not be held yet.
            return;
        }
        let sender = self.sender;
        if let Some(link) = &mut self.links.main
            && std::mem::take(&mut self.survey.try_draw)
        {
            statements::draw(&sender, &mut link.out);
            self.expect_answer(Sent::new(What::Try, 0, &[Step::Try]));
        }
    }

    fn send_survey(&mut self) {
        if self.now < self.survey.due || self.wire.iter().any(|sent| sent.what == What::Survey) {
            return;
        }
        let (engine, sender) = (self.next_number(), self.sender);
        let Some(link) = &mut self.links.main else { return };
        let winners = self.survey.drawn && !self.survey.told;
        let instances = self.survey.instances_due <= self.now;
        statements::bind_write(&sender, engine, &Work::default(), &mut link.out);
        statements::read_draw("survey_draw", sender.draw, &mut link.out);
        statements::read_draw("survey_agencies", sender.draw, &mut link.out);
        statements::lease(sender.draw, &self.leases, self.options.exclude_after, &mut link.out);
        if instances {
            statements::read_instances(&sender, &mut link.out);
            self.survey.instances_due = self.now + limits::ENGINE_INSTANCES_PERIOD;
        }
        if winners {
            statements::read_draw("winners", sender.draw, &mut link.out);
        }
        statements::write(&mut link.out);
        self.survey.due = self.now + limits::ENGINE_SURVEY_PERIOD;
        let steps = SURVEY[usize::from(instances) + 2 * usize::from(winners)];
        self.expect_answer(Sent::new(What::Survey, engine, steps));
    }

    /// Has the draw held, where it is to be. That is asked again until it is answered: a draw that is not held is made on less than
    /// what was confirmed.
    fn send_hold(&mut self) {
        let is_asked = self.wire.iter().any(|sent| sent.what == What::Hold);
        if is_asked || self.course.hold_at.is_some_and(|at| self.now < at) {
            return;
        }
        let Some(why) = self.course.holds.front() else { return };
        let text = start::hold_draw(self.options.draw, why);
        let Some(link) = &mut self.links.main else { return };
        self.course.hold_at = None;
        match frontend::query(&text, &mut link.out) {
            Ok(()) => self.expect_answer(Sent::new(What::Hold, 0, &[Step::Other])),
            Err(error) => log::error!("action: engine | result: fail | reason: the draw is not held: {error}"),
        }
    }

    /// When something may be sent that may not be now; `None`: an answer comes first.
    pub(super) fn send_at(&self) -> Option<Moment> {
        let is_blocked = self.course.failed.is_some() || self.course.confirmed > 0 || self.course.moved;
        let is_surveying = self.wire.iter().any(|sent| sent.what == What::Survey);
        self.course.retry_at.or_else(|| (!is_blocked && !is_surveying).then_some(self.survey.due))
    }

    /// Whether it is being found out what other instances have stored, or the hub has not taken the answer yet.
    pub(super) fn finds_out(&self) -> bool {
        let moved = matches!(self.course.failed, Some(Failure::Moved)) || self.course.moved;
        moved || self.settled.iter().any(|settled| matches!(settled, Settled::Moved { .. }))
    }

    /// Whether the hub was not told yet that it can be used.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.opening, Opening::Under { .. })
    }
}
