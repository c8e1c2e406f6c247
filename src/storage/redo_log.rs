//! Writing the redo log: each commit writes its group there once more, so that one short sync makes it durable.
//!
//! Rows grow, and syncing a file that grows also commits metadata; two files are two syncs. The log is one file, and
//! lies in space that has been written before. Rows and journal are written as well. They are synced only when the log
//! is full or when the store is sealed; then the log starts again at its beginning. After a power cut, a start takes
//! from it what rows and journal lack.
//!
//! Entries are valid while each follows the one before it. Behind them lie those of earlier rounds, whose groups are
//! older, or zeros.

use super::error::CommitError;
use super::files::disk::{Disk, File, is_full, write_all, write_zeros};
use super::format::redo::{self, ENTRY_HEADER_BYTES, EntryHeader};
use super::state::Store;
use crate::mutants::{self, Mutant};

const BLOCK_BYTES: u64 = redo::BLOCK_BYTES as u64;
/// The log's first length. It doubles until it has the largest length that is configured.
const FIRST_BYTES: u64 = 256 * 1024;
/// Rows are sent to the disk when there are this many bytes of them, so that few are left for a sync.
const WRITE_BACK_BYTES: u64 = 1024 * 1024;

impl<D: Disk> Store<D> {
    /// Writes the group being committed to the log and syncs the log. Its rows and records have been encoded and
    /// written to their files. `false`: the log has no space for it, and rows and journal have to be synced.
    pub(super) fn log_group(&mut self) -> Result<bool, CommitError> {
        let bytes = (ENTRY_HEADER_BYTES + self.staged.rows.len() + self.staged.record_bytes.len()) as u64;
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        self.check_len(File::Redo).map_err(CommitError::Fatal)?;
        if self.redo.end + bytes > self.redo.capacity && !self.grow_log(bytes)? {
            return Ok(false);
        }
        let first = self.staged.records.first().expect("a group has a record");
        let header = EntryHeader {
            count: self.staged.records.len() as u64,
            group: first.group,
            slot: first.slot,
            rows_offset: self.tip.rows_bytes,
            rows_bytes: self.staged.rows.len() as u64,
        };
        let entry = self.staged.rows.as_entry(header.encode(self.journal.seed), &self.staged.record_bytes);
        match write_all(&mut self.disk, File::Redo, self.redo.end, entry).1 {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Ok(false),
            Err(error) => return Err(CommitError::Fatal(self.name_error(File::Redo, "write", &error))),
        }
        if !mutants::is(Mutant::AcknowledgeBeforeSync) && !mutants::is(Mutant::SkipRedoSync) {
            self.sync(File::Redo)?;
        }
        self.redo.end += bytes;
        // Rows are sent to the disk without waiting, when there are enough of them.
        let end = self.tip.rows_bytes + self.staged.rows.len() as u64;
        let from = self.redo.sent.min(end);
        if end - from >= WRITE_BACK_BYTES {
            self.disk.write_back(File::Rows, from, usize::try_from(end - from).unwrap_or(usize::MAX));
            self.redo.sent = end;
        }
        Ok(true)
    }

    /// Grows the log by zeros, up to its largest length. Says whether it has space for an entry of `bytes` bytes then.
    fn grow_log(&mut self, bytes: u64) -> Result<bool, CommitError> {
        let (from, end) = (self.redo.capacity, self.redo.end + bytes);
        let to = end.max(2 * from).max(FIRST_BYTES).next_multiple_of(BLOCK_BYTES).min(self.options.redo_bytes);
        if self.redo.full || end > to {
            return Ok(false);
        }
        let fatal = |store: &Self, error| CommitError::Fatal(store.name_error(File::Redo, "write", &error));
        if let (_, Err(error)) = write_zeros(&mut self.disk, File::Redo, from, to) {
            if !is_full(&error) {
                return Err(fatal(self, error));
            }
            // Rows need the rest of the disk's space.
            self.redo.full = true;
            self.disk.truncate(File::Redo, from).map_err(|error| fatal(self, error))?;
            return Ok(false);
        }
        self.redo.capacity = to;
        Ok(true)
    }

    /// Empties the log durably. Rows and journal have been synced. From here on, damage to them is reported and not
    /// repaired from the log.
    pub(super) fn empty_log(&mut self) -> Result<(), CommitError> {
        if !self.options.sync || self.redo.capacity == 0 {
            return Ok(());
        }
        let emptied = match write_all(&mut self.disk, File::Redo, 0, &[0; ENTRY_HEADER_BYTES]).1 {
            // Some file systems need space to overwrite. The log may stay: rows and journal have what it has.
            Err(error) if is_full(&error) => return Ok(()),
            emptied => emptied,
        };
        emptied.map_err(|error| CommitError::Fatal(self.name_error(File::Redo, "write", &error)))?;
        self.sync(File::Redo)
    }

    /// Frees the disk space of an empty log.
    pub(super) fn drop_log(&mut self) -> Result<(), CommitError> {
        if self.redo.capacity > 0 && self.redo.is_empty() {
            let cut = self.disk.truncate(File::Redo, 0);
            cut.map_err(|error| CommitError::Fatal(self.name_error(File::Redo, "cut", &error)))?;
            self.redo.capacity = 0;
        }
        Ok(())
    }
}
