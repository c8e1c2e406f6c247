//! Turns: what became of every request, waiting for the commit. One is in hand, others may be in flight.

use std::collections::VecDeque;

use super::connections::ConnectionId;
use crate::lottery::{AgencyId, Refusal};
use crate::storage::{Committed, Keep, Place, TurnNumber};
use crate::timers::Moment;
use crate::wire::{Malformed, Rejection, Unwelcome};

/// The outcome of a request. Its reply is sent after the turn is committed, and a commit that finds the disk full turns
/// [`Done::Stored`] into a rejection.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was carried out, for an agency of the draw.
    Done { agency: AgencyId, what: Done },
    /// A finish of a connection that has not shown whose it is: its query will.
    FinishUnclaimed,
    /// A batch of no bets.
    NothingToStore,
    /// A batch was not stored. `agency`: whose, where that is known.
    Rejected { agency: Option<AgencyId>, sequence: u64, count: u32, why: Rejection },
    /// A request other than a batch was not carried out.
    Refused(Refused),
    /// The connection ends with it.
    Ended(Ending),
    /// No request: a lost agency takes no part in the draw.
    Excluded { agency: AgencyId },
    /// Taken back, and never answered: its client will send it again.
    Dropped,
    /// A batch under a number that another hub may have stored: the turn asks whether its bets are the same.
    Asked { agency: AgencyId, sequence: u64, count: u32 },
}

impl Outcome {
    /// Whether its reply is the same whatever is stored from now on. `drawn`: the draw is durable, so that no agency's bets or
    /// standing change any more.
    pub(super) fn is_certain(&self, drawn: bool) -> bool {
        match self {
            Outcome::NothingToStore
            | Outcome::Rejected { why: Rejection::Batch(_), .. }
            | Outcome::Refused(Refused::Request(_) | Refused::Connection(Unwelcome::Busy))
            | Outcome::Ended(Ending::Malformed(_) | Ending::Echo(_)) => true,
            Outcome::Done {
                what: Done::Welcome | Done::Finished { first: false } | Done::Query { first: false, .. },
                ..
            }
            | Outcome::Rejected { why: Rejection::Refused(_), .. }
            | Outcome::Refused(Refused::Query(_)) => drawn,
            Outcome::Done { .. }
            | Outcome::FinishUnclaimed
            | Outcome::Rejected { .. }
            | Outcome::Refused(_)
            | Outcome::Ended(_)
            | Outcome::Excluded { .. }
            | Outcome::Asked { .. }
            | Outcome::Dropped => false,
        }
    }
}

/// What was carried out.
#[derive(Debug)]
pub(super) enum Done {
    Welcome,
    Stored {
        place: Place,
        bets: u32,
        log: Option<Box<[LoggedBet]>>,
    },
    /// The same bets were stored under that number before.
    Repeated {
        sequence: u64,
    },
    /// `first`: the agency had not finished before.
    Finished {
        first: bool,
    },
    /// `finishes`: the request said that the agency has no more bets, too; `first`: which it had not said before.
    Query {
        finishes: bool,
        first: bool,
    },
}

/// Why a request other than a batch was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A finish or a query.
    Query(Refusal),
    /// A frame that asks for nothing that its dialect has.
    Request(Malformed),
    /// The connection, which is closed.
    Connection(Unwelcome),
}

/// With what a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// A batch is missing before this one.
    Gap,
    /// The stream cannot be read on.
    Malformed(Malformed),
    /// A line that is sent back.
    Echo(Box<[u8]>),
    /// The hub stops.
    ShuttingDown,
}

/// A stored bet, as far as the log says it.
#[derive(Debug)]
pub struct LoggedBet {
    /// The document.
    pub document: Box<str>,
    /// The number that was bet on.
    pub number: u32,
}

/// An outcome and the connection that waits for it, which may be gone by the time of the reply.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Option<ConnectionId>,
    /// The agency that the request is for, by its own words or its connection's: it may be none of the draw.
    pub(super) claimed: Option<AgencyId>,
    pub(super) outcome: Outcome,
}

impl Entry {
    /// Whether it is a batch that the turn stores.
    pub(super) fn is_stored_batch(&self) -> bool {
        matches!(self.outcome, Outcome::Done { what: Done::Stored { .. }, .. })
    }
}

/// The turn in hand: what was received since the last one was submitted.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) entries: Vec<Entry>,
    /// How many of its requests are untrusted connections'.
    pub(super) untrusted_requests: u32,
    /// Bytes of their frames that were decoded in it, whenever they came.
    pub(super) untrusted_bytes: usize,
}

impl Turn {
    /// What is counted of untrusted connections begins anew.
    pub(super) fn forget_untrusted(&mut self) {
        (self.untrusted_requests, self.untrusted_bytes) = (0, 0);
    }
}

/// The keeper, and what it has in hand for the hub.
#[derive(Debug)]
pub(super) struct Keeping<K> {
    pub(super) keeper: K,
    /// Turns that were submitted and are not settled, oldest first.
    pub(super) in_flight: VecDeque<(TurnNumber, Vec<Entry>)>,
    /// The number of the turn in hand.
    pub(super) next: TurnNumber,
    /// Until then batches are rejected without trying the disk.
    pub(super) full_until: Option<Moment>,
    /// The disk was full, and no batch has been stored since.
    pub(super) was_full: bool,
    /// The last group of records that was seen, and when it was written.
    pub(super) group: u64,
    pub(super) written_at: Moment,
}

impl<K: Keep> Keeping<K> {
    pub(super) fn new(keeper: K, now: Moment) -> Keeping<K> {
        let group = keeper.group();
        let next = TurnNumber::default().next();
        Keeping { keeper, in_flight: VecDeque::new(), next, full_until: None, was_full: false, group, written_at: now }
    }

    /// Whether no turn waits to be settled.
    pub(super) fn has_none_in_flight(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether `turn` is the oldest in flight.
    pub(super) fn is_oldest(&self, turn: TurnNumber) -> bool {
        self.in_flight.front().is_some_and(|(oldest, _)| *oldest == turn)
    }

    /// Whether a batch is in a turn in flight.
    pub(super) fn has_batches(&self) -> bool {
        self.in_flight.iter().any(|(_, entries)| entries.iter().any(Entry::is_stored_batch))
    }

    /// The entries of all turns in flight, in order, which are so no longer: they will be submitted again.
    pub(super) fn take_back(&mut self) -> Vec<Entry> {
        if let Some((oldest, _)) = self.in_flight.front() {
            self.next = *oldest;
        }
        self.in_flight.drain(..).flat_map(|(_, entries)| entries).collect()
    }
}

/// Turns that are durable. [`Hub::commit`](super::Hub::commit) makes it of turns in flight, and
/// [`Hub::release`](super::Hub::release) consumes it: only what it owns
/// is answered. A request that came after a turn was submitted is in a later turn, whatever is released meanwhile.
///
/// ```compile_fail,E0382
/// # use loteria::{hub::Hub, storage::{CommitError, Keep}, timers::Moment};
/// fn answers_what_is_not_stored(hub: &mut Hub<impl Keep>, now: Moment) -> Result<(), CommitError> {
///     let turn = hub.commit(now)?;
///     hub.release(turn, now);
///     // More is received here, and more turns are submitted.
///     hub.release(turn, now);
///     Ok(())
/// }
/// ```
///
/// Nor can one be made or copied:
///
/// ```compile_fail,E0308
/// fn again(turn: &loteria::hub::CommittedTurn) -> loteria::hub::CommittedTurn {
///     turn.clone()
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "its requests wait for their answers"]
pub struct CommittedTurn {
    pub(super) entries: Vec<Entry>,
    /// `None`: no turn was settled, and there are no entries.
    pub(super) proof: Option<Committed>,
}
