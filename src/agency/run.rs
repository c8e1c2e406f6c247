//! The client's event loop: connections, bytes, pauses and signals. [`agency`] has what is particular to an agency's file.
//!
//! One thread and one poll. [`upload`](super::upload) and [`echo`](super::echo) decide what is sent and what a reply
//! means.

mod agency;

use std::time::Duration;

use super::bet_reader::{BetList, BetReader};
use super::echo::{EchoTurn, Echoed};
use super::job::Job;
use super::link::{Link, Received};
use super::loss::{Kind, Loss};
use super::output::Output;
use super::progress::Progress;
use super::report::Report;
use super::tally::{Pace, Tally};
use super::tls::Tls;
use super::upload::{self, Failure, Goal, Outcome, Plan, Upload};
use super::waiter::{Halt, Waiter};
use crate::config::client::ClientConfig;
use crate::logging::LogOutput;
use crate::lottery::{AgencyId, Bet};
use crate::timers::Moment;
use crate::wire::Dialect;

/// The shared buffer that the socket is read into, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How long a host name may not be known before the client gives up, if it never was. A name may be made known a little
/// later than the client starts, as that of a container; a name that is wrong stays unknown.
const NAME_PATIENCE: Duration = Duration::from_secs(15);
/// The loss in a row from which on the log warns: some six seconds after the first, if each comes at once.
const UNREACHABLE_WARNED: u32 = 7;
/// The number of the connection in a row that the hub closes without a reply after which the log says what that may mean.
const CLOSED_UNANSWERED: u32 = 3;
/// Reads, and writes, before signals are checked.
const STEPS_PER_TURN: usize = 16;

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The job is done.
    Done,
    /// A signal stopped the client, and everything is closed.
    Stopped,
    /// SIGINT stopped the client before its bets were stored and its winners known; everything is closed.
    Interrupted,
    /// The agency's file has no bets.
    NoBets,
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
        hub: Reached::default(),
        tally: None,
        draw: DrawWait::default(),
        buffer: vec![0; READ_BYTES],
    };
    // Written before a call that may block, such as opening a data file on a network.
    let worked = client.waiter.write_log().and_then(|_| match job {
        Job::Echo => client.echo(),
        Job::Bet { dialect, bet } => client.bet(*dialect, bet),
        Job::Agency { dialect, data } => client.agency(*dialect, data),
    });
    client.progress.clear();
    client.say_what_remains(job, worked);
    // A failed client stays as well, so that its log can be read.
    let stopped = worked == Err(Halt::Signal) || client.rest(config.linger).is_err();
    let interrupted = client.waiter.interrupted();
    client.close(stopped);
    if stopped {
        report.stopped();
    }
    client.waiter.finish_log(stopped);
    match worked {
        Ok(()) if stopped => Ending::Stopped,
        Ok(()) => Ending::Done,
        Err(Halt::Signal) if interrupted && *job != Job::Echo => Ending::Interrupted,
        Err(Halt::Signal) => Ending::Stopped,
        Err(Halt::Refused) => Ending::NoBets,
        Err(Halt::Failed) => Ending::Failed,
    }
}

/// Whether the hub can be reached.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// Since when it cannot.
    not_since: Option<Moment>,
    /// When its name was first looked up.
    looked_up: Option<Moment>,
    /// Whether the name was ever known.
    is_known: bool,
    /// Whether there was a connection.
    is_met: bool,
}

/// The wait for the draw.
#[derive(Debug, Default)]
struct DrawWait {
    /// When to log that the client still waits; `None` before it waits.
    pace: Option<Pace>,
    /// Which agencies the draw waits for, in words, where the hub of this connection says so.
    whom: Option<String>,
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
    hub: Reached,
    /// How far the upload of the agency's file is; `None` before it begins.
    tally: Option<Tally>,
    draw: DrawWait,
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
                Err(loss) => Err(loss),
            };
            self.hang_up();
            let Err(loss) = lost else { break };
            losses += 1;
            let pause = upload::reconnect_pause(losses);
            self.unreachable(&loss, losses, pause, Dialect::Echo)?;
            self.rest(pause)?;
            turn.again();
        }
        self.hub.not_since = None;
        if turn.echoed() == Echoed::Different {
            self.report.echoed_wrong(&turn.echo());
            return Err(Halt::Failed);
        }
        self.report.echoed(turn.message());
        Ok(())
    }

    /// Sends a line and waits until a line is received, or the connection is lost.
    fn echo_once(&mut self, turn: &mut EchoTurn) -> Result<Result<(), Loss>, Halt> {
        while turn.echoed() == Echoed::Waiting {
            let deadline = self.answer_due();
            if let Err(loss) = self.exchange(turn, Some(deadline))?
                && turn.echoed() == Echoed::Waiting
            {
                return Ok(Err(loss));
            }
            if self.waiter.is_over(self.answer_due()) {
                return Ok(Err(Loss::passing("no answer")));
            }
        }
        Ok(Ok(()))
    }

    fn bet(&mut self, dialect: Dialect, bet: &Bet) -> Result<(), Halt> {
        let plan = self.plan(dialect, Goal::Confirmed);
        match self.upload(&mut Upload::new(plan, BetList::new(vec![bet.clone()])), dialect)? {
            Outcome::Done { .. } => {
                self.report.bet_confirmed(bet);
                self.report.not_finished();
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

    fn plan(&self, dialect: Dialect, goal: Goal) -> Plan {
        let (agency, bets_max) = (AgencyId(self.config.id), self.config.batch_max_amount);
        Plan { agency, dialect, bets_max, goal, empty: self.config.empty }
    }

    /// The deadline of a reply, after which the connection counts as lost.
    fn answer_due(&self) -> Moment {
        self.moved + self.config.answer_timeout
    }

    /// Logs that the hub is unreachable, or gives up: after `patience`, or sooner if the reason cannot pass.
    fn unreachable(&mut self, loss: &Loss, losses: u32, pause: Duration, dialect: Dialect) -> Result<(), Halt> {
        let address = &self.config.server_address;
        self.progress.set_online(false);
        let now = self.waiter.now();
        if losses <= 1 {
            self.hub.not_since = Some(now);
        }
        let since = *self.hub.not_since.get_or_insert(now);
        let looked_up = self.hub.looked_up.map_or(Duration::ZERO, |at| at.until(now));
        if loss.kind == Kind::Permanent {
            self.report.refused(address, &loss.reason);
            return Err(Halt::Failed);
        }
        if since.until(now) >= self.config.patience {
            self.report.unreachable(address, &loss.reason, self.config.patience);
            return Err(Halt::Failed);
        }
        if loss.kind == Kind::NoName && !self.hub.is_known && looked_up + pause >= NAME_PATIENCE {
            let advice = format!("{}; name the hub with --server, CLI_SERVER_ADDRESS or server.address", loss.reason);
            self.report.unreachable(address, &advice, Duration::from_secs(looked_up.as_secs()));
            return Err(Halt::Failed);
        }
        if losses == CLOSED_UNANSWERED && loss.kind == Kind::Closed {
            self.report.closed_unanswered(dialect, self.tls.is_some());
        }
        let never_known = loss.kind == Kind::NoName && !self.hub.is_known;
        if losses >= UNREACHABLE_WARNED {
            let left = self.config.patience.saturating_sub(since.until(now));
            let left = if never_known { left.min(NAME_PATIENCE.saturating_sub(looked_up)) } else { left };
            self.report.connecting_still(address, loss, pause, Duration::from_secs(left.as_secs()));
        } else if losses <= 1 {
            let sooner = (never_known && NAME_PATIENCE < self.config.patience).then_some(NAME_PATIENCE);
            self.report.connecting_first(self.config, loss, pause, sooner);
        } else {
            self.report.connecting_again(address, &loss.reason, pause);
        }
        Ok(())
    }

    /// Opens a connection; the inner error is the reason why it failed.
    fn connect(&mut self) -> Result<Result<(), Loss>, Halt> {
        let now = self.waiter.now();
        self.hub.looked_up.get_or_insert(now);
        let link = Link::connect(&mut self.waiter, self.config.host_and_port(), self.tls)?;
        self.hub.is_known |= !matches!(&link, Err(Loss { kind: Kind::NoName, .. }));
        match link {
            Ok(link) => {
                let before = std::mem::replace(&mut self.hub.is_met, true);
                if self.hub.not_since.is_some() {
                    self.report.connected_at_last(&self.config.server_address, before);
                } else {
                    self.report.connected(&self.config.server_address);
                }
                self.progress.set_online(true);
                self.link = Some(link);
                self.moved = self.waiter.now();
                if let Some(tally) = &mut self.tally {
                    tally.restart(self.moved);
                }
                Ok(Ok(()))
            }
            Err(loss) => Ok(Err(loss)),
        }
    }

    /// Sends and receives without blocking, or else waits, at most `until`. The inner error is the reason to close the
    /// connection.
    fn exchange(&mut self, protocol: &mut impl Exchange, until: Option<Moment>) -> Result<Result<(), Loss>, Halt> {
        let Some(link) = self.link.as_mut() else { return Ok(Err(Loss::passing("not connected"))) };
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
                    unsent = Some(Loss::from(error));
                    break;
                }
            }
        }
        for _ in 0..STEPS_PER_TURN {
            match link.receive(&mut self.buffer) {
                Ok(Received::Bytes(bytes)) => {
                    moved = true;
                    if let Err(reason) = protocol.received(&self.buffer[..bytes]) {
                        return Ok(Err(reason.into()));
                    }
                }
                Ok(Received::Nothing) => break,
                Ok(Received::End) => return Ok(Err(Loss::closed("the hub closed the connection"))),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        if let Some(loss) = unsent {
            return Ok(Err(loss));
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
