//! Checks that the store's files still have their names and their lengths.
//!
//! Reads and writes do not notice what another program does to a file: a removed or renamed file can be written as
//! before, and the next start does not find it. Edits in place change no length and are not detected here; the next
//! start detects them by their checksums.

use std::io;
use std::ops::RangeInclusive;

use super::error::CommitError;
use super::files::disk::{Disk, File};
use super::format::record::record_offset;
use super::state::Store;

impl<D: Disk> Store<D> {
    /// Checks the name and the length of each file. It takes a few system calls, and is meant to be called several
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

    /// Checks the length of `file`. It is called before the file grows: once the file has grown over a cut, its length
    /// no longer shows the cut.
    pub(super) fn check_len(&mut self, file: File) -> io::Result<()> {
        let lens = self.lens(file);
        self.disk.check_len(file, lens)
    }

    /// The lengths that `file` can have between two commits.
    fn lens(&self, file: File) -> RangeInclusive<u64> {
        match file {
            File::Rows => self.tip.rows_bytes..=self.tip.rows_bytes,
            File::Journal => record_offset(self.journal.capacity)..=u64::MAX,
            File::Redo => self.redo.capacity..=u64::MAX,
            File::Quarantine => 0..=u64::MAX,
        }
    }
}
