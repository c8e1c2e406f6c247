//! How far a connection has come, and why one is of no more use.

use std::io;

use super::network::Refused;
use super::options::LedgerError;

/// Why a connection is of no more use.
#[derive(Debug)]
pub(super) enum LinkError {
    /// It is lost, or says what it should not: what was in flight on it is in doubt. Another one may do.
    Lost(String),
    /// This host is a standby.
    Standby,
    /// The network refuses it, and will the next time: a certificate, for instance.
    Refused(String),
    /// A person has to mend something.
    Mend(LedgerError),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> LinkError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()) {
            Some(Refused(reason)) => LinkError::Refused(reason.clone()),
            None => LinkError::Lost(error.to_string()),
        }
    }
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::Lost(reason) | LinkError::Refused(reason) => f.write_str(reason),
            LinkError::Standby => f.write_str("PostgreSQL is a standby there"),
            LinkError::Mend(error) => error.fmt(f),
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Start-up and password.
    Authentication,
    /// Is it a leader, and durable?
    Checks,
    /// Which schema is there?
    Format,
    /// It could be used: it waits for the word to go on.
    Checked,
    /// Is the schema whole, and may it be written?
    Needs,
    /// The draw's rows are made where they are missing.
    Draw,
    /// Statements are prepared.
    Prepare,
    /// Notifications are asked for.
    Listen,
    /// A new epoch begins; that waits for what an earlier connection may still be doing.
    Fence,
    /// It can be used.
    Open,
}
