//! Whether the store's files are still where they were, and as long as they were left.
//!
//! What another program does to them goes unnoticed by reads and writes: a file that was removed or renamed can be
//! written as before, and nothing of it is found at the next start. Only edits in place, which change no length, are
//! not seen here; the next start finds them by their checksums.

use super::error::CommitError;
use super::files::disk::{Disk, File};
use super::format::record::record_offset;
use super::state::Store;
use std::io;
use std::ops::RangeInclusive;

impl<D: Disk> Store<D> {
    /// Looks for each file under its name, and at its length. It costs a few system calls: often enough is several
    /// times a second.
    ///
    /// # Errors
    /// [`CommitError::Fatal`]: another program has removed, renamed, replaced, shortened or lengthened a file. Every
    /// later commit fails, too.
    pub fn check_files(&mut self) -> Result<(), CommitError> {
        if self.failed {
            return Ok(());
        }
        for file in [File::Rows, File::Journal, File::Redo] {
            let checked = self.disk.check_name(file).and_then(|()| self.check_len(file));
            if let Err(error) = checked {
                self.failed = true;
                return Err(CommitError::Fatal(error));
            }
        }
        Ok(())
    }

    /// Looks at the length of `file` only; before it grows, because a file that was cut is as long as before when its
    /// end has been written again.
    pub(super) fn check_len(&mut self, file: File) -> io::Result<()> {
        let lens = self.lens(file);
        self.disk.check_len(file, lens)
    }

    /// How long `file` can be between two commits.
    fn lens(&self, file: File) -> RangeInclusive<u64> {
        match file {
            File::Rows => self.tip.rows_bytes..=self.tip.rows_bytes,
            File::Journal => record_offset(self.journal.capacity)..=u64::MAX,
            File::Redo => self.redo.capacity..=u64::MAX,
            File::Quarantine => 0..=u64::MAX,
        }
    }
}
