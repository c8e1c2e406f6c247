//! One agency's part in a draw: its batches, its finish, its question for the winners.
//!
//! Owns what is sent, what is sent again, and what each answer means. Knows no sockets, no clock and no file:
//! whoever drives it opens connections, carries bytes, waits, and tells it what became of that. So does the
//! client's loop, and so does a simulation.
//!
//! ```text
//! Apart ─connected─▶ Greeting ─▶ Skipping ─▶ Comparing ─▶ Betting ─▶ Finishing ─▶ Querying ─▶ over
//!   ▲                (dialects with a hello only)            │           │            │
//!   └──────────────── lost, from any of them ────────────────┴───────────┴────────────┘
//! ```
//!
//! After a lost connection, in dialects that store a batch once, the hub's welcome says where to go on. In
//! the others, batches that were acknowledged are not sent again; the one that was on its way is, at the risk
//! that it is stored twice, which is better than not at all and is said in an event.

mod answers;
mod outbox;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;
use std::time::Duration;

use super::batcher::{Batcher, Made};
use super::slips::{SlipError, Slips};
use crate::wire::{ClientRules, Expecting};

use outbox::Outbox;
pub use types::{Event, Failure, Goal, Next, Outcome, Plan, Stage};

/// The first pause before a connection is tried again; each further one is twice as long.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a connection is tried again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The first pause after the hub had no room; each further one is twice as long.
const FULL_PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause after the hub had no room.
const FULL_PAUSE_MAX: Duration = Duration::from_secs(10);
/// The pause before the winners are asked for again.
const NOT_DRAWN_PAUSE: Duration = Duration::from_secs(1);
/// A connection that lasted so long was of use, even where it brought no answer: a parked query waits for one.
const LASTING: Duration = Duration::from_secs(5);
/// Bytes waiting to be sent, over which no more batches are made.
const OUTBOX_BYTES_HIGH: usize = 256 * 1024;
/// The longest answer that is waited for, in bytes: the winners of millions of bets.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Batches passed over in one call of [`Upload::work`].
const SKIP_BATCHES: usize = 64;

/// A batch that has no acknowledgement yet.
#[derive(Debug)]
struct Flight {
    made: Made,
    frame: Vec<u8>,
}

/// An upload under way.
#[derive(Debug)]
pub struct Upload<S> {
    plan: Plan,
    rules: ClientRules,
    batcher: Batcher<S>,
    stage: Stage,
    outcome: Option<Outcome>,
    events: VecDeque<Event>,
    inbox: Vec<u8>,
    outbox: Outbox,
    /// Unacknowledged batches, consecutive; the first `sent` of them were handed out on this connection.
    flights: VecDeque<Flight>,
    sent: usize,
    /// The sequence number of the first batch; not known before the first welcome.
    base: Option<u64>,
    /// All bets are in batches.
    ended: bool,
    /// The next bet cannot be read: what is on its way is waited for first.
    broken: Option<SlipError>,
    /// What the hub has of an earlier run was found to be the same, or there was none.
    compared: bool,
    /// The hub has noted the finish.
    finished: bool,
    doubt: Option<String>,
    /// Bytes have left on some connection.
    spoken: bool,
    /// Bets of batches that nothing acknowledges, sent on this connection.
    unacknowledged_bets: u64,
    /// Connections lost since one was of use.
    losses: u32,
    pause: Option<Duration>,
    refusals: u32,
}

impl<S: Slips> Upload<S> {
    /// An upload of all of `slips`.
    pub fn new(plan: Plan, slips: S) -> Upload<S> {
        Upload {
            plan,
            rules: plan.dialect.client_rules(),
            batcher: Batcher::new(slips, plan.dialect, plan.agency, plan.bets_max),
            stage: Stage::Apart,
            outcome: None,
            events: VecDeque::new(),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            flights: VecDeque::new(),
            sent: 0,
            base: None,
            ended: false,
            broken: None,
            compared: false,
            finished: false,
            doubt: None,
            spoken: false,
            unacknowledged_bets: 0,
            losses: 0,
            pause: None,
            refusals: 0,
        }
    }

    /// What to do now. It may change with every other call.
    pub fn next(&self) -> Next {
        match (&self.outcome, self.stage, self.pause) {
            (Some(_), _, _) => Next::Over,
            (None, Stage::Apart, _) => Next::Connect { pause: reconnect_pause(self.losses) },
            (None, Stage::Skipping { .. }, _) => Next::Work,
            (None, _, Some(pause)) => Next::Pause(pause),
            (None, _, None) => Next::Talk,
        }
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How it ended; `None` while it has not.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// How many connections in a row were of no use: 0 once one brought an answer.
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// Whether an answer is due within moments: then a long silence means that the connection is dead.
    pub fn awaits_answer(&self) -> bool {
        let due = match self.stage {
            Stage::Greeting | Stage::Comparing | Stage::Betting | Stage::Finishing => true,
            Stage::Apart | Stage::Skipping { .. } | Stage::Querying => false,
        };
        due && self.pause.is_none() && self.outcome.is_none()
    }

    /// Whether nothing is left to do but to wait until the hub tells the winners.
    pub fn awaits_draw(&self) -> bool {
        let asked = self.stage == Stage::Querying && self.outbox.waiting().is_empty();
        asked && self.pause.is_none() && self.outcome.is_none()
    }

    /// How much there is to upload in all, in the unit of [`Event::Progress`]; 0 where that is not known.
    pub fn extent(&self) -> u64 {
        self.batcher.extent()
    }

    /// The oldest event that has not been taken.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes to be sent.
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// The first `bytes` of [`outgoing`](Self::outgoing) have been sent.
    pub fn sent(&mut self, bytes: usize) {
        self.spoken |= bytes > 0;
        self.outbox.sent(bytes);
        if self.stage == Stage::Betting && self.pause.is_none() && self.outcome.is_none() {
            self.pump();
        }
    }

    /// A connection is open.
    pub fn connected(&mut self) {
        assert!(self.stage == Stage::Apart, "one connection at a time");
        if self.rules.hello {
            self.plan.dialect.put_hello(self.plan.agency, self.outbox.end());
            self.stage = Stage::Greeting;
        } else {
            self.base = Some(0);
            self.compared = true;
            self.go_on();
        }
    }

    /// The connection is gone after it `lasted` so long, or, after zero, could not be opened.
    pub fn lost(&mut self, lasted: Duration) {
        if self.outcome.is_some() {
            return;
        }
        let repeated = if self.rules.exactly_once || !self.outbox.waiting().is_empty() { 0 } else { self.sent };
        let repeats: Vec<_> = self.flights.iter().take(repeated).map(|flight| flight.made.bets).collect();
        self.events.extend(repeats.into_iter().map(|bets| Event::MayRepeat { bets }));
        // What the hub knows an agency by in `csv` is its connection; in `case-id` it is the query's number.
        if self.spoken && !self.rules.resumable && !self.finished {
            self.fail_refused(self.not_resumable());
            return;
        }
        if !self.rules.batches_answered && !self.finished {
            // Nothing has left, and what was about to is not kept.
            self.start_over();
        }
        self.losses = if lasted >= LASTING { 1 } else { self.losses.saturating_add(1) };
        self.stage = Stage::Apart;
        self.pause = None;
        self.sent = 0;
        self.unacknowledged_bets = 0;
        self.inbox.clear();
        self.outbox.clear();
    }

    /// The pause that [`Next::Pause`] asked for is over.
    pub fn pause_over(&mut self) {
        if self.pause.take().is_none() || self.outcome.is_some() {
            return;
        }
        match self.stage {
            Stage::Querying => self.plan.dialect.put_query(self.plan.agency, self.outbox.end()),
            Stage::Finishing => self.plan.dialect.put_finish(self.plan.agency, self.outbox.end()),
            Stage::Betting | Stage::Comparing => self.pump(),
            Stage::Apart | Stage::Greeting | Stage::Skipping { .. } => {}
        }
    }

    /// Passes over some of the batches that the hub has.
    pub fn work(&mut self) {
        let Stage::Skipping { to } = self.stage else { return };
        for _ in 0..SKIP_BATCHES {
            if self.batcher.batches() >= to {
                return self.skipped();
            }
            match self.batcher.make() {
                Ok(Some(_)) => {}
                Ok(None) => return self.fail_refused(self.too_few(to)),
                Err(error) => return self.fail(Failure::Slips(error)),
            }
        }
    }

    /// The batches that the hub has are behind us. Of an earlier run's, the last is sent again first: batches
    /// of other bets, or cut elsewhere, must not be taken for those that the hub has.
    fn skipped(&mut self) {
        if self.compared {
            return self.resumed();
        }
        match self.batcher.make() {
            Ok(Some(made)) => {
                self.fly(made);
                self.stage = Stage::Comparing;
                self.pump();
            }
            Ok(None) => self.fail_refused(self.too_few(self.batcher.batches() + 1)),
            Err(error) => self.fail(Failure::Slips(error)),
        }
    }

    /// What was made so far is what the hub has.
    fn resumed(&mut self) {
        let (batches, bets, position) = (self.batcher.batches(), self.batcher.bets(), self.batcher.position());
        if batches > 0 {
            self.events.push_back(Event::Resumed { batches, bets, position });
        }
        self.go_on();
    }

    /// Goes on with whatever is next, on a connection that is ready for it.
    fn go_on(&mut self) {
        let bets_left = !self.flights.is_empty() || !self.ended;
        if bets_left {
            self.stage = Stage::Betting;
            return self.pump();
        }
        let dialect = self.plan.dialect;
        match self.plan.goal {
            Goal::Confirmed => self.outcome = Some(Outcome::Done { winners: Vec::new(), doubt: None }),
            Goal::Winners if self.rules.finish && !self.finished => {
                self.stage = Stage::Finishing;
                dialect.put_finish(self.plan.agency, self.outbox.end());
            }
            Goal::Winners => {
                self.stage = Stage::Querying;
                dialect.put_query(self.plan.agency, self.outbox.end());
            }
        }
    }

    /// Hands out batches as far as the window and the outbox allow; goes on where none are left.
    fn pump(&mut self) {
        while self.outbox.waiting().len() < OUTBOX_BYTES_HIGH && self.pause.is_none() {
            if let Some(flight) = self.flights.get(self.sent) {
                self.outbox.end().extend_from_slice(&flight.frame);
                self.sent += 1;
                continue;
            }
            let full = self.flights.len() >= self.rules.window;
            if self.stage != Stage::Betting || self.ended || self.broken.is_some() || full {
                break;
            }
            match self.batcher.make() {
                Ok(Some(made)) if self.rules.batches_answered => self.fly(made),
                Ok(Some(made)) => self.send_unacknowledged(&made),
                Ok(None) => self.ended = true,
                Err(error) => self.broken = Some(error),
            }
        }
        if self.stage == Stage::Betting && self.flights.is_empty() {
            self.landed();
        }
    }

    /// No batch is on its way.
    fn landed(&mut self) {
        if let Some(error) = self.broken.take() {
            self.fail(Failure::Slips(error));
        } else if self.ended {
            let (batches, bets) = (self.batcher.batches(), self.batcher.bets());
            self.events.push_back(Event::AllSent { batches, bets });
            self.go_on();
        }
    }

    /// Back to the first bet.
    fn start_over(&mut self) {
        self.flights.clear();
        self.sent = 0;
        self.ended = false;
        self.broken = None;
        if let Err(error) = self.batcher.rewind() {
            self.fail(Failure::Slips(error));
        }
    }

    fn fly(&mut self, made: Made) {
        let mut frame = Vec::new();
        self.batcher.put(&made, self.sequence(made.index), &mut frame);
        self.flights.push_back(Flight { made, frame });
    }

    fn send_unacknowledged(&mut self, made: &Made) {
        self.batcher.put(made, made.index, self.outbox.end());
        self.unacknowledged_bets += u64::from(made.bets);
        self.events.push_back(Event::Progress { batches: 1, bets: u64::from(made.bets), position: made.position });
    }

    fn sequence(&self, index: u64) -> u64 {
        self.base.unwrap_or(0).saturating_add(index)
    }

    fn expecting(&self) -> Expecting {
        match self.stage {
            Stage::Greeting => Expecting::Welcome,
            Stage::Apart | Stage::Skipping { .. } | Stage::Comparing | Stage::Betting => Expecting::Stored,
            Stage::Finishing => Expecting::Finished,
            Stage::Querying => Expecting::Winners,
        }
    }

    fn not_resumable(&self) -> String {
        let dialect = self.plan.dialect.name();
        match self.unacknowledged_bets {
            0 => format!("the connection was lost, and {dialect} cannot go on with another"),
            bets => format!(
                "the connection was lost, and {dialect} does not tell which of the {bets} bets sent on it are stored"
            ),
        }
    }

    fn too_few(&self, batches: u64) -> String {
        let (dialect, made) = (self.plan.dialect.name(), self.batcher.batches());
        format!(
            "the hub has {batches} batches of this agency in {dialect}, these bets make only {made}: \
             they are not the bets that were sent before, or batch.maxAmount has changed"
        )
    }

    fn fail_refused(&mut self, reason: String) {
        let stage = self.stage;
        self.fail(Failure::Refused { stage, reason });
    }

    fn fail(&mut self, failure: Failure) {
        self.outcome = Some(Outcome::Failed(failure));
    }
}

/// The pause before the next connection after so many in a row that were of no use.
pub fn reconnect_pause(losses: u32) -> Duration {
    match losses {
        0 => Duration::ZERO,
        losses => grown(RECONNECT_PAUSE_MIN, losses - 1, RECONNECT_PAUSE_MAX),
    }
}

/// `first`, doubled `times`, at most `longest`.
fn grown(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}
