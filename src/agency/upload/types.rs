//! What an upload is told, what it asks of its driver, and how it may end.

use std::time::Duration;

use crate::agency::slips::SlipError;
use crate::lottery::AgencyId;
use crate::wire::Dialect;

/// What is to be uploaded, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The agency.
    pub agency: AgencyId,
    /// The dialect.
    pub dialect: Dialect,
    /// The most bets in a batch, at least 1.
    pub bets_max: u32,
    /// When it is done.
    pub goal: Goal,
}

/// When an upload is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// When the winners are here. The bets are all that the agency has: what the hub has already stored of
    /// them is not sent again.
    Winners,
    /// When every bet is confirmed. The bets are more of the agency's, and it does not finish.
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
    /// Carry bytes, both ways.
    Talk,
    /// Carry bytes for so long, then call [`Upload::pause_over`](super::Upload::pause_over).
    Pause(Duration),
    /// Carry what bytes there are without waiting, then call [`Upload::work`](super::Upload::work).
    Work,
    /// Nothing: see [`Upload::outcome`](super::Upload::outcome).
    Over,
}

/// What a person might want to know; what a log has lines for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Batches are known to be stored, or, in dialects that acknowledge none, on their way.
    Progress {
        /// Batches.
        batches: u64,
        /// Their bets.
        bets: u64,
        /// How much of the slips' extent they reach to.
        position: u64,
    },
    /// The hub had these already: they were not sent.
    Resumed {
        /// Batches.
        batches: u64,
        /// Their bets.
        bets: u64,
        /// How much of the slips' extent they reach to.
        position: u64,
    },
    /// The hub no longer has what it acknowledged: it is sent again from batch `next` on.
    Forgotten {
        /// The first batch that it lacks.
        next: u64,
    },
    /// A batch without an answer is sent again, in a dialect that may then store it twice.
    MayRepeat {
        /// Its bets.
        bets: u32,
    },
    /// The hub has no room, and is asked again after the pause.
    Full {
        /// The hub's words.
        reason: String,
        /// How long until it is asked again.
        pause: Duration,
    },
    /// Every bet is stored, or, in dialects that acknowledge no batch, on its way.
    AllSent {
        /// Batches.
        batches: u64,
        /// Bets.
        bets: u64,
    },
    /// The hub has noted that the agency has no more bets.
    Finished,
    /// The draw has not been, and the winners are asked for again after the pause.
    NotDrawn,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As planned.
    Done {
        /// The agency's winners, a document each; empty where they were not asked for.
        winners: Vec<String>,
        /// What the hub did not store as it should have, although the winners are here.
        doubt: Option<String>,
    },
    /// It cannot be done.
    Failed(Failure),
}

/// Why an upload cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The bets.
    Slips(SlipError),
    /// The hub refuses a batch, and would again.
    Rejected {
        /// The line of the batch's first bet.
        first_line: u64,
        /// The line of its last bet.
        last_line: u64,
        /// The hub's words.
        reason: String,
    },
    /// The hub refuses something else, or what it says makes going on pointless.
    Refused {
        /// What was under way.
        stage: Stage,
        /// Why, in words.
        reason: String,
    },
}

/// Where an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Without a connection.
    Apart,
    /// The hello is on its way.
    Greeting,
    /// Passing over batches that the hub has.
    Skipping {
        /// Up to this index.
        to: u64,
    },
    /// The last batch that the hub has is sent again: it must be the same.
    Comparing,
    /// Batches are on their way.
    Betting,
    /// The finish is on its way.
    Finishing,
    /// The query is on its way; the answer may take as long as the draw does.
    Querying,
}
