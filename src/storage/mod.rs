//! The store: rows of bets, the journal that says which of them count, commit and recovery.
//!
//! Owns the files and the order in which they are written. Knows nothing of dialects or connections.
//! `docs/DURABILITY.md` has the promises, the formats and the steps.

mod adopt;
mod commit;
mod copy;
mod disk;
mod error;
mod index;
mod keep;
mod keep_files;
mod memory_disk;
mod mutant;
mod optimistic;
mod os_disk;
mod os_error;
mod presence;
mod record;
mod recovery;
mod redo;
mod row_text;
mod rows;
mod store;
mod stream;
mod walk;

pub use copy::{Copied, copy};
pub use disk::{Disk, File};
pub use error::{CommitError, MatchError, OpenError};
pub use keep::{Committed, Keep, Load, Settled, StagedBatch, TurnNumber};
pub use memory_disk::MemoryDisk;
#[doc(hidden)]
pub use mutant::Mutant;
pub use os_disk::OsDisk;
pub use rows::{Appended, Rows};
pub use store::{Discarded, Options, Recovered, Store};
