//! The store: rows of bets, the journal that says which of them count, commit and recovery.
//!
//! Owns the files and the order in which they are written. Knows nothing of dialects or connections.
//! `docs/DURABILITY.md` has the promises, the formats and the steps.

mod adopt;
mod commit;
mod copy;
mod error;
mod files;
mod index;
mod mutant;
mod optimistic;
mod presence;
mod record;
mod recovery;
mod redo;
mod row_text;
mod rows;
mod store;
mod walk;

pub use commit::Committed;
pub use copy::{Copied, copy};
pub use error::{CommitError, MatchError, OpenError};
pub use files::{Disk, File, MemoryDisk, OsDisk};
#[doc(hidden)]
pub use mutant::Mutant;
pub use rows::{Appended, Rows};
pub use store::{Discarded, Options, Recovered, StagedBatch, Store};
