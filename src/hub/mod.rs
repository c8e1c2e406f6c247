//! The whole hub without its sockets: sessions, lottery and store, driven by inputs and the time.
//!
//! The reactor reports what happened (a connection, bytes, a half-close, an end, the time) and does what it
//! says (write these bytes, close that connection, call again at this moment). The same calls with the same
//! arguments always have the same effects, which is what lets a simulation drive the whole hub.
//!
//! A turn is any number of inputs and one [`commit`](Hub::commit): requests are applied as they come, what they store becomes
//! durable together, and only then does [`release`](Hub::release) answer them.

mod admission;
mod admit;
mod apply;
mod budgets;
mod buffers;
mod claims;
mod commit;
mod connections;
mod course_log;
mod deadlines;
mod deferred;
mod departures;
mod events;
mod inputs;
mod lists;
mod liveness;
mod moved;
mod overview;
mod parked;
mod policy;
mod presence;
mod queue;
mod reads;
mod reminders;
mod respond;
mod rivals;
mod rollback;
mod scheduler;
mod state_log;
mod turn;
mod unnumbered;
mod views;
mod watch;
mod watchers;
mod watermark;
mod winners;

use admission::Admission;
pub use budgets::Budgets;
pub use connections::ConnectionId;
use connections::Connections;
use course_log::CourseLog;
pub use events::{Broken, Closing, Doing, Event, Missing, Observer, PENDING_NAMED_MAX, Peer, Unfinished};
use liveness::Liveness;
pub use overview::{Activity, AgencyView, ConnectionView, Overview};
use parked::Parked;
pub use policy::{EarlyQuery, OnAgencyLoss, Policy};
use queue::ClassQueue;
use reminders::Reminders;
pub use scheduler::ReadGrant;
use scheduler::Scheduler;
pub use turn::{CommittedTurn, LoggedBet, Refused};
use turn::{Keeping, Turn};
pub use watermark::InputWatermark;

use crate::limits;
use crate::lottery::Lottery;
use crate::storage::{CommitError, Keep};
use crate::timers::Moment;

/// The hub has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many connections as MAX_CONNECTIONS allows")]
pub struct TooManyConnections;

/// The whole state of a hub.
#[derive(Debug)]
pub struct Hub<K: Keep> {
    policy: Policy,
    lottery: Lottery,
    keeping: Keeping<K>,
    turn: Turn,
    connections: Connections,
    admission: Admission,
    liveness: Liveness,
    reminders: Reminders,
    parked: Parked,
    /// Connections to write to.
    writes: ClassQueue,
    scheduler: Scheduler,
    observers: Vec<Box<dyn Observer>>,
}

impl<K: Keep> Hub<K> {
    /// A hub with what its keeper remembers. `lottery` holds that already.
    pub fn new(policy: Policy, lottery: Lottery, keeper: K, now: Moment) -> Hub<K> {
        let reserved = policy.connections_max.min(limits::CONNECTIONS_RESERVED);
        let mut hub = Hub {
            keeping: Keeping::new(keeper, now),
            turn: Turn::default(),
            connections: Connections::with_capacity(reserved),
            admission: Admission::default(),
            liveness: Liveness::new(&policy.unnumbered_agencies, &lottery),
            reminders: Reminders::with_capacity(reserved),
            parked: Parked::new(lottery.drawn()),
            writes: ClassQueue::default(),
            scheduler: Scheduler::new(now),
            // The log is the first of them.
            observers: vec![Box::new(CourseLog::new(true, &lottery))],
            policy,
            lottery,
        };
        hub.lose_absent_agencies(now);
        hub
    }

    /// Has `observer` follow what the hub does from here on, beside the log.
    pub fn add_observer(&mut self, observer: Box<dyn Observer>) {
        self.observers.push(observer);
    }

    /// Has the log say once a second what was stored, instead of a line for each batch.
    pub fn summarise_batches(&mut self) {
        self.reminders.summarises = true;
        if let Some(log) = self.observers.first_mut() {
            *log = Box::new(CourseLog::new(false, &self.lottery));
        }
    }

    /// Sends an event to every observer.
    fn emit(&mut self, event: &Event<'_>) {
        self.observers.iter_mut().for_each(|observer| observer.observe(event));
    }

    fn emit_closing(&mut self, slot: usize, why: Closing) {
        self.emit(&Event::Closing { peer: self.peer_in(slot), why });
    }

    /// Looks whether the store's files are still those that it writes.
    ///
    /// # Errors
    /// They are not: nothing may be acknowledged any more, and the hub must stop.
    pub fn check_store(&mut self) -> Result<(), CommitError> {
        self.keeping.keeper.check()
    }

    /// Seals the store: the hub is about to stop.
    ///
    /// # Errors
    /// As the disk says.
    pub fn close_store(&mut self) -> Result<(), CommitError> {
        self.emit_summary();
        self.keeping.keeper.close()
    }
}
