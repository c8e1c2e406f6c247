//! What every dialect's bytes mean: requests, replies, and the client's view of an answer.

use crate::lottery::{AgencyId, BatchError, Bet, Refusal};

/// What the first bytes of a stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not a whole frame yet; one cannot be whole before `need` bytes are here.
    Incomplete {
        /// Bytes from the start of the frame, more than there are now.
        need: usize,
    },
    /// The first `bytes` bytes are one frame.
    Complete {
        /// The frame's length in bytes, at least 1.
        bytes: usize,
    },
    /// No frame of this dialect starts like this.
    Malformed(Malformed),
}

/// A stream that cannot be read on: what is wrong with it, in words for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What a dialect needs to know besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The longest frame that is accepted, in bytes.
    pub frame_bytes_max: usize,
    /// No frame has been decoded on this connection yet.
    pub opening: bool,
    /// How many of the bytes an earlier look has already seen.
    pub scanned: usize,
}

/// Which agency a request speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The one that the frame names.
    Named(AgencyId),
    /// The one that the connection has shown or been given.
    Connection,
}

/// One decoded frame. `B` is its dialect's batch.
#[derive(Clone, Debug)]
pub enum Request<B> {
    /// Opens the connection of an agency.
    Hello(AgencyId),
    /// Store these bets, all or none.
    Batch(Batch<B>),
    /// The agency has no more bets.
    Finish(Speaker),
    /// The agency wants its winners.
    Query(Speaker),
    /// The agency has no more bets and wants its winners.
    FinishAndQuery(Speaker),
    /// A batch of no bets which, having none, names no agency either: in dialects where only bets name one
    /// (`case-id`, `key-value`) and an empty batch is no error. It is answered as stored, whoever sent it,
    /// and neither stores nor changes anything; [`Reply::Stored::next`] says nothing there.
    EmptyBatch,
    /// A batch whose first bet cannot be read, or that has none and has to, in dialects where bets name the
    /// agency: nobody's bets, and nothing to look up in the draw. It is answered with [`Reply::Rejected`] as a
    /// batch that failed to decode, and logged with its count. An agency that is a number is never the cause:
    /// it is left to the draw to know it (a number over 32 bits stands as agency 0, which no draw has).
    BadBatch {
        /// As [`Bets::count`](super::Bets::count).
        count: u32,
        /// What is wrong with it; never [`BatchError::Malformed`].
        error: BatchError,
    },
    /// A request that is whole but says nothing that can be done; its dialect has an answer for it.
    Refused(Malformed),
    /// Send the frame's own bytes back.
    Echo,
}

/// A batch of bets, still in its dialect's bytes.
#[derive(Clone, Debug)]
pub struct Batch<B> {
    /// Whose bets they are.
    pub agency: Speaker,
    /// The sequence number that the client gave it, in dialects that have one.
    pub sequence: Option<u64>,
    /// The bets; see [`BetSource`](crate::lottery::BetSource), and [`Bets::count`](super::Bets::count).
    pub bets: B,
}

/// Why a batch was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Its bets.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its agency, or its time.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Other bets are stored under its sequence number.
    #[error("other bets are stored under this sequence number")]
    Conflict,
    /// There is no room for it on the disk; uploads go on when there is.
    #[error("no space left to store it")]
    StorageFull,
    /// The connection may not speak for its agency.
    #[error("the connection may not speak for this agency")]
    Credentials,
}

/// Why a connection was not welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// The agency is not of this draw, or no longer.
    #[error("the agency is not of this draw")]
    UnknownAgency,
    /// The connection's certificate is another agency's.
    #[error("the connection may not speak for this agency")]
    Credentials,
    /// The hub has no room for one more connection.
    #[error("the hub is busy")]
    Busy,
}

/// What the hub answers; each dialect has its own bytes for it, or none.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// The agency may go on at batch `next`.
    Welcome {
        /// Sequence number of the agency's next batch.
        next: u64,
    },
    /// The connection is not wanted; it is closed.
    Unwelcome(Unwelcome),
    /// A batch is stored, as durably as configured.
    Stored {
        /// Sequence number of the agency's next batch.
        next: u64,
    },
    /// Nothing of a batch is stored.
    Rejected {
        /// The number that the client gave it.
        sequence: u64,
        /// Why.
        why: Rejection,
    },
    /// A finish is noted.
    Finished {
        /// Batches stored for the agency.
        batches: u64,
        /// Bets stored for the agency.
        bets: u64,
        /// Whether every batch of this connection was stored.
        all_stored: bool,
    },
    /// The agency's winners, after the draw.
    Winners {
        /// Whose.
        agency: AgencyId,
        /// All of them, in the order in which they were stored.
        bets: &'a [Bet],
    },
    /// A query before the draw, where early queries are rejected.
    NotDrawn,
    /// A finish or a query was refused.
    Refused(Refusal),
    /// A whole request that says nothing that can be done.
    BadRequest(Malformed),
    /// A sequence number above the next one; the connection is closed.
    Gap,
    /// The stream cannot be read on; the connection is closed.
    Malformed(Malformed),
    /// The hub is stopping; the connection is closed.
    ShuttingDown,
    /// The bytes of an echo.
    Echo(&'a [u8]),
}

/// What becomes of a connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It goes on.
    Open,
    /// It is closed once the reply has been sent.
    Close,
    /// As [`After::Close`], but the reply is more than the dialect can say, so that what is sent is its error,
    /// or nothing: the peer does not have what it asked for, and the log should say so.
    CloseUnsaid,
}

/// What a client reads from the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The hub expects batch `next` of this agency.
    Welcome {
        /// Sequence number.
        next: u64,
    },
    /// The hub does not want this connection.
    Unwelcome(Unwelcome),
    /// The oldest unanswered batch is stored.
    Stored,
    /// Every batch below `next` is stored.
    StoredBelow {
        /// Sequence number.
        next: u64,
    },
    /// A batch was rejected: the oldest unanswered one, or the one numbered `sequence`.
    Rejected {
        /// Which, in dialects that say so.
        sequence: Option<u64>,
        /// What a client can do about it.
        cause: Cause,
        /// The hub's words, or the dialect's in words.
        reason: String,
    },
    /// The finish is noted.
    Finished {
        /// False where the hub rejected a batch of this connection.
        all_stored: bool,
        /// Bets stored for the agency, in dialects that say so.
        bets: Option<u64>,
    },
    /// The agency's winners.
    Winners {
        /// A document each.
        documents: Vec<String>,
    },
    /// The draw has not been: ask again.
    NotDrawn,
    /// The hub refuses what was asked, or closes.
    Error {
        /// What a client can do about it.
        cause: Cause,
        /// The hub's words, or the dialect's in words.
        reason: String,
    },
}

/// Why the hub refused something, as far as a client has to tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The dialect does not say.
    Unsaid,
    /// The same bytes will be refused again.
    Permanent,
    /// The agency has finished, or the draw has been.
    Late,
    /// Other bets are stored under this sequence number.
    Conflict,
    /// The hub has no room now; later it may.
    StorageFull,
    /// The hub is stopping; the next one may answer.
    ShuttingDown,
    /// The stream is out of step or damaged; a new connection starts afresh.
    Stream,
}

/// What a client waits for; some dialects' answers can only be told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expecting {
    /// The answer to a hello.
    Welcome,
    /// The answer to a batch.
    Stored,
    /// The answer to a finish.
    Finished,
    /// The answer to a query.
    Winners,
}

/// A bet that a dialect has no bytes for: why, in words for the person whose bet it is. Sent all the same, it
/// would reach the hub as another bet, or as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsayable(pub &'static str);

/// What a client does differently per dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRules {
    /// A hello opens the connection, and its answer says where to go on.
    pub hello: bool,
    /// How many batches may be on their way unanswered; `usize::MAX` where none is ever answered.
    pub window: usize,
    /// Whether batches are answered at all.
    pub batches_answered: bool,
    /// Whether a finish is a message of its own; else the query says it too.
    pub finish: bool,
    /// The most bytes that a batch's frame has besides its bets.
    pub batch_overhead_bytes: usize,
    /// Whether a batch sent twice is stored once.
    pub exactly_once: bool,
    /// Whether a client can go on with a new connection where one was lost: not where the connection is what
    /// the hub knows the agency by, nor where no answer says which batches are stored.
    pub resumable: bool,
}

/// What the hub does differently per dialect, beyond decoding frames and encoding replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerRules {
    /// Batches are in flight unanswered: acknowledgements are cumulative, and after a rejection nothing
    /// counts until the rejected number comes again.
    pub in_flight: bool,
    /// An early query may be answered "not yet", where `EARLY_QUERY = reject`: its clients poll.
    pub polls: bool,
    /// Its clients may open a connection per message, so that an agency is lost by silence, not by a
    /// connection that ends.
    pub reconnects: bool,
    /// A finish may come before the connection has shown whose it is; its query will tell.
    pub finish_before_agency: bool,
}
