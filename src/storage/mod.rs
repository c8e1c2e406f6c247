//! The store: rows of bets, and the journal that says which of them are committed.
//!
//! It owns the files and the order in which they are written, and has no notion of dialects or connections.
//! `docs/DURABILITY.md` has the promises, the formats and the steps. No file here imports one that imports it:
//!
//! - `format` has the bytes of a record, of an entry of the redo log, and of a row. It reads and writes no file.
//! - `files` has the [`Disk`] trait and the disks.
//! - `state` has [`Store`]; the files below have its methods.
//! - `stage` stages the changes of a turn, and answers what is stored; `commit` writes and syncs them, with `redo_log` and
//!   `file_calls`.
//! - `open` brings the files to their last whole group at a start, or checks them without a change.
//! - `ledger` is the keeper of turns in a PostgreSQL that several hubs share: it has no files.
//! - `copy` copies a store, in use or not; `archive` moves one away.

mod archive;
mod commit;
mod copy;
mod error;
mod file_calls;
mod files;
mod format;
mod index;
mod keep;
mod keep_files;
mod ledger;
mod open;
mod redo_log;
mod stage;
mod state;

pub use archive::archive;
pub use copy::{Copied, copy};
pub use error::{CommitError, MatchError, OpenError};
pub use files::{Disk, File, MemoryDisk, OsDisk};
pub use format::row::{Appended, Rows};
pub use keep::{
    Committed, Compared, EngineView, InstanceView, Keep, Known, Learned, Load, Match, Place, Settled, StagedBatch,
    Trouble, TurnNumber,
};
pub use ledger::{
    CheckedDraw, DrawnWinners, EngineError, HostFound, Imported, Inspection, Ledger, LedgerError, LedgerOptions,
    LinkId, Network, Password, Reader, Refused, Replicas, SCHEMA, Waiting, check_draw, drawn_winners, export_draw,
    held, import_store, release,
};
pub use open::check::{Checked, check, check_rows};
pub use open::stopped::{StoppedStore, StoredBatch};
pub use state::{Discarded, Options, Recovered, Store};
