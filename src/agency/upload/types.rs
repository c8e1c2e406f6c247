//! The interface of an upload: its plan, its events, its requests to the driver, and its outcomes.

use std::time::Duration;

use crate::agency::bet_reader::BetReaderError;
use crate::lottery::AgencyId;
use crate::wire::Dialect;

/// The parameters of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The agency.
    pub agency: AgencyId,
    /// The dialect.
    pub dialect: Dialect,
    /// The most bets in a batch, at least 1.
    pub bets_max: u32,
    /// When the upload is done.
    pub goal: Goal,
    /// Whether the agency may finish without bets, which is final.
    pub empty: bool,
}

/// When an upload is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// When the winners are received. The bets are all of the agency's: stored ones are not sent again.
    Winners,
    /// When every bet is acknowledged. The bets are additional ones, and the agency does not finish.
    Confirmed,
}

/// What the driver has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Open a connection after this pause, then call [`Upload::connected`](super::Upload::connected), or [`Upload::lost`](super::Upload::lost) if that failed.
    Connect {
        /// Zero at first.
        pause: Duration,
    },
    /// Send and receive.
    Talk,
    /// Send and receive for this time, then call [`Upload::pause_over`](super::Upload::pause_over).
    Pause(Duration),
    /// Send and receive without blocking, then call [`Upload::work`](super::Upload::work).
    Work,
    /// Nothing: the upload has an [`outcome`](super::Upload::outcome).
    Over,
}

/// An event for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Batches are stored, or, in dialects without acknowledgements, sent.
    Progress {
        /// Batches.
        batches: u64,
        /// Their bets.
        bets: u64,
        /// How much of the source's extent they cover.
        position: u64,
    },
    /// The hub had these batches already: they were not sent.
    Resumed {
        /// Batches.
        batches: u64,
        /// Their bets.
        bets: u64,
        /// How much of the source's extent they cover.
        position: u64,
    },
    /// The hub has lost acknowledged batches, which are sent again from batch `next` on.
    Forgotten {
        /// The first batch that the hub lacks.
        next: u64,
    },
    /// An unacknowledged batch is sent again, in a dialect that may store it twice.
    MayRepeat {
        /// Its bets.
        bets: u32,
    },
    /// The hub's disk is full; the request is sent again after the pause.
    Full {
        /// The hub's message.
        reason: String,
        /// The pause.
        pause: Duration,
    },
    /// Every bet is stored, or, in dialects without acknowledgements, sent.
    AllSent {
        /// Batches.
        batches: u64,
        /// Bets.
        bets: u64,
    },
    /// The hub has stored the finish.
    Finished,
    /// The draw waits for agencies: `named`, or more.
    DrawWaits {
        /// How many there are.
        missing: u32,
        /// The first of them, ascending.
        named: Vec<AgencyId>,
    },
    /// The draw has not been; the query is repeated after the pause.
    NotDrawn,
}

/// The outcome of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The goal is reached.
    Done {
        /// The documents of the agency's winners; empty if they were not queried.
        winners: Vec<String>,
        /// Why the hub may not have stored all bets, although it sent the winners.
        doubt: Option<String>,
    },
    /// The upload failed.
    Failed(Failure),
}

/// Why an upload failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The bets cannot be read.
    Bets(BetReaderError),
    /// There are no bets, and the agency may not finish without any.
    Empty,
    /// The hub rejects a batch, and would reject it again.
    Rejected {
        /// The line of the batch's first bet.
        first_line: u64,
        /// The line of its last bet.
        last_line: u64,
        /// The hub's message.
        reason: String,
    },
    /// The hub refuses another request, or its reply makes the upload impossible.
    Refused {
        /// The stage.
        stage: Stage,
        /// The reason.
        reason: String,
    },
}

/// The stage of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not connected.
    Disconnected,
    /// The hello is sent.
    Hello,
    /// Batches that the hub has are skipped.
    Skipping {
        /// The index after the last of them.
        to: u64,
    },
    /// The last batch that the hub has is sent again, to compare it.
    Comparing,
    /// Batches are sent.
    Betting,
    /// The finish is sent.
    Finishing,
    /// The query is sent; the reply may take until the draw.
    Querying,
}
