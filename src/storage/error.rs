//! What can go wrong with a store, in words for the person who runs it.

use crate::lottery::BatchError;
use std::io;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused.
    #[error("cannot {doing} {file}: {error}")]
    Io {
        /// Path.
        file: String,
        /// A verb.
        doing: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// Another server holds it.
    #[error("another server holds the store {file}")]
    Locked {
        /// Path of the rows.
        file: String,
    },
    /// Committed data is damaged. Nothing has been modified.
    #[error("{file}: damaged at byte {offset}: {what}")]
    Damaged {
        /// Path.
        file: String,
        /// Where, in bytes from the start.
        offset: u64,
        /// What is wrong there, and what can be done.
        what: String,
    },
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No space: everything staged was taken back, durably; the store goes on.
    #[error("no space left: {0}")]
    Full(io::Error),
    /// Nothing may be acknowledged any more; the server must stop.
    #[error("{0}")]
    Fatal(io::Error),
}

impl CommitError {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            CommitError::Full(error) | CommitError::Fatal(error) => error,
        }
    }
}

/// Why a batch could not be compared with the one stored.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// It cannot be decoded, or breaks a rule.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The journal could not be read.
    #[error("{0}")]
    Io(io::Error),
}
