//! The client's event loop: connections, bytes, pauses and signals.
//!
//! One thread and one poll. [`upload`](super::upload) and [`echo`](super::echo) decide what is sent and what a reply
//! means.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bet_reader::{BetFile, BetList, BetReader};
use super::echo::{EchoTurn, Echoed};
use super::job::Job;
use super::link::{Link, Received};
use super::output::Output;
use super::progress::Progress;
use super::report::Report;
use super::tls::Tls;
use super::upload::{self, Event, Failure, Goal, Next, Outcome, Plan, Upload};
use super::waiter::{Halt, Waiter};
use crate::config::client::ClientConfig;
use crate::logging::LogOutput;
use crate::lottery::{AgencyId, Bet};
use crate::timers::Moment;
use crate::wire::Dialect;

/// The shared buffer that the socket is read into, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How long a query waits before the log says that it waits for the draw.
const DRAW_AWAITED: Duration = Duration::from_secs(1);
/// Winners that are logged before the log is written: their lines take a small part of the log's buffer.
const WINNERS_IN_A_ROW: usize = 1000;
/// Reads, and writes, before signals are checked.
const STEPS_PER_TURN: usize = 16;

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The job is done.
    Done,
    /// A signal stopped the client, and everything is closed.
    Stopped,
    /// The job failed; the log has the reason.
    Failed,
}

/// Runs `job`, logs to `log`, and stays as long as configured.
pub fn run(config: &ClientConfig, job: &Job, tls: Option<&Tls>, log: &LogOutput) -> Ending {
    let report = Report::new(config.id);
    let progress = Progress::hidden();
    let mut waiter = match Waiter::new(Output::new(log.clone(), progress.clone())) {
        Ok(waiter) => waiter,
        Err(error) => {
            report.cannot_start(&error);
            log.drain();
            return Ending::Failed;
        }
    };
    report.started(config, job);
    let moved = waiter.now();
    let mut client = Client {
        config,
        tls,
        report,
        progress,
        waiter,
        link: None,
        file_open: false,
        moved,
        unreachable_since: None,
        draw_awaited: false,
        buffer: vec![0; READ_BYTES],
    };
    // Written before a call that may block, such as opening a data file on a network.
    let worked = client.waiter.write_log().and_then(|_| match job {
        Job::Echo => client.echo(),
        Job::Bet { dialect, bet } => client.bet(*dialect, bet),
        Job::Agency { dialect, data } => client.agency(*dialect, data),
    });
    client.progress.clear();
    // A failed client stays as well, so that its log can be read.
    let stopped = worked == Err(Halt::Signal) || client.rest(config.linger).is_err();
    client.close(stopped);
    if stopped {
        report.stopped();
    }
    client.waiter.finish_log(stopped);
    match worked {
        Ok(()) if stopped => Ending::Stopped,
        Ok(()) => Ending::Done,
        Err(Halt::Signal) => Ending::Stopped,
        Err(Halt::Failed) => Ending::Failed,
    }
}

/// A protocol without its socket.
trait Exchange {
    fn outgoing(&self) -> &[u8];
    fn sent(&mut self, bytes: usize);
    /// An error is the reason to close the connection.
    fn received(&mut self, bytes: &[u8]) -> Result<(), String>;
}

impl<R: BetReader> Exchange for Upload<R> {
    fn outgoing(&self) -> &[u8] {
        Upload::outgoing(self)
    }

    fn sent(&mut self, bytes: usize) {
        Upload::sent(self, bytes);
    }

    fn received(&mut self, bytes: &[u8]) -> Result<(), String> {
        Upload::received(self, bytes)
    }
}

impl Exchange for EchoTurn {
    fn outgoing(&self) -> &[u8] {
        EchoTurn::outgoing(self)
    }

    fn sent(&mut self, bytes: usize) {
        EchoTurn::sent(self, bytes);
    }

    fn received(&mut self, bytes: &[u8]) -> Result<(), String> {
        EchoTurn::received(self, bytes);
        Ok(())
    }
}

struct Client<'a> {
    config: &'a ClientConfig,
    tls: Option<&'a Tls>,
    report: Report,
    progress: Progress,
    waiter: Waiter,
    link: Option<Link>,
    file_open: bool,
    /// When a byte was last sent or received, or the connection was opened.
    moved: Moment,
    /// Since when the hub is unreachable.
    unreachable_since: Option<Moment>,
    /// Whether it is logged that the client waits for the draw.
    draw_awaited: bool,
    buffer: Vec<u8>,
}

impl Client<'_> {
    fn echo(&mut self) -> Result<(), Halt> {
        for number in 1..=self.config.loop_amount {
            if number > 1 {
                self.rest(self.config.loop_period)?;
            }
            self.echo_turn(number)?;
        }
        self.report.loop_finished();
        Ok(())
    }

    fn echo_turn(&mut self, number: u32) -> Result<(), Halt> {
        let mut turn = EchoTurn::new(AgencyId(self.config.id), number);
        let mut losses = 0;
        loop {
            let lost = match self.connect()? {
                Ok(()) => self.echo_once(&mut turn)?,
                Err(reason) => Err(reason),
            };
            self.hang_up();
            let Err(reason) = lost else { break };
            losses += 1;
            let pause = upload::reconnect_pause(losses);
            self.unreachable(&reason, losses, pause)?;
            self.rest(pause)?;
            turn.again();
        }
        if turn.echoed() == Echoed::Different {
            self.report.echoed_wrong(&turn.echo());
            return Err(Halt::Failed);
        }
        self.report.echoed(turn.message());
        Ok(())
    }

    /// Sends a line and waits until a line is received, or the connection is lost.
    fn echo_once(&mut self, turn: &mut EchoTurn) -> Result<Result<(), String>, Halt> {
        while turn.echoed() == Echoed::Waiting {
            let deadline = self.answer_due();
            if let Err(reason) = self.exchange(turn, Some(deadline))?
                && turn.echoed() == Echoed::Waiting
            {
                return Ok(Err(reason));
            }
            if self.waiter.is_over(self.answer_due()) {
                return Ok(Err("no answer".to_owned()));
            }
        }
        Ok(Ok(()))
    }

    fn bet(&mut self, dialect: Dialect, bet: &Bet) -> Result<(), Halt> {
        let plan = self.plan(dialect, Goal::Confirmed);
        match self.upload(Upload::new(plan, BetList::new(vec![bet.clone()])), dialect)? {
            Outcome::Done { .. } => {
                self.report.bet_confirmed(bet);
                Ok(())
            }
            Outcome::Failed(Failure::Rejected { reason, .. }) => {
                self.report.bet_refused(bet, &reason);
                Err(Halt::Failed)
            }
            Outcome::Failed(failure) => {
                self.report.failed(&failure);
                Err(Halt::Failed)
            }
        }
    }

    fn agency(&mut self, dialect: Dialect, data: &Path) -> Result<(), Halt> {
        let bets = BetFile::open(data).map_err(|error| {
            self.report.failed(&Failure::Bets(error));
            Halt::Failed
        })?;
        self.file_open = true;
        self.progress.show(self.config.id);
        match self.upload(Upload::new(self.plan(dialect, Goal::Winners), bets), dialect)? {
            Outcome::Done { winners, doubt } => {
                self.winners(&winners)?;
                doubt.map_or(Ok(()), |reason| {
                    self.report.doubt(&reason);
                    Err(Halt::Failed)
                })
            }
            Outcome::Failed(failure) => {
                self.progress.clear();
                self.report.failed(&failure);
                Err(Halt::Failed)
            }
        }
    }

    /// Logs the winners. The log is written in between, because the winners may exceed its buffer.
    fn winners(&mut self, winners: &[String]) -> Result<(), Halt> {
        self.report.winners(winners.len());
        for documents in winners.chunks(WINNERS_IN_A_ROW) {
            self.report.winners_are(documents);
            let wake = self.waiter.write_log()?;
            if let Some(link) = &mut self.link {
                link.wake(wake);
            }
        }
        Ok(())
    }

    fn plan(&self, dialect: Dialect, goal: Goal) -> Plan {
        Plan { agency: AgencyId(self.config.id), dialect, bets_max: self.config.batch_max_amount, goal }
    }

    /// Runs an upload to its outcome.
    fn upload<R: BetReader>(&mut self, mut upload: Upload<R>, dialect: Dialect) -> Result<Outcome, Halt> {
        let began = Instant::now();
        let mut pause_over = None;
        let mut bets = 0;
        loop {
            self.tell(&mut upload, dialect, began, &mut bets);
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
                        Err(reason) => self.lose(&mut upload, &reason, Duration::ZERO)?,
                    }
                    continue;
                }
                Next::Work => Some(self.waiter.now()),
                Next::Pause(pause) => Some(*pause_over.get_or_insert(self.waiter.now() + pause)),
                Next::Talk => deadline.or_else(|| self.draw_awaited_at(&upload)),
                Next::Over => continue,
            };
            if let Err(reason) = self.exchange(&mut upload, until)? {
                let now = self.waiter.now();
                let lasted = self.link.as_ref().map_or(Duration::ZERO, |link| link.since().until(now));
                self.lose(&mut upload, &reason, lasted)?;
                continue;
            }
            let now = self.waiter.now();
            if next == Next::Work {
                upload.work();
            } else if pause_over.is_some_and(|over| now >= over) {
                pause_over = None;
                upload.pause_over();
            } else if deadline.is_some() && self.waiter.is_over(self.answer_due()) {
                // A connection whose reply times out was of no use, however long it was open.
                self.lose(&mut upload, "no answer", Duration::ZERO)?;
            } else if self.draw_awaited_at(&upload).is_some_and(|at| self.waiter.is_over(at)) {
                self.await_draw();
            }
        }
    }

    /// The deadline of a reply, after which the connection counts as lost.
    fn answer_due(&self) -> Moment {
        self.moved + self.config.answer_timeout
    }

    /// When to log that the client waits for the draw, unless it is logged or does not wait.
    fn draw_awaited_at<R: BetReader>(&self, upload: &Upload<R>) -> Option<Moment> {
        (upload.awaits_draw() && !self.draw_awaited).then(|| self.moved + DRAW_AWAITED)
    }

    fn await_draw(&mut self) {
        if !std::mem::replace(&mut self.draw_awaited, true) {
            self.report.awaits_draw();
        }
    }

    /// Logs the upload's events and updates the progress bar.
    fn tell<R: BetReader>(&mut self, upload: &mut Upload<R>, dialect: Dialect, began: Instant, bets: &mut u64) {
        while let Some(event) = upload.take_event() {
            match &event {
                Event::Progress { bets: more, position, .. } => {
                    *bets += more;
                    self.progress.update(*bets, *position, upload.extent());
                }
                Event::Resumed { bets: stored, position, .. } => {
                    *bets = *stored;
                    self.progress.resume(*bets, *position, upload.extent());
                }
                Event::Forgotten { .. } => *bets = 0,
                Event::AllSent { .. } => self.progress.clear(),
                Event::NotDrawn => self.await_draw(),
                Event::MayRepeat { .. } | Event::Full { .. } | Event::Finished => {}
            }
            self.report.event(&event, dialect, began.elapsed());
        }
        if upload.losses() == 0 && self.link.is_some() {
            self.unreachable_since = None;
        }
    }

    /// Ends a connection that is lost after `lasted`, or, with zero, that could not be opened.
    fn lose<R: BetReader>(&mut self, upload: &mut Upload<R>, reason: &str, lasted: Duration) -> Result<(), Halt> {
        self.hang_up();
        upload.lost(lasted);
        match upload.next() {
            Next::Connect { pause } => self.unreachable(reason, upload.losses(), pause),
            Next::Over | Next::Talk | Next::Pause(_) | Next::Work => Ok(()),
        }
    }

    /// Logs that the hub is unreachable, or gives up after `patience`.
    fn unreachable(&mut self, reason: &str, losses: u32, pause: Duration) -> Result<(), Halt> {
        let now = self.waiter.now();
        if losses <= 1 {
            self.unreachable_since = Some(now);
        }
        let since = *self.unreachable_since.get_or_insert(now);
        if since.until(now) >= self.config.patience {
            self.report.unreachable(&self.config.server_address, reason, self.config.patience);
            return Err(Halt::Failed);
        }
        self.report.connecting_again(&self.config.server_address, reason, pause);
        Ok(())
    }

    /// Opens a connection; the inner error is the reason why it failed.
    fn connect(&mut self) -> Result<Result<(), String>, Halt> {
        match Link::connect(&mut self.waiter, self.config.host_and_port(), self.tls)? {
            Ok(link) => {
                self.report.connected(&self.config.server_address);
                self.link = Some(link);
                self.moved = self.waiter.now();
                Ok(Ok(()))
            }
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Sends and receives without blocking, or else waits, at most `until`. The inner error is the reason to close the
    /// connection.
    fn exchange(&mut self, protocol: &mut impl Exchange, until: Option<Moment>) -> Result<Result<(), String>, Halt> {
        let Some(link) = self.link.as_mut() else { return Ok(Err("not connected".to_owned())) };
        let mut moved = false;
        let mut unsent = None;
        for _ in 0..STEPS_PER_TURN {
            if protocol.outgoing().is_empty() {
                break;
            }
            match link.send(protocol.outgoing()) {
                Ok(0) => break,
                Ok(bytes) => {
                    moved = true;
                    protocol.sent(bytes);
                }
                Err(error) => {
                    // Replies that the hub sent before it closed are still to be read.
                    unsent = Some(error.to_string());
                    break;
                }
            }
        }
        for _ in 0..STEPS_PER_TURN {
            match link.receive(&mut self.buffer) {
                Ok(Received::Bytes(bytes)) => {
                    moved = true;
                    if let Err(reason) = protocol.received(&self.buffer[..bytes]) {
                        return Ok(Err(reason));
                    }
                }
                Ok(Received::Nothing) => break,
                Ok(Received::End) => return Ok(Err("the hub closed the connection".to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        if let Some(reason) = unsent {
            return Ok(Err(reason));
        }
        if moved {
            self.moved = self.waiter.now();
        }
        let wake = self.waiter.wait(if moved { Some(self.moved) } else { until })?;
        link.wake(wake);
        Ok(Ok(()))
    }

    /// Waits for `pause`.
    fn rest(&mut self, pause: Duration) -> Result<(), Halt> {
        let until = self.waiter.now() + pause;
        while self.waiter.now() < until {
            let wake = self.waiter.wait(Some(until))?;
            if let Some(link) = &mut self.link {
                link.wake(wake);
            }
        }
        Ok(())
    }

    fn hang_up(&mut self) {
        if self.link.take().is_some() {
            self.report.closed("connection", false);
        }
    }

    /// Closes the connection, and logs it. The file was closed with the upload; it is logged here.
    fn close(&mut self, stopping: bool) {
        if self.link.take().is_some() {
            self.report.closed("connection", stopping);
        }
        if std::mem::take(&mut self.file_open) {
            self.report.closed("file", stopping);
        }
    }
}
