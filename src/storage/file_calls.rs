//! Calls on the store's files whose errors name the file, and checks that the files still have their names and lengths.
//!
//! Reads and writes do not notice what another program does to a file: a removed or renamed file can be written as
//! before, and the next start does not find it. Edits in place change no length and are not detected here; the next
//! start detects them by their checksums.

use std::io;

use super::error::{CommitError, OpenError};
use super::files::disk::{Disk, File};
use super::format::record::record_offset;
use super::state::Store;
use crate::mutants::{self, Mutant};

/// While the store runs.
impl<D: Disk> Store<D> {
    pub(super) fn name_error(&self, file: File, doing: &str, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", self.disk.name(file)))
    }

    /// Syncs `file`, where configured. The first failure is final: the system may have dropped what it could not
    /// write, and would report success the next time.
    pub(super) fn sync(&mut self, file: File) -> Result<(), CommitError> {
        if !self.options.sync {
            return Ok(());
        }
        let mut result = self.disk.sync(file);
        if mutants::is(Mutant::RetrySync) && result.is_err() {
            result = self.disk.sync(file);
        }
        result.map_err(|error| CommitError::Fatal(self.name_error(file, "sync", &error)))
    }

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

    /// Checks that `file` has a length that it can have between two commits. It is called before the file grows: once
    /// the file has grown over a cut, its length no longer shows the cut.
    pub(super) fn check_len(&mut self, file: File) -> io::Result<()> {
        let lens = match file {
            File::Rows => self.tip.rows_bytes..=self.tip.rows_bytes,
            File::Journal => record_offset(self.journal.capacity)..=u64::MAX,
            File::Redo => self.redo.capacity..=u64::MAX,
            File::Quarantine => 0..=u64::MAX,
        };
        self.disk.check_len(file, lens)
    }
}

/// At a start.
impl<D: Disk> Store<D> {
    pub(super) fn failed_to(&self, doing: &'static str, file: File, error: io::Error) -> OpenError {
        OpenError::Io { file: self.disk.name(file), doing, error }
    }

    pub(super) fn damaged(&self, file: File, offset: u64, what: String) -> OpenError {
        OpenError::Damaged { file: self.disk.name(file), offset, what }
    }

    pub(super) fn len(&mut self, file: File) -> Result<u64, OpenError> {
        self.disk.len(file).map_err(|error| self.failed_to("read", file, error))
    }

    pub(super) fn sync_at_start(&mut self, file: File) -> Result<(), OpenError> {
        if !self.options.sync {
            return Ok(());
        }
        self.disk.sync(file).map_err(|error| self.failed_to("sync", file, error))
    }

    pub(super) fn sync_folder(&mut self) -> Result<(), OpenError> {
        if !self.options.sync {
            return Ok(());
        }
        self.disk.sync_folder().map_err(|error| self.failed_to("sync the folder of", File::Rows, error))
    }
}
