//! One agency's upload: its batches, its finish, its query.
//!
//! Decides what is sent and resent, and what each reply means. Knows no sockets, no clock and no file: its driver opens
//! connections, sends and receives bytes, waits, and reports the results. The client's loop is one driver, a simulation
//! another.
//!
//! ```text
//! Disconnected ─connected─▶ Hello ─▶ Skipping ─▶ Comparing ─▶ Betting ─▶ Finishing ─▶ Querying ─▶ over
//!   ▲                       (dialects with a hello only)         │           │            │
//!   └──────────────────── lost, from any of them ────────────────┴───────────┴────────────┘
//! ```
//!
//! After a lost connection, in dialects that store a batch once, the hub's welcome has the number of the next batch. In
//! the others, acknowledged batches are not sent again. The batch in flight is sent again and may be stored twice, which
//! is better than not at all; an event reports it.

mod answers;
mod in_flight;
mod outbox;
mod source;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use super::batcher::{Batcher, Made};
use super::bet_reader::BetReader;
use crate::lottery::Bet;
use crate::wire::{ClientRules, Dialect, Expecting};

use in_flight::{Flight, InFlight};
use outbox::Outbox;
use source::Source;
pub use types::{Event, Failure, Goal, Next, Outcome, Plan, Stage};

/// The first pause before the client connects again; each further one is twice as long.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before the client connects again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The first pause after the hub's disk was full; each further one is twice as long.
const FULL_PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause after the hub's disk was full.
const FULL_PAUSE_MAX: Duration = Duration::from_secs(10);
/// The pause before a query is repeated.
const NOT_DRAWN_PAUSE: Duration = Duration::from_secs(1);
/// A connection that lasted this long was of use, even without a reply: a query may have been parked.
const LASTING: Duration = Duration::from_secs(5);
/// Unsent bytes above which no more batches are made.
const OUTBOX_BYTES_HIGH: usize = 256 * 1024;
/// The longest reply, in bytes: the winners of millions of bets.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Batches skipped in one call of [`Upload::work`].
const SKIP_BATCHES: usize = 64;
/// Why the hub may have other bets than a file.
const OTHER_BETS: &str = "they are not the bets that were sent before, batch.maxAmount has changed, or a bet was sent alone, \
                          after which --protocol text uploads a file";

/// The state of an upload.
#[derive(Debug)]
pub struct Upload<R> {
    plan: Plan,
    rules: ClientRules,
    source: Source<R>,
    in_flight: InFlight,
    known: Known,
    attempts: Attempts,
    stage: Stage,
    /// How long to wait before the next step.
    pause: Option<Duration>,
    outcome: Option<Outcome>,
    events: VecDeque<Event>,
    inbox: Vec<u8>,
    outbox: Outbox,
}

/// What is known of the agency in the hub's store.
#[derive(Debug, Default)]
struct Known {
    /// Whether the hub's batches of an earlier run were compared, or there were none.
    compared: bool,
    /// Whether the hub has stored the finish.
    finished: bool,
    /// Why the hub may not have stored all bets although it has stored the finish.
    doubt: Option<String>,
    /// The bets of the winners, in dialects whose replies have them.
    winning_bets: Option<Vec<Bet>>,
}

/// What became of earlier connections and requests.
#[derive(Debug, Default)]
struct Attempts {
    /// Whether bytes were sent on any connection.
    spoken: bool,
    /// Connections lost since the last one that was of use.
    losses: u32,
    /// Full disks of the hub since the last acknowledgement.
    refusals: u32,
}

impl<R: BetReader> Upload<R> {
    /// An upload of all of `reader`.
    pub fn new(plan: Plan, reader: R) -> Upload<R> {
        Upload {
            plan,
            rules: plan.dialect.client_rules(),
            source: Source::new(Batcher::new(reader, plan.dialect, plan.agency, plan.bets_max)),
            in_flight: InFlight::default(),
            known: Known::default(),
            attempts: Attempts::default(),
            stage: Stage::Disconnected,
            pause: None,
            outcome: None,
            events: VecDeque::new(),
            inbox: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// What the driver has to do next. It may change with every other call.
    pub fn next(&self) -> Next {
        match (&self.outcome, self.stage, self.pause) {
            (Some(_), _, _) => Next::Over,
            (None, Stage::Disconnected, _) => Next::Connect { pause: reconnect_pause(self.attempts.losses) },
            (None, Stage::Skipping { .. }, _) if !self.source.starved => Next::Work,
            (None, _, Some(pause)) => Next::Pause(pause),
            (None, _, None) => Next::Talk,
        }
    }

    /// The dialect.
    pub fn dialect(&self) -> Dialect {
        self.plan.dialect
    }

    /// The stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The outcome; `None` before the end.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether the hub may not have stored all bets although it has confirmed the finish.
    pub fn is_doubtful(&self) -> bool {
        self.known.doubt.is_some()
    }

    /// The bets of the winners, in dialects whose replies have them.
    pub fn winning_bets(&self) -> Option<&[Bet]> {
        self.known.winning_bets.as_deref()
    }

    /// How many connections in a row were of no use: 0 after a reply.
    pub fn losses(&self) -> u32 {
        self.attempts.losses
    }

    /// Whether a reply is due soon, so that a long silence means a dead connection.
    pub fn awaits_answer(&self) -> bool {
        let due = match self.stage {
            Stage::Betting if self.source.starved => {
                !(self.in_flight.batches.is_empty() && self.outbox.waiting().is_empty())
            }
            Stage::Hello | Stage::Comparing | Stage::Betting | Stage::Finishing => true,
            Stage::Disconnected | Stage::Skipping { .. } | Stage::Querying => false,
        };
        due && self.pause.is_none() && self.outcome.is_none()
    }

    /// Whether only the winners are missing.
    pub fn awaits_draw(&self) -> bool {
        let asked = self.stage == Stage::Querying && self.outbox.waiting().is_empty();
        asked && self.pause.is_none() && self.outcome.is_none()
    }

    /// How many bets were sent without a reply, in a dialect that would store them again: the hub may have stored them.
    pub fn bets_in_doubt(&self) -> u64 {
        self.in_flight.in_doubt(self.sent_whole())
    }

    /// How many batches were sent whole on this connection and have no reply, in a dialect that would store them again.
    fn sent_whole(&self) -> usize {
        if self.rules.exactly_once || !self.outbox.waiting().is_empty() { 0 } else { self.in_flight.sent }
    }

    /// The size of the whole upload, in the unit of [`Event::Progress`]; 0 if it is not known.
    pub fn extent(&self) -> u64 {
        self.source.batcher.extent()
    }

    /// Removes and returns the oldest event.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The unsent bytes.
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// Marks the first `bytes` of [`outgoing`](Self::outgoing) as sent.
    pub fn sent(&mut self, bytes: usize) {
        self.attempts.spoken |= bytes > 0;
        self.outbox.sent(bytes);
        if self.stage == Stage::Betting && self.pause.is_none() && self.outcome.is_none() {
            self.pump();
        }
    }

    /// Reports that a connection is open.
    pub fn connected(&mut self) {
        assert!(self.stage == Stage::Disconnected, "one connection at a time");
        if self.rules.hello {
            self.plan.dialect.put_hello(self.plan.agency, self.outbox.end());
            self.stage = Stage::Hello;
        } else {
            self.in_flight.base = Some(0);
            self.known.compared = true;
            self.go_on();
        }
    }

    /// Reports that the connection was lost after `lasted`, or, with zero, could not be opened.
    pub fn lost(&mut self, lasted: Duration) {
        if self.outcome.is_some() {
            return;
        }
        // In `csv` the hub knows the agency by its connection only; in `case-id` no reply says which batches are stored.
        if self.attempts.spoken && !self.rules.resumable && !self.known.finished {
            self.fail_refused(self.not_resumable());
            return;
        }
        let repeated = self.sent_whole();
        for flight in self.in_flight.batches.iter_mut().take(repeated) {
            flight.may_be_stored = true;
            self.events.push_back(Event::MayRepeat { bets: flight.made.bets });
        }
        if let Some(doubt) = self.known.doubt.as_ref().filter(|_| self.stage == Stage::Querying && lasted < LASTING) {
            // The hub that rejected the bets has also closed at the query, as it does to an agency that it does not know.
            self.fail_refused(format!("{doubt}, and closed the connection at the query: check the agency's number"));
            return;
        }
        if !self.rules.batches_answered && !self.known.finished {
            // Nothing was sent, and the unsent batches are not kept.
            self.start_over();
        }
        self.attempts.losses = if lasted >= LASTING { 1 } else { self.attempts.losses.saturating_add(1) };
        self.stage = Stage::Disconnected;
        self.pause = None;
        self.source.starved = false;
        self.in_flight.sent = 0;
        self.in_flight.unacknowledged_bets = 0;
        self.inbox.clear();
        self.outbox.clear();
    }

    /// Reports that the pause of [`Next::Pause`] is over.
    pub fn pause_over(&mut self) {
        if self.pause.take().is_none() || self.outcome.is_some() {
            return;
        }
        match self.stage {
            Stage::Querying => self.put_query(),
            Stage::Finishing => self.plan.dialect.put_finish(self.plan.agency, self.outbox.end()),
            Stage::Betting | Stage::Comparing => self.pump(),
            Stage::Disconnected | Stage::Hello | Stage::Skipping { .. } => {}
        }
    }

    /// Does what waits for no reply: skips some of the batches that the hub has, or goes on where the next bet had not come.
    pub fn work(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        match self.stage {
            Stage::Skipping { to } => self.skip(to),
            Stage::Betting if self.source.starved => self.pump(),
            Stage::Disconnected
            | Stage::Hello
            | Stage::Comparing
            | Stage::Betting
            | Stage::Finishing
            | Stage::Querying => {}
        }
    }

    /// Skips some of the batches that the hub has: all, or all but the one that is compared after them.
    fn skip(&mut self, to: u64) {
        for _ in 0..SKIP_BATCHES {
            if self.source.batcher.batches() >= to {
                return self.skipped();
            }
            match self.source.make() {
                Ok(Poll::Ready(Some(_))) => {}
                Ok(Poll::Ready(None)) => return self.fail_refused(self.too_few(to + u64::from(!self.known.compared))),
                Ok(Poll::Pending) => return,
                Err(error) => return self.fail(Failure::Bets(error)),
            }
        }
    }

    /// Ends the skipping of batches that the hub has. After an earlier run, the last of them is sent again first, to detect
    /// that the bets or their division into batches have changed.
    fn skipped(&mut self) {
        if self.known.compared {
            return self.resumed();
        }
        match self.source.make() {
            Ok(Poll::Ready(Some(made))) => {
                self.fly(made);
                self.stage = Stage::Comparing;
                self.pump();
            }
            Ok(Poll::Ready(None)) => self.fail_refused(self.too_few(self.source.batcher.batches() + 1)),
            Ok(Poll::Pending) => {}
            Err(error) => self.fail(Failure::Bets(error)),
        }
    }

    /// Continues after the batches that the hub has.
    fn resumed(&mut self) {
        let (batches, bets, position) =
            (self.source.batcher.batches(), self.source.batcher.bets(), self.source.batcher.position());
        if batches > 0 {
            self.events.push_back(Event::Resumed { batches, bets, position });
        }
        self.go_on();
    }

    /// Enters the next stage: batches, finish or query.
    fn go_on(&mut self) {
        let bets_left = !self.in_flight.batches.is_empty() || !self.source.ended;
        if bets_left {
            self.stage = Stage::Betting;
            return self.pump();
        }
        let dialect = self.plan.dialect;
        match self.plan.goal {
            Goal::Confirmed => self.outcome = Some(Outcome::Done { winners: Vec::new(), doubt: None }),
            Goal::Winners if self.rules.finish && !self.known.finished => {
                self.stage = Stage::Finishing;
                dialect.put_finish(self.plan.agency, self.outbox.end());
            }
            Goal::Winners => {
                self.stage = Stage::Querying;
                self.put_query();
            }
        }
    }

    fn put_query(&mut self) {
        self.plan.dialect.put_query(self.plan.agency, self.outbox.end());
        self.plan.dialect.put_watch(self.outbox.end());
    }

    /// Puts batches into the outbox as far as the window and its limit allow; enters the next stage after the last.
    fn pump(&mut self) {
        while self.outbox.waiting().len() < OUTBOX_BYTES_HIGH && self.pause.is_none() {
            if let Some(flight) = self.in_flight.batches.get(self.in_flight.sent) {
                self.outbox.end().extend_from_slice(&flight.frame);
                self.in_flight.sent += 1;
                continue;
            }
            let full = self.in_flight.batches.len() >= self.rules.window;
            if self.stage != Stage::Betting || self.source.ended || self.source.broken.is_some() || full {
                break;
            }
            match self.source.make() {
                Ok(Poll::Ready(Some(made))) if self.rules.batches_answered => self.fly(made),
                Ok(Poll::Ready(Some(made))) => self.send_unacknowledged(&made),
                Ok(Poll::Ready(None)) => self.source.ended = true,
                Ok(Poll::Pending) => break,
                Err(error) => self.source.broken = Some(error),
            }
        }
        if self.stage == Stage::Betting && self.in_flight.batches.is_empty() {
            self.landed();
        }
    }

    /// Acts when no batch is in flight.
    fn landed(&mut self) {
        if let Some(error) = self.source.broken.take() {
            self.fail(Failure::Bets(error));
        } else if self.source.ended
            && self.source.batcher.bets() == 0
            && !self.plan.empty
            && self.plan.goal == Goal::Winners
        {
            self.fail(Failure::Empty);
        } else if self.source.ended {
            let (batches, bets) = (self.source.batcher.batches(), self.source.batcher.bets());
            self.events.push_back(Event::AllSent { batches, bets });
            self.go_on();
        }
    }

    /// Starts again at the first bet.
    fn start_over(&mut self) {
        self.in_flight.clear();
        if let Err(error) = self.source.start_over() {
            self.fail(Failure::Bets(error));
        }
    }

    fn fly(&mut self, made: Made) {
        let mut frame = Vec::new();
        self.source.batcher.put(&made, self.in_flight.sequence(made.index), &mut frame);
        self.in_flight.batches.push_back(Flight { made, frame, may_be_stored: false });
    }

    fn send_unacknowledged(&mut self, made: &Made) {
        self.source.batcher.put(made, made.index, self.outbox.end());
        self.in_flight.unacknowledged_bets += u64::from(made.bets);
        self.events.push_back(Event::Progress { batches: 1, bets: u64::from(made.bets), position: made.position });
    }

    fn expecting(&self) -> Expecting {
        match self.stage {
            Stage::Hello => Expecting::Welcome,
            Stage::Disconnected | Stage::Skipping { .. } | Stage::Comparing | Stage::Betting => Expecting::Stored,
            Stage::Finishing => Expecting::Finished,
            Stage::Querying => Expecting::Winners,
        }
    }

    fn not_resumable(&self) -> String {
        let dialect = self.plan.dialect.name();
        match self.in_flight.unacknowledged_bets {
            0 => format!("the connection was lost, and {dialect} cannot resume on another one"),
            bets => format!(
                "the connection was lost, and {dialect} does not tell which of the {bets} bets sent on it are stored"
            ),
        }
    }

    fn too_few(&self, batches: u64) -> String {
        let (dialect, made) = (self.plan.dialect.name(), self.source.batcher.batches());
        format!("the hub has {batches} batches of this agency in {dialect}, these bets make only {made}: {OTHER_BETS}")
    }

    fn fail_refused(&mut self, reason: String) {
        let stage = self.stage;
        self.fail(Failure::Refused { stage, reason });
    }

    fn fail(&mut self, failure: Failure) {
        self.outcome = Some(Outcome::Failed(failure));
    }
}

/// The pause before the next connection, after `losses` in a row that were of no use.
pub fn reconnect_pause(losses: u32) -> Duration {
    match losses {
        0 => Duration::ZERO,
        losses => grown(RECONNECT_PAUSE_MIN, losses - 1, RECONNECT_PAUSE_MAX),
    }
}

/// `first`, doubled `times` times, at most `longest`.
fn grown(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}
