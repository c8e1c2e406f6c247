//! The journal's space: zeros behind the last record, which records overwrite.
//!
//! Overwriting zeros needs no space on the disk. A sync of overwritten bytes changes no file's length, which costs half
//! of what a sync of appended bytes does.

use std::io;

use super::error::CommitError;
use super::files::disk::{Disk, File, is_full, write_zeros};
use super::format::record::{Kind, record_offset, slots_in};
use super::state::Store;

/// The journal always has at least this many free slots behind its last record, because space is added before it is
/// needed. A journal with fewer was cut by something other than a crash.
pub(super) const SLOTS_AHEAD_MIN: u64 = 8;

impl<D: Disk> Store<D> {
    /// Grows the journal, if it has too few slots for what is staged. A commit with batches leaves the reserved slots
    /// free; finishes and the draw may use them.
    pub(super) fn ensure_journal_space(&mut self) -> Result<(), CommitError> {
        let end = self.tip.slots + self.staged.records.len() as u64;
        let with_batches = self.staged.records.iter().any(|record| record.kind == Kind::Batch);
        let ahead = if with_batches { self.reserved_slots() } else { SLOTS_AHEAD_MIN };
        self.grow_journal(end, ahead).map_err(|error| {
            let named = self.name_error(File::Journal, "write", &error);
            if is_full(&error) { CommitError::Full(named) } else { CommitError::Fatal(named) }
        })?;
        // A commit that syncs only the redo log needs its slots to be there after a power cut.
        if self.journal.capacity != self.journal.synced_capacity {
            self.sync(File::Journal)?;
            self.journal.synced_capacity = self.journal.capacity;
        }
        Ok(())
    }

    /// How many free slots batches leave: a finish and a seal for each agency, the draw and its seal, and the seals of
    /// some restarts.
    pub(super) fn reserved_slots(&self) -> u64 {
        2 * self.options.agencies as u64 + 64
    }

    /// Grows the journal where it has fewer than `ahead` slots behind slot `end`: by the reserved slots and a step
    /// more. Where the disk is full before that, the journal keeps what it got, up to the reserved slots; that is an
    /// error only where `ahead` slots do not fit.
    pub(super) fn grow_journal(&mut self, end: u64, ahead: u64) -> io::Result<()> {
        if self.journal.capacity >= end + ahead {
            return Ok(());
        }
        self.check_len(File::Journal)?;
        let keep = end + self.reserved_slots();
        let (from, to) = (record_offset(self.journal.capacity), record_offset(keep + self.options.journal_step));
        let (taken, written) = write_zeros(&mut self.disk, File::Journal, from, to);
        self.journal.capacity = self.journal.capacity.max(slots_in(from + taken));
        let Err(error) = written else { return Ok(()) };
        if is_full(&error) && self.journal.capacity > keep {
            // Rows need the rest of the disk's space.
            self.disk.truncate(File::Journal, record_offset(keep))?;
            self.journal.capacity = keep;
        }
        if is_full(&error) && self.journal.capacity >= end + ahead { Ok(()) } else { Err(error) }
    }
}
