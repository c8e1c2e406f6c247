//! The meaning of every dialect's bytes: requests, replies, and a reply as a client reads it.

use crate::lottery::{AgencyId, BatchError, Bet, Refusal};

/// The first frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// An incomplete frame, which has at least `need` bytes.
    Incomplete {
        /// Bytes from the start of the frame, more than have been received.
        need: usize,
    },
    /// The first `bytes` bytes are one frame.
    Complete {
        /// The frame's length in bytes, at least 1.
        bytes: usize,
    },
    /// Bytes with which no frame of this dialect starts.
    Malformed(Malformed),
}

/// A malformed stream, with the reason for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// The input of a decoder besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The longest frame that is accepted, in bytes.
    pub frame_bytes_max: usize,
    /// No frame has been decoded on this connection yet.
    pub opening: bool,
    /// How many of the bytes were scanned before without finding the frame's end.
    pub scanned: usize,
}

/// The agency of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The agency that the frame names.
    Named(AgencyId),
    /// The agency that the connection has named or was assigned.
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
    /// A batch without bets, and so without an agency, in dialects where only bets name the agency
    /// (`case-id`, `key-value`) and an empty batch is no error. The reply is [`Reply::Stored`], whose
    /// [`next`](Reply::Stored::next) has no meaning, and nothing is stored or changed.
    EmptyBatch,
    /// A batch without a known agency, in dialects where bets name the agency: its first bet cannot be read, or it must
    /// have bets and has none. The reply is [`Reply::Rejected`] as for a batch that failed to decode, and the count is logged.
    /// An agency that is a number is never the cause, because only the draw knows the roster (a number over 32 bits
    /// becomes agency 0, which is in no roster).
    BadBatch {
        /// As [`Bets::count`](super::Bets::count).
        count: u32,
        /// The reason; never [`BatchError::Malformed`].
        error: BatchError,
    },
    /// An invalid request in a well-formed frame, for which the dialect has an error reply.
    Refused(Malformed),
    /// While its query waits for the draw, the connection wants to be told whom the draw waits for. It has no reply of its
    /// own: [`Reply::Waiting`] may follow, any number of times.
    Watch,
    /// Send the frame's own bytes back.
    Echo,
}

/// A batch of bets, still in its dialect's bytes.
#[derive(Clone, Debug)]
pub struct Batch<B> {
    /// The bets' agency.
    pub agency: Speaker,
    /// The sequence number, in dialects that have one.
    pub sequence: Option<u64>,
    /// The bets; see [`BetSource`](crate::lottery::BetSource), and [`Bets::count`](super::Bets::count).
    pub bets: B,
}

/// Why a batch was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A bet is invalid, or the batch is.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The agency is not in the roster, or the batch is too late.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Other bets are stored under its sequence number.
    #[error("other bets are stored under this sequence number")]
    Conflict,
    /// The disk is full; batches are stored again when there is space.
    #[error("no space left to store it")]
    StorageFull,
    /// The connection may not act for the batch's agency.
    #[error("the connection may not speak for this agency")]
    Credentials,
}

/// Why a hello was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// The agency is not in the roster, or is excluded.
    #[error("the agency is not of this draw")]
    UnknownAgency,
    /// The connection's certificate names another agency.
    #[error("the connection may not speak for this agency")]
    Credentials,
    /// The hub has no free slot.
    #[error("the hub is busy")]
    Busy,
}

/// How many agencies a [`Reply::Waiting`] names.
pub const WAITING_NAMED_MAX: usize = 16;

/// A reply of the hub; each dialect has its own bytes for it, or none.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// The hello is accepted; the agency may continue with batch `next`.
    Welcome {
        /// Sequence number of the agency's next batch.
        next: u64,
    },
    /// The hello is refused; the connection is closed.
    Unwelcome(Unwelcome),
    /// A batch is stored, as durably as configured.
    Stored {
        /// Sequence number of the agency's next batch.
        next: u64,
    },
    /// Nothing of a batch is stored.
    Rejected {
        /// The batch's sequence number.
        sequence: u64,
        /// The reason.
        why: Rejection,
    },
    /// A finish is stored.
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
        /// The agency.
        agency: AgencyId,
        /// All winners, in the order in which they were stored.
        bets: &'a [Bet],
    },
    /// A query before the draw, where early queries are rejected.
    NotDrawn,
    /// The draw waits for agencies. Only a connection that asked for it by [`Request::Watch`] gets it, before its winners.
    Waiting {
        /// How many agencies have not finished.
        missing: u32,
        /// The first of them, ascending: [`WAITING_NAMED_MAX`] at most.
        named: &'a [AgencyId],
    },
    /// A finish or a query is refused.
    Refused(Refusal),
    /// An invalid request in a well-formed frame.
    BadRequest(Malformed),
    /// A sequence number above the next one; the connection is closed.
    Gap,
    /// The stream is malformed; the connection is closed.
    Malformed(Malformed),
    /// The hub is stopping; the connection is closed.
    ShuttingDown,
    /// The bytes of an echo.
    Echo(&'a [u8]),
}

/// What happens to a connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays open.
    Open,
    /// It is closed once the reply has been sent.
    Close,
    /// As [`After::Close`], but the dialect cannot represent the reply, so that an error or nothing is sent. The log
    /// should say that the peer did not get its reply.
    CloseUnrepresentable,
}

/// A reply as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The hub expects batch `next` of this agency.
    Welcome {
        /// The sequence number.
        next: u64,
    },
    /// The hub refuses the hello.
    Unwelcome(Unwelcome),
    /// The oldest unacknowledged batch is stored.
    Stored,
    /// Every batch below `next` is stored.
    StoredBelow {
        /// The sequence number.
        next: u64,
    },
    /// A batch was rejected: the oldest unacknowledged one, or the one with number `sequence`.
    Rejected {
        /// The batch's number, in dialects whose replies have it.
        sequence: Option<u64>,
        /// The cause.
        cause: Cause,
        /// The hub's message, or a description of the dialect's reply.
        reason: String,
    },
    /// The finish is stored.
    Finished {
        /// False if the hub rejected a batch of this connection.
        all_stored: bool,
        /// Bets stored for the agency, in dialects whose replies have it.
        bets: Option<u64>,
    },
    /// The agency's winners.
    Winners {
        /// The document of each winner.
        documents: Vec<String>,
        /// The bets of the same winners, in dialects whose replies have them; `None` if one is not valid.
        bets: Option<Vec<Bet>>,
    },
    /// The draw has not been: query again.
    NotDrawn,
    /// The draw waits for agencies; the winners follow in their time.
    Waiting {
        /// How many agencies have not finished.
        missing: u32,
        /// The first of them, ascending.
        named: Vec<AgencyId>,
    },
    /// The hub refuses the request, or closes.
    Error {
        /// The cause.
        cause: Cause,
        /// The hub's message, or a description of the dialect's reply.
        reason: String,
    },
}

/// Why the hub refused a request, as far as a client acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The dialect does not carry the cause.
    Unsaid,
    /// The same request would be refused again.
    Permanent,
    /// The agency has finished, or the draw has been.
    Late,
    /// Other bets are stored under this sequence number.
    Conflict,
    /// The hub's disk is full now.
    StorageFull,
    /// The hub is stopping; it may be started again.
    ShuttingDown,
    /// The stream is out of sequence or damaged; a new connection starts a new one.
    Stream,
}

/// The reply that a client waits for; in some dialects it is needed to parse the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expecting {
    /// The reply to a hello.
    Welcome,
    /// The reply to a batch.
    Stored,
    /// The reply to a finish.
    Finished,
    /// The reply to a query.
    Winners,
}

/// A bet that a dialect cannot represent, with a reason for the user. If it were sent, the hub would read another bet,
/// or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unrepresentable(pub &'static str);

/// Rules for a client of a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRules {
    /// Whether a hello opens the connection; its reply has the number of the next batch.
    pub hello: bool,
    /// The window in batches; `usize::MAX` if batches are not acknowledged.
    pub window: usize,
    /// Whether batches are acknowledged.
    pub batches_answered: bool,
    /// Whether the finish is a message of its own; otherwise the query includes it.
    pub finish: bool,
    /// The most bytes that a batch's frame has besides its bets.
    pub batch_overhead_bytes: usize,
    /// Whether a batch that is sent twice is stored once.
    pub exactly_once: bool,
    /// Whether a client can continue on a new connection after a lost one. It cannot if the hub knows the agency by its
    /// connection only, or if no reply says which batches are stored.
    pub resumable: bool,
}

/// Behaviour that a dialect needs from the hub, besides replies to its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerRules {
    /// Many batches may be in flight: acknowledgements are cumulative, and after a rejection later batches are dropped
    /// until the rejected number is sent again.
    pub in_flight: bool,
    /// The reply to an early query may be "not yet", with `EARLY_QUERY = reject`.
    pub polls: bool,
    /// Clients may open a connection per message, so that an agency is lost by its silence, not by the end of a
    /// connection.
    pub reconnects: bool,
    /// A finish may be received before the connection's agency is known; the query then names the agency.
    pub finish_before_agency: bool,
    /// A frame has no length: its end is searched for, so that an incomplete frame takes all bytes that come.
    pub searches_for_end: bool,
}

impl ServerRules {
    /// Nothing but the replies.
    pub const NONE: ServerRules = ServerRules {
        in_flight: false,
        polls: false,
        reconnects: false,
        finish_before_agency: false,
        searches_for_end: false,
    };
}
