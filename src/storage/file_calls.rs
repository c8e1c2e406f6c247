//! Calls on the store's files whose errors name the file.

use std::io;

use super::error::{CommitError, OpenError};
use super::files::disk::{Disk, File};
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
