//! The errors of a store, with messages for the operator.

use std::io;

use crate::lottery::BatchError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A system call failed.
    #[error("cannot {doing} {file}: {error}")]
    Io {
        /// Path.
        file: String,
        /// What was attempted: a verb, with a preposition where the path needs one.
        doing: &'static str,
        /// The system's error.
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
        /// Offset in the file, in bytes.
        offset: u64,
        /// What is wrong there, and what the operator can do.
        what: String,
    },
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The disk is full. Everything staged was rolled back, durably, and the store can be used.
    #[error("no space left: {0}")]
    Full(io::Error),
    /// Nothing may be acknowledged any more. The server must stop.
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
    /// The batch cannot be decoded, or breaks a rule.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The journal could not be read.
    #[error("{0}")]
    Io(io::Error),
}
