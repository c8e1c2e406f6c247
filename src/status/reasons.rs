//! Why batches and requests are refused and connections end, as labels: few, and the same in every run.

use std::collections::BTreeMap;

use crate::hub::{Broken, Closing, Refused};
use crate::lottery::{BatchError, BetError, Refusal};
use crate::wire::{Rejection, Unwelcome};

/// The peer ended the connection, and the hub had no reason to.
pub const BY_THE_PEER: &str = "peer_closed";
/// The peer ended its side in the middle of a frame.
pub const CUT_SHORT: &str = "cut_short";
/// The dialect has no bytes for the reply.
pub const UNREPRESENTABLE: &str = "unrepresentable";
/// A line was sent back.
pub const ECHOED: &str = "echoed";

/// How often each reason was one; no more entries than this file has labels.
pub type Reasons = BTreeMap<&'static str, u64>;

/// The label of a rejected batch.
pub fn of_rejection(why: Rejection) -> &'static str {
    match why {
        Rejection::Batch(error) => of_batch(error),
        Rejection::Refused(refusal) => of_refusal(refusal),
        Rejection::Conflict => "conflict",
        Rejection::StorageFull => "storage_full",
        Rejection::Credentials => "credentials",
    }
}

fn of_batch(error: BatchError) -> &'static str {
    match error {
        BatchError::BadBet { error, .. } => of_bet(error),
        BatchError::Empty => "empty",
        BatchError::Count { .. } => "count",
        BatchError::Malformed => "malformed",
    }
}

fn of_bet(error: BetError) -> &'static str {
    match error {
        BetError::FirstName => "first_name",
        BetError::LastName => "last_name",
        BetError::Document => "document",
        BetError::Birthdate => "birthdate",
        BetError::Number => "number",
        BetError::Fields => "fields",
        BetError::MixedAgencies => "mixed_agencies",
        BetError::Agency => "agency",
    }
}

fn of_refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownAgency => "unknown_agency",
        Refusal::Finished => "finished",
        Refusal::Drawn => "drawn",
        Refusal::Excluded => "excluded",
    }
}

/// The label of a refused request.
pub fn of_refused(why: Refused) -> &'static str {
    match why {
        Refused::Query(refusal) => of_refusal(refusal),
        Refused::Request(_) => "malformed",
        Refused::Connection(Unwelcome::UnknownAgency) => "unknown_agency",
        Refused::Connection(Unwelcome::Credentials) => "credentials",
        Refused::Connection(Unwelcome::Busy) => "busy",
    }
}

/// Why a request was refused, for a person.
pub fn words_of_refused(why: Refused) -> String {
    match why {
        Refused::Query(refusal) => refusal.to_string(),
        Refused::Request(malformed) => malformed.to_string(),
        Refused::Connection(unwelcome) => unwelcome.to_string(),
    }
}

/// The label of a connection that ends for what it sent.
pub fn of_broken(why: Broken) -> &'static str {
    match why {
        Broken::Malformed(_) => "malformed",
        Broken::Gap => "gap",
    }
}

/// The label of a connection that the hub closes.
pub fn of_closing(why: Closing) -> &'static str {
    match why {
        Closing::NoDialectInTime => "handshake_timeout",
        Closing::HubIsFull => "hub_full",
        Closing::StoreIsAway => "store_away",
        Closing::FrameTimeout(_) => "frame_timeout",
        Closing::IdleTimeout => "idle_timeout",
        Closing::WriteTimeout => "write_timeout",
        Closing::PeerHasClosed => "parked_peer_closed",
        Closing::NoDialect => "no_dialect",
        Closing::DialectIsOff(_) => "dialect_off",
        Closing::WinnersUnread => "winners_unread",
        Closing::BuffersAreFull => "buffers_full",
    }
}
