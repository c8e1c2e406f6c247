//! The run of an agency's file: its check, its upload, its winners, and what the log says meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Client;
use crate::agency::bet_reader::{BetFile, BetReader};
use crate::agency::check::Check;
use crate::agency::job::Job;
use crate::agency::loss::Loss;
use crate::agency::tally::{Pace, Tally};
use crate::agency::upload::{Event, Failure, Goal, Next, Outcome, Stage, Upload};
use crate::agency::waiter::Halt;
use crate::agency::winners::Winners;
use crate::lottery::AgencyId;
use crate::timers::Moment;
use crate::wire::Dialect;

/// How long a query waits before the log says that it waits for the draw.
const DRAW_AWAITED: Duration = Duration::from_secs(1);
/// Winners that are logged before the log is written: their lines take a small part of the log's buffer.
const WINNERS_IN_A_ROW: usize = 1000;
/// Rows that are checked before signals are.
const ROWS_IN_A_ROW: usize = 4096;
/// Bad rows that are logged. The client's `--check` shows more.
const BAD_ROWS_LOGGED: usize = 10;

impl Client<'_> {
    pub(super) fn agency(&mut self, dialect: Dialect, data: &Path) -> Result<(), Halt> {
        let mut bets = match BetFile::open_until(data, self.waiter.stop()) {
            Ok(bets) => bets,
            Err(error) => {
                // A signal may have ended the wait for a pipe.
                self.waiter.look_for_signals()?;
                return Err(self.fail(&Failure::Bets(error), data));
            }
        };
        self.file_open = true;
        if let Some(pipe) = bets.awaited() {
            self.waiter.watch(pipe);
        }
        // A pipe can be read only once.
        if self.config.check && bets.rewinds() {
            self.check(dialect, data, &mut bets)?;
        }
        self.progress.show(self.config.id);
        let mut upload = Upload::new(self.plan(dialect, Goal::Winners), bets);
        self.tally = Some(Tally::new(upload.extent()));
        match self.upload(&mut upload, dialect)? {
            Outcome::Done { winners, doubt } => {
                // The upload is over: what the log says of an early end would be wrong from here on.
                self.tally = None;
                let is_written = self.winners(&winners, &upload)?;
                if let Some(reason) = &doubt {
                    self.report.doubt(reason);
                }
                if doubt.is_none() && is_written { Ok(()) } else { Err(Halt::Failed) }
            }
            Outcome::Failed(failure) => {
                if let Failure::Bets(_) = failure {
                    self.waiter.look_for_signals()?;
                }
                self.progress.clear();
                if let (Failure::Refused { stage: Stage::Skipping { .. } | Stage::Comparing, .. }, Some(tally)) =
                    (&failure, &mut self.tally)
                {
                    // The hub's bets are others, so what it has acknowledged before may not be stored any more.
                    tally.forget();
                }
                Err(self.fail(&failure, data))
            }
        }
    }

    fn fail(&self, failure: &Failure, data: &Path) -> Halt {
        if *failure == Failure::Empty {
            self.report.no_bets(data);
            return Halt::Refused;
        }
        self.report.failed(failure);
        Halt::Failed
    }

    /// Reads the whole file before anything is sent, and then returns to its start.
    fn check(&mut self, dialect: Dialect, data: &Path, bets: &mut BetFile) -> Result<(), Halt> {
        let mut check = Check::new(dialect, BAD_ROWS_LOGGED);
        let mut now = self.waiter.now();
        let mut pace = Pace::new(now);
        while check.some(bets, ROWS_IN_A_ROW) {
            if pace.due(now).is_some() {
                self.report.checking(data, check.bets());
            }
            self.waiter.wait(Some(now))?;
            now = self.waiter.now();
        }
        if check.bad() > 0 {
            self.report.checked_wrong(data, &check);
            return Err(Halt::Failed);
        }
        if check.bets() == 0 && !self.config.empty {
            return Err(self.fail(&Failure::Empty, data));
        }
        self.report.checked(data, check.bets());
        bets.rewind().map_err(|error| self.fail(&Failure::Bets(error), data))
    }

    /// Logs the winners, and writes their file; returns whether it is written. The log is written in between, because the
    /// winners may exceed its buffer.
    fn winners(&mut self, documents: &[String], upload: &Upload<BetFile>) -> Result<bool, Halt> {
        let mut is_written = true;
        if let Some(file) = &self.config.winners {
            let winners = Winners { agency: AgencyId(self.config.id), documents, bets: upload.winning_bets() };
            match winners.write(file) {
                Ok(()) => self.report.winners_written(file, documents.len()),
                Err(error) => {
                    self.report.winners_unwritten(file, &error);
                    is_written = false;
                }
            }
        }
        self.report.winners(documents.len());
        for documents in documents.chunks(WINNERS_IN_A_ROW) {
            self.report.winners_are(documents);
            let wake = self.waiter.write_log()?;
            if let Some(link) = &mut self.link {
                link.wake(wake);
            }
        }
        Ok(is_written)
    }

    /// Logs what remains of an upload that has ended early.
    pub(super) fn say_what_remains(&self, job: &Job, worked: Result<(), Halt>) {
        let (Some(tally), Job::Agency { dialect, .. }, Err(halt)) = (self.tally, job, worked) else { return };
        if halt == Halt::Signal || tally.bets + tally.in_doubt > 0 {
            self.report.remains(&tally, *dialect, halt == Halt::Failed);
        }
    }

    /// Runs an upload to its outcome.
    pub(super) fn upload<R: BetReader>(&mut self, upload: &mut Upload<R>, dialect: Dialect) -> Result<Outcome, Halt> {
        let began = Instant::now();
        let outcome = self.drive(upload, dialect, began);
        // A signal may have come behind a reply.
        self.tell(upload, dialect, began);
        if let Some(tally) = &mut self.tally {
            tally.in_doubt = upload.bets_in_doubt();
        }
        outcome
    }

    fn drive<R: BetReader>(
        &mut self,
        upload: &mut Upload<R>,
        dialect: Dialect,
        began: Instant,
    ) -> Result<Outcome, Halt> {
        let mut pause_over = None;
        let mut pace = Pace::new(self.waiter.now());
        loop {
            self.tell(upload, dialect, began);
            if let Some(outcome) = upload.outcome() {
                return Ok(outcome.clone());
            }
            let next = upload.next();
            if !matches!(next, Next::Pause(_)) {
                pause_over = None;
            }
            let deadline = upload.awaits_answer().then(|| self.answer_due());
            let until = match next {
                Next::Connect { pause } => {
                    self.rest(pause)?;
                    match self.connect()? {
                        Ok(()) => upload.connected(),
                        Err(loss) => self.lose(upload, &loss, Duration::ZERO)?,
                    }
                    continue;
                }
                Next::Work => Some(self.waiter.now()),
                Next::Pause(pause) => Some(*pause_over.get_or_insert(self.waiter.now() + pause)),
                Next::Talk => deadline.or_else(|| self.draw_awaited_at(upload)),
                Next::Over => continue,
            };
            let until = [until, self.told_at(upload, &pace)].into_iter().flatten().min();
            if let Err(loss) = self.exchange(upload, until)? {
                let now = self.waiter.now();
                let lasted = self.link.as_ref().map_or(Duration::ZERO, |link| link.since().until(now));
                self.lose(upload, &loss, lasted)?;
                continue;
            }
            let now = self.waiter.now();
            self.tell_of_waiting(upload, &mut pace, now);
            upload.work();
            if pause_over.is_some_and(|over| now >= over) {
                pause_over = None;
                upload.pause_over();
            } else if deadline.is_some() && self.waiter.is_over(self.answer_due()) {
                // A connection whose reply times out was of no use, however long it was open.
                self.lose(upload, &Loss::passing("no answer"), Duration::ZERO)?;
            } else if self.draw_awaited_at(upload).is_some_and(|at| self.waiter.is_over(at)) {
                self.await_draw();
            }
        }
    }

    /// When to log that the client waits for the draw, unless it is logged or does not wait.
    fn draw_awaited_at<R: BetReader>(&self, upload: &Upload<R>) -> Option<Moment> {
        (upload.awaits_draw() && self.draw.pace.is_none()).then(|| self.moved + DRAW_AWAITED)
    }

    fn await_draw(&mut self) {
        if self.draw.pace.is_none() {
            self.draw.pace = Some(Pace::new(self.waiter.now()));
            self.report.awaits_draw();
        }
    }

    /// The hub says whom the draw waits for: it is logged at once for the first time, and then as often as the waiting is.
    fn draw_waits(&mut self, missing: u32, named: &[AgencyId]) {
        self.await_draw();
        let waits_for = waits_for(missing, named);
        if self.draw.whom.is_none() {
            let now = self.waiter.now();
            let waited = self.draw.pace.map_or(Duration::ZERO, |draw| draw.waited(now));
            self.report.awaits_draw_still(waited, Some(&waits_for));
        }
        self.draw.whom = Some(waits_for);
    }

    /// Whether the progress of the upload is logged, because no terminal shows it.
    fn is_logged<R: BetReader>(&self, upload: &Upload<R>) -> bool {
        !self.progress.has_terminal() && upload.outcome().is_none() && self.tally.is_some_and(|tally| !tally.all)
    }

    /// When to log what goes on, unless it changes before.
    fn told_at<R: BetReader>(&self, upload: &Upload<R>, pace: &Pace) -> Option<Moment> {
        match self.draw.pace {
            Some(draw) => Some(draw.next()),
            None => self.is_logged(upload).then(|| pace.next()),
        }
    }

    /// Logs what goes on where it is time.
    fn tell_of_waiting<R: BetReader>(&mut self, upload: &Upload<R>, pace: &mut Pace, now: Moment) {
        if let Some(draw) = &mut self.draw.pace {
            if let Some(waited) = draw.due(now) {
                self.report.awaits_draw_still(waited, self.draw.whom.as_deref());
            }
        } else if self.is_logged(upload)
            && pace.due(now).is_some()
            && let Some(tally) = &mut self.tally
        {
            let rate = tally.rate(now);
            self.report.uploading(tally.bets, &tally.percent(), rate);
        }
    }

    /// Logs the upload's events and updates the progress bar.
    fn tell<R: BetReader>(&mut self, upload: &mut Upload<R>, dialect: Dialect, began: Instant) {
        while let Some(event) = upload.take_event() {
            let mut tally = self.tally.unwrap_or_default();
            match &event {
                Event::Progress { bets, position, .. } => {
                    tally.add(*bets, *position, upload.extent());
                    self.progress.update(tally.bets, *position, upload.extent());
                }
                Event::Resumed { bets, position, .. } => {
                    tally.resume(*bets, *position, upload.extent());
                    self.progress.resume(*bets, *position, upload.extent());
                }
                Event::Forgotten { .. } => tally.forget(),
                Event::AllSent { .. } => {
                    tally.all = true;
                    self.progress.clear();
                }
                Event::Finished => tally.finished = !upload.is_doubtful(),
                Event::NotDrawn => self.await_draw(),
                Event::DrawWaits { missing, named } => self.draw_waits(*missing, named),
                Event::MayRepeat { .. } | Event::Full { .. } => {}
            }
            if let Event::AllSent { batches, .. } = event
                && tally.bets > 0
                && tally.found == tally.bets
            {
                self.report.nothing_sent(batches, tally.bets);
            } else {
                self.report.event(&event, dialect, began.elapsed());
            }
            if let Some(kept) = &mut self.tally {
                *kept = tally;
            }
        }
        if upload.losses() == 0 && self.link.is_some() {
            self.hub.not_since = None;
        }
    }

    /// Ends a connection that is lost after `lasted`, or, with zero, that could not be opened.
    fn lose<R: BetReader>(&mut self, upload: &mut Upload<R>, loss: &Loss, lasted: Duration) -> Result<(), Halt> {
        self.draw.whom = None;
        self.hang_up();
        // The hub may close the connection behind its last reply.
        let was_over = upload.outcome().is_some();
        upload.lost(lasted);
        match upload.next() {
            Next::Connect { pause } => self.unreachable(loss, upload.losses(), pause, upload.dialect()),
            Next::Over if !was_over => {
                self.report.refused(&self.config.server_address, &loss.reason);
                Ok(())
            }
            Next::Over | Next::Talk | Next::Pause(_) | Next::Work => Ok(()),
        }
    }
}

/// Whom the draw waits for, in words: `named`, which are some of the `missing` agencies.
fn waits_for(missing: u32, named: &[AgencyId]) -> String {
    if named.is_empty() {
        return format!("waiting for {missing} more agencies");
    }
    let agencies = if missing == 1 { "agency" } else { "agencies" };
    let ids: Vec<String> = named.iter().map(|agency| agency.0.to_string()).collect();
    let more = u64::from(missing).saturating_sub(named.len() as u64);
    let and_more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    format!("waiting for {agencies} {}{and_more}", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draw_waits_in_singular_and_plural() {
        let named = |ids: &[u32]| ids.iter().copied().map(AgencyId).collect::<Vec<_>>();
        assert_eq!(waits_for(1, &named(&[2])), "waiting for agency 2");
        assert_eq!(waits_for(2, &named(&[2, 5])), "waiting for agencies 2, 5");
        assert_eq!(waits_for(5, &named(&[2, 5])), "waiting for agencies 2, 5 (and 3 more)");
        assert_eq!(waits_for(3, &[]), "waiting for 3 more agencies");
    }
}
