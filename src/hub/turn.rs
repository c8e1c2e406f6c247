//! What a turn has in hand: every request's outcome, waiting for the commit.

use super::Hub;
use super::connection::ConnectionId;
use crate::limits;
use crate::lottery::{AgencyId, Refusal};
use crate::storage::{Committed, Disk};
use crate::wire::{Malformed, Rejection, Unwelcome};

/// What became of a request. Nothing of it is said to anyone before the turn is committed, and a commit that
/// finds the disk full turns [`Outcome::Stored`] into a rejection.
#[derive(Debug)]
pub(super) enum Outcome {
    Welcome {
        agency: AgencyId,
    },
    Unwelcome(Unwelcome),
    Stored {
        agency: AgencyId,
        sequence: u64,
        bets: u32,
        log: Option<Box<[LoggedBet]>>,
    },
    Repeated {
        agency: AgencyId,
        sequence: u64,
    },
    NothingToStore,
    Rejected {
        sequence: u64,
        count: u32,
        why: Rejection,
    },
    /// `first`: the agency had not finished before.
    Finished {
        agency: Option<AgencyId>,
        first: bool,
    },
    /// `finishes`: the request said that the agency has no more bets, too; `first`: which it had not said before.
    Query {
        agency: AgencyId,
        finishes: bool,
        first: bool,
    },
    Refused(Refusal),
    BadRequest(Malformed),
    Gap,
    Malformed(Malformed),
    Echo(Box<[u8]>),
    ShuttingDown,
    Excluded {
        agency: AgencyId,
    },
    /// Taken back, and never answered: its client will send it again.
    Dropped,
}

impl Outcome {
    /// The agency whose state the reply tells.
    pub(super) fn agency(&self) -> Option<AgencyId> {
        match self {
            Outcome::Finished { agency, .. } => *agency,
            Outcome::Welcome { agency }
            | Outcome::Stored { agency, .. }
            | Outcome::Repeated { agency, .. }
            | Outcome::Query { agency, .. }
            | Outcome::Excluded { agency } => Some(*agency),
            Outcome::Unwelcome(_)
            | Outcome::NothingToStore
            | Outcome::Rejected { .. }
            | Outcome::Refused(_)
            | Outcome::BadRequest(_)
            | Outcome::Gap
            | Outcome::Malformed(_)
            | Outcome::Echo(_)
            | Outcome::ShuttingDown
            | Outcome::Dropped => None,
        }
    }
}

/// What the log says of a stored bet.
#[derive(Debug)]
pub(super) struct LoggedBet {
    pub(super) document: Box<str>,
    pub(super) number: u32,
}

/// An outcome and the connection that waits for it, which may be gone by the time of the reply.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Option<ConnectionId>,
    pub(super) outcome: Outcome,
}

/// A turn that is durable. [`Hub::commit`] makes it of the turn in hand, and [`Hub::release`] consumes it: only what
/// it owns is answered. A request that came after the commit is in the next turn, whatever is released meanwhile.
///
/// ```compile_fail,E0382
/// # use loteria::{hub::Hub, storage::{CommitError, Disk}, timers::Moment};
/// fn answers_what_is_not_stored(hub: &mut Hub<impl Disk>, now: Moment) -> Result<(), CommitError> {
///     let turn = hub.commit(now)?;
///     hub.release(turn, now);
///     // More is received here.
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
#[derive(Debug)]
#[must_use = "its requests wait for their answers"]
pub struct CommittedTurn {
    pub(super) entries: Vec<Entry>,
    pub(super) proof: Committed,
}

impl<D: Disk> Hub<D> {
    /// Whether the turn in hand should end before more is received: it has many rows to write, or many
    /// requests to answer.
    pub fn turn_is_full(&self) -> bool {
        self.store.staged_bytes() > limits::TURN_ROWS_BYTES
            || self.store.looked_at_bytes() > limits::TURN_LOOKED_AT_BYTES
            || self.turn.len() >= self.scheduler.budgets.turn_requests
    }

    /// Whether this turn has enough requests of untrusted connections.
    pub fn untrusted_are_served(&self) -> bool {
        self.untrusted_requests >= self.scheduler.budgets.untrusted_requests
    }

    /// How many bytes of untrusted connections' frames were decoded in this turn, most of which may have come long before.
    pub fn untrusted_bytes(&self) -> usize {
        self.untrusted_bytes
    }
}
