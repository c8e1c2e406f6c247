//! Why a command of the operator could not do its work in the engine.

use std::io;

use super::answers::ServerError;
use super::options::LedgerError;
use super::stage::LinkError;
use crate::lottery::AgencyId;
use crate::storage::error::OpenError;

/// A command over PostgreSQL that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A person has to mend something.
    #[error("[POSTGRES] {0}")]
    Mend(LedgerError),
    /// No host is a leader that answers, or the connection is lost.
    #[error("PostgreSQL cannot be reached: {0}")]
    Away(String),
    /// The engine refuses a statement.
    #[error("{0}")]
    Refused(String),
    /// A commit may be on one node alone, or not be there at all.
    #[error("whether it is stored is in doubt: {0}; look with loteria verify")]
    InDoubt(String),
    /// There is no such draw.
    #[error("the engine has no draw {0}: look at [LOTTERY] DRAW")]
    NoDraw(i32),
    /// The draw is without the agency that is asked for.
    #[error("agency {0} is not of this draw")]
    NoAgency(AgencyId),
    /// What is stored is damaged.
    #[error("draw {draw} is damaged: {what}")]
    Damaged {
        /// Which draw.
        draw: i32,
        /// Where, and what is wrong there.
        what: String,
    },
    /// A store of files cannot be brought into the draw.
    #[error("{0}")]
    Import(String),
    /// The store of files that is imported cannot be read.
    #[error("{0}")]
    Store(#[from] OpenError),
}

impl EngineError {
    /// Damage of one batch.
    pub(super) fn in_batch(draw: i32, agency: AgencyId, batch: u64, what: &str) -> EngineError {
        EngineError::Damaged { draw, what: format!("agency {agency}, batch {batch}: {what}") }
    }
}

impl From<LinkError> for EngineError {
    fn from(error: LinkError) -> EngineError {
        match error {
            LinkError::Mend(error) => EngineError::Mend(error),
            LinkError::Refused(why) => EngineError::Refused(why),
            LinkError::Lost(_) | LinkError::Standby => EngineError::Away(error.to_string()),
        }
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> EngineError {
        EngineError::Away(error.to_string())
    }
}

impl From<ServerError> for EngineError {
    fn from(error: ServerError) -> EngineError {
        if error.ends_the_connection() {
            EngineError::Away(error.to_string())
        } else {
            EngineError::Refused(error.to_string())
        }
    }
}
