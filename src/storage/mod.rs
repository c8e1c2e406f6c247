//! The store: rows of bets, the journal that says which of them count, commit and recovery.
//!
//! Owns the files and the order in which they are written. Knows nothing of dialects or connections.
//! `docs/DURABILITY.md` has the promises, the formats and the steps.

mod commit;
mod copy;
mod error;
mod file_calls;
mod files;
mod format;
mod index;
mod journal_space;
mod mutant;
mod open;
mod presence;
mod redo_log;
mod stage;
mod state;

pub use commit::Committed;
pub use copy::{Copied, copy};
pub use error::{CommitError, MatchError, OpenError};
pub use files::{Disk, File, MemoryDisk, OsDisk};
pub use format::row::{Appended, Rows};
#[doc(hidden)]
pub use mutant::Mutant;
pub use stage::StagedBatch;
pub use state::{Discarded, Options, Recovered, Store};
