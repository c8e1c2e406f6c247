//! Why a command of the operator failed, in one line, and with which exit code.

use std::io;
use std::path::PathBuf;

use crate::agency::BetReaderError;
use crate::config::ConfigError;
use crate::storage::{EngineError, OpenError};

/// What to do about a socket that cannot be connected.
fn to_reach_it(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "only root and the hub's user may ask it: run this command as one of them"
    } else if error.kind() == io::ErrorKind::InvalidInput {
        "the path of a socket has 107 bytes at most: run this command in the socket's folder and name it by a relative path, or \
         have [STATUS] SOCKET name another place"
    } else {
        "start it, or say where it is: --store PATH or --socket PATH, as `store:` and `status:` of the first line of its \
         log have them, or --config FILE as the server has it"
    }
}

/// What to do about a store that is not there.
fn to_find_it(error: &OpenError) -> &'static str {
    match error {
        OpenError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            "; say where it is: --store PATH, or --config FILE as the hub has it"
        }
        OpenError::Io { .. } | OpenError::Locked { .. } | OpenError::Damaged { .. } => "",
    }
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An argument cannot be used.
    #[error("{0} (try --help)")]
    Usage(String),
    /// The configuration says where the hub is, and cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store is damaged, cannot be read, or is in use by a hub that is starting.
    #[error("{0}{todo}", todo = to_find_it(.0))]
    Store(#[from] OpenError),
    /// The store is to be moved, and a hub uses it.
    #[error("a hub or a check uses the store {}; stop it first, then try again", store.display())]
    InUse {
        /// The rows' path.
        store: PathBuf,
    },
    /// The engine cannot be used, or what it has is not as it should be.
    #[error("{0}")]
    Engine(EngineError),
    /// A file cannot be written.
    #[error("cannot write {}: {error}", file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file of an agency cannot be read.
    #[error("{0}")]
    Bets(#[from] BetReaderError),
    /// No hub answers at this socket.
    #[error(
        "no hub answers at {}: {error}; {}",
        std::path::absolute(socket).as_ref().unwrap_or(socket).display(),
        to_reach_it(error)
    )]
    NotRunning {
        /// The socket's path.
        socket: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The configuration switches the socket off.
    #[error("[STATUS] SOCKET = off: this hub has no socket at which it can be asked")]
    NoSocket,
    /// The hub's answer says no, or cannot be understood.
    #[error("{0}")]
    Answer(String),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// A signal asked for the end.
    #[error("stopped by a signal")]
    Stopped,
}

impl Failure {
    /// The exit code, from the list in `README.md`.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Config(_) => 2,
            Failure::Store(OpenError::Damaged { .. }) | Failure::Engine(EngineError::Damaged { .. }) => 65,
            Failure::Engine(EngineError::Mend(_)) => 2,
            Failure::Engine(EngineError::Away(_)) => 69,
            Failure::Engine(_) | Failure::File { .. } => 1,
            Failure::Store(OpenError::Io { .. }) => 74,
            Failure::Store(OpenError::Locked { .. }) | Failure::InUse { .. } => 75,
            Failure::Stopped => 130,
            Failure::Bets(_) | Failure::NotRunning { .. } | Failure::NoSocket => 1,
            Failure::Answer(_) | Failure::Output(_) => 1,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        if let EngineError::Store(error) = error { Failure::Store(error) } else { Failure::Engine(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_a_socket_is_said_by_its_error() {
        let said = |kind: io::ErrorKind| Failure::NotRunning { socket: "/s".into(), error: kind.into() }.to_string();
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(denied.contains("run this command as one of them") && !denied.contains("start it"), "{denied}");
        let long = said(io::ErrorKind::InvalidInput);
        assert!(long.contains("107 bytes at most") && !long.contains("start it"), "{long}");
        let refused = said(io::ErrorKind::ConnectionRefused);
        assert!(refused.contains("start it") && refused.contains("--socket PATH"), "{refused}");
    }
}
