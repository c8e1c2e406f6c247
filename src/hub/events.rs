//! What the hub does, as events. Stored and rejected batches, finishes, exclusions, the draw and refusals are events after
//! their commit; what is found out at once (a lost agency, a full disk, a connection that is closed) is an event at once.

use std::fmt::Debug;

pub use super::connections::{Peer, Unfinished};
pub use super::presence::{Doing, Missing};
use super::turn::{LoggedBet, Refused};
use crate::lottery::AgencyId;
use crate::wire::{Dialect, Malformed, Rejection};

/// Something that the hub did, or found out.
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection speaks for an agency that it has not spoken for before, and a request of that agency was carried out: in
    /// `native` its hello, else its first batch, finish or query.
    Hello {
        /// Whose.
        peer: Peer,
        /// Which agency.
        agency: AgencyId,
        /// In which dialect.
        dialect: Option<Dialect>,
    },
    /// A connection is gone, by its peer's doing or the hub's.
    ConnectionEnded {
        /// Whose.
        peer: Peer,
        /// Its dialect, if it showed one.
        dialect: Option<Dialect>,
        /// The agency that it spoke for last, where a request of that agency was carried out.
        agency: Option<AgencyId>,
    },
    /// A batch is stored.
    Stored {
        /// Whose.
        agency: AgencyId,
        /// Who sent it.
        peer: Peer,
        /// In which dialect; `None` where the connection is gone.
        dialect: Option<Dialect>,
        /// How many bets it has.
        bets: u32,
        /// Those of them that the log says.
        logged: &'a [LoggedBet],
    },
    /// A batch was rejected.
    Rejected {
        /// Whose it is, where that is known: an agency of the draw.
        agency: Option<AgencyId>,
        /// The agency that the sender says it is, which may be none of the draw.
        claimed: Option<AgencyId>,
        /// Who sent it.
        peer: Peer,
        /// How many bets it has.
        count: u32,
        /// Why.
        why: Rejection,
    },
    /// An agency has finished, which it had not before.
    Finished {
        /// Which.
        agency: AgencyId,
        /// Who said so.
        peer: Peer,
        /// In which dialect; `None` where the connection is gone.
        dialect: Option<Dialect>,
        /// How many bets it has, whichever hub has stored them.
        bets: u64,
    },
    /// A request other than a batch was refused.
    Refused {
        /// The sender.
        peer: Peer,
        /// The agency that the sender says it is, which may be none of the draw.
        claimed: Option<AgencyId>,
        /// Why.
        why: Refused,
    },
    /// A connection ends, because what it sent cannot be applied or read.
    Broken {
        /// Whose.
        peer: Peer,
        /// What is wrong.
        why: Broken,
    },
    /// A line is sent back.
    Echoed {
        /// The receiver.
        peer: Peer,
        /// As it came, with its end.
        line: &'a [u8],
    },
    /// The hub closes a connection.
    Closing {
        /// Whose.
        peer: Peer,
        /// Why.
        why: Closing,
    },
    /// Two connections act for one agency by turns: two clients have one id.
    TwoClients {
        /// Which.
        agency: AgencyId,
        /// The first of them.
        peer: Peer,
        /// The other one.
        rival: Peer,
    },
    /// A peer ended its side in the middle of a frame.
    CutShort {
        /// Which.
        peer: Peer,
    },
    /// The connection's dialect cannot represent a reply; the connection is closed.
    Unrepresentable {
        /// Whose.
        peer: Peer,
    },
    /// A connection claims another agency than its certificate says.
    WrongCertificate {
        /// Which.
        peer: Peer,
        /// The one that it claims.
        agency: AgencyId,
    },
    /// The last connection of an agency that has bets and no finish is gone.
    AgencyLost(AgencyId),
    /// An agency that was lost is back.
    AgencyReturned(AgencyId),
    /// A lost agency takes no part in the draw.
    AgencyExcluded(AgencyId),
    /// Queries wait for agencies that have not finished.
    DrawWaits {
        /// Them, ascending, and no more than [`PENDING_NAMED_MAX`].
        agencies: &'a [AgencyId],
        /// There are more.
        more: bool,
    },
    /// A minute is over in which the draw waited for agencies, some of which have been here.
    DrawMisses {
        /// Those that have not finished, ascending, and no more than [`PENDING_NAMED_MAX`].
        missing: &'a [Missing],
        /// There are more.
        more: bool,
    },
    /// Where the log has no line a batch: a second is over in which batches were stored, or the hub ends.
    SummaryDue,
    /// The draw was made.
    Drawn,
    /// The disk has no space: the batches of all turns that are not committed are rejected.
    StoreFull {
        /// What the system says.
        error: &'a std::io::Error,
    },
    /// A batch is stored again, for the first time since the disk was full.
    StoreHasSpace,
    /// A batch that came again could not be compared with the stored one.
    StoreUnreadable {
        /// Whose.
        agency: AgencyId,
        /// What the system says.
        error: &'a std::io::Error,
    },
}

/// How many agencies [`Event::DrawWaits`] and [`Event::DrawMisses`] name.
pub const PENDING_NAMED_MAX: usize = 20;

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It cannot be read on.
    Malformed(Malformed),
    /// A batch is missing before this one.
    Gap,
}

/// Why the hub closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// No dialect within `HANDSHAKE_TIMEOUT`.
    NoDialectInTime,
    /// The hub is full.
    HubIsFull,
    /// A frame was not ended within `FRAME_TIMEOUT`.
    FrameTimeout(Unfinished),
    /// Nothing was received for `IDLE_TIMEOUT`.
    IdleTimeout,
    /// The peer did not read for `WRITE_TIMEOUT`.
    WriteTimeout,
    /// The peer of a parked query has closed.
    PeerHasClosed,
    /// It speaks no dialect, where echo is off.
    NoDialect,
    /// Its dialect is switched off.
    DialectIsOff(Dialect),
    /// It does not read its winners, and others wait for the memory.
    WinnersUnread,
    /// All buffers together are full, and it holds more than most.
    BuffersAreFull,
    /// Nothing can be stored here for now; its client goes on at another hub.
    StoreIsAway,
}

/// Something that follows what the hub does: the log, a status page. It is called in the loop, and must not wait.
pub trait Observer: Debug {
    /// The hub did something.
    fn observe(&mut self, event: &Event<'_>);
}
