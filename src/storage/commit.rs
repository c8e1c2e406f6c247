//! The second half of a turn: what is staged is written and synced, or taken back.
//!
//! Owns the order of the writes. `docs/DURABILITY.md` tells why each is where it is.

use super::disk::{Disk, File, is_full, write_all, write_zeros};
use super::error::CommitError;
use super::mutant::Mutant;
use super::record::{Kind, Record, record_offset, slots_in};
use super::store::{SLOTS_AHEAD_MIN, Store, Tip};
use crate::lottery::AgencyId;
use std::io;

/// How a commit becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// By the redo log, where it has room.
    Log,
    /// By syncing rows and journal, so that the log is needed no more.
    Files,
}

impl<D: Disk> Store<D> {
    /// Makes everything staged as durable as configured: rows, journal and redo log are written, and the log is
    /// synced, or, where it has no room, rows and journal are. With nothing staged it does nothing.
    ///
    /// # Errors
    /// [`CommitError::Full`]: nothing staged has happened, durably, and the store goes on. Finishes and the draw,
    /// staged again without batches, find room that is kept for them. [`CommitError::Fatal`]: nobody knows what is
    /// on the disk; every later commit fails too, and only a new start can tell.
    pub fn commit(&mut self) -> Result<(), CommitError> {
        self.commit_by(Durability::Log)
    }

    fn commit_by(&mut self, by: Durability) -> Result<(), CommitError> {
        self.looked_at = 0;
        if self.failed {
            return Err(CommitError::Fatal(io::Error::other("the store has failed before")));
        }
        if self.records.is_empty() {
            return Ok(());
        }
        let result = self.write_group(by);
        match result {
            Ok(tip) => self.note_committed(tip),
            Err(_) => self.forget_staged(),
        }
        self.failed = matches!(result, Err(CommitError::Fatal(_)));
        result.map(|_| ())
    }

    /// Writes a seal, where the last group has none: from then on damage to any committed byte is found at the
    /// next start, which until then could take it for a turn that a crash cut off. Does nothing while anything is
    /// staged, nor where there is no room: a seal is no promise.
    ///
    /// # Errors
    /// [`CommitError::Fatal`], as [`commit`](Self::commit).
    pub fn seal(&mut self) -> Result<(), CommitError> {
        match self.try_seal() {
            Err(CommitError::Full(_)) => Ok(()),
            sealed => sealed,
        }
    }

    /// Whether the last group is a seal.
    pub fn sealed(&self) -> bool {
        self.tip.sealed
    }

    /// As [`seal`](Self::seal), but says where there is no room.
    pub(super) fn try_seal(&mut self) -> Result<(), CommitError> {
        if !self.failed {
            if self.tip.sealed || !self.records.is_empty() {
                return Ok(());
            }
            self.stage(Record::new(Kind::Seal));
        }
        self.commit_by(Durability::Files)?;
        let emptied = self.empty_log();
        self.failed |= emptied.is_err();
        emptied
    }

    /// Ends the store's use: seals it, and looks whether its files are still there. What is staged and was not committed is dropped.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn close(&mut self) -> Result<(), CommitError> {
        self.forget_staged();
        self.seal()?;
        self.drop_log()?;
        self.check_files()
    }

    /// Writes and syncs what is staged; returns where the data ends then.
    fn write_group(&mut self, by: Durability) -> Result<Tip, CommitError> {
        self.make_room()?;
        let tip = self.encode_records();
        if !self.rows.is_empty() {
            self.check_len(File::Rows).map_err(CommitError::Fatal)?;
            let (_, written) = write_all(&mut self.disk, File::Rows, self.tip.rows_bytes, self.rows.bytes());
            if let Err(error) = written {
                return Err(self.take_back(File::Rows, 0, error));
            }
        }
        let offset = record_offset(self.tip.slots);
        let (_, written) = write_all(&mut self.disk, File::Journal, offset, &self.record_bytes);
        if let Err(error) = written {
            return Err(self.take_back(File::Journal, self.record_bytes.len(), error));
        }
        if !self.options.sync || by == Durability::Log && self.log_group()? {
            return Ok(tip);
        }
        self.sync_files(offset)?;
        Ok(tip)
    }

    /// Makes everything durable that was written since this was last done. The redo log may begin anew.
    fn sync_files(&mut self, offset: u64) -> Result<(), CommitError> {
        if !self.rows.is_empty() {
            // The records are on their way while the rows are synced, whose flush of the disk takes them along.
            self.disk.write_back(File::Journal, offset, self.record_bytes.len());
        }
        let mutant = self.mutant;
        if !mutant.is(Mutant::AcknowledgeBeforeSync) {
            let grown = !self.rows.is_empty() || !self.redo.is_empty();
            if grown && !mutant.is(Mutant::SkipRowsSync) {
                self.sync(File::Rows)?;
            }
            if !mutant.is(Mutant::SkipJournalSync) {
                self.sync(File::Journal)?;
            }
        }
        self.redo.begin_anew();
        Ok(())
    }

    /// Gives the staged records their places in one new group, and their bytes.
    fn encode_records(&mut self) -> Tip {
        let mut tip = self.tip;
        tip.group += 1;
        self.record_bytes.clear();
        let last = self.records.len() - 1;
        for (index, record) in self.records.iter_mut().enumerate() {
            record.last_of_group = index == last;
            record.group = tip.group;
            record.slot = tip.slots;
            record.previous_crc = tip.crc;
            let (bytes, crc) = record.encode(self.seed);
            self.record_bytes.extend(bytes);
            tip.slots += 1;
            tip.crc = crc;
            tip.sealed = record.kind == Kind::Seal;
        }
        tip.rows_bytes += self.rows.len() as u64;
        tip
    }

    /// Sees that the journal has room for what is staged. Batches must leave the reserve untouched; finishes and
    /// the draw may use it, because it is kept for them.
    ///
    /// Room is zeros that have been written: overwriting them needs no space on the disk, and syncing them
    /// changes no file's length, which costs half of what appending does.
    fn make_room(&mut self) -> Result<(), CommitError> {
        let end = self.tip.slots + self.records.len() as u64;
        let with_batches = self.records.iter().any(|record| record.kind == Kind::Batch);
        let ahead = if with_batches { self.reserve() } else { SLOTS_AHEAD_MIN };
        self.grow_journal(end, ahead).map_err(|error| {
            let named = self.name_error(File::Journal, "write", &error);
            if is_full(&error) { CommitError::Full(named) } else { CommitError::Fatal(named) }
        })?;
        // A commit that syncs the redo log only must find its room again after a power cut.
        if self.capacity != self.synced_capacity {
            self.sync(File::Journal)?;
            self.synced_capacity = self.capacity;
        }
        Ok(())
    }

    /// How many records batches leave room for: a finish and a seal for each agency, the draw and its seal, and
    /// some restarts' seals.
    pub(super) fn reserve(&self) -> u64 {
        2 * self.options.agencies as u64 + 64
    }

    /// Sees that the journal has room for `ahead` records behind slot `end`. If not, it grows by zeros, to the reserve
    /// and a step more; where there is no space for so much, by what there is, up to the reserve.
    pub(super) fn grow_journal(&mut self, end: u64, ahead: u64) -> io::Result<()> {
        if self.capacity >= end + ahead {
            return Ok(());
        }
        self.check_len(File::Journal)?;
        let keep = end + self.reserve();
        let (from, to) = (record_offset(self.capacity), record_offset(keep + self.options.journal_step));
        let (taken, written) = write_zeros(&mut self.disk, File::Journal, from, to);
        self.capacity = self.capacity.max(slots_in(from + taken));
        let Err(error) = written else { return Ok(()) };
        if is_full(&error) && self.capacity > keep {
            // The rest of the space is for rows.
            self.disk.truncate(File::Journal, record_offset(keep))?;
            self.capacity = keep;
        }
        if is_full(&error) && self.capacity >= end + ahead { Ok(()) } else { Err(error) }
    }

    /// Undoes the writes of a turn that failed with `error` while writing `file`, durably. Rows are cut off; the
    /// `journal_bytes` bytes of records that were tried become zeros again, so that the room stays.
    fn take_back(&mut self, file: File, journal_bytes: usize, error: io::Error) -> CommitError {
        let named = self.name_error(file, "write", &error);
        if !is_full(&error) {
            return CommitError::Fatal(named);
        }
        match self.undo(journal_bytes) {
            Ok(()) => CommitError::Full(named),
            Err(error) => CommitError::Fatal(error),
        }
    }

    fn undo(&mut self, journal_bytes: usize) -> io::Result<()> {
        let sync = !self.mutant.is(Mutant::RollBackWithoutSync);
        let (rows_bytes, offset) = (self.tip.rows_bytes, record_offset(self.tip.slots));
        if !self.rows.is_empty() {
            let cut = self.disk.truncate(File::Rows, rows_bytes);
            cut.map_err(|error| self.name_error(File::Rows, "cut", &error))?;
            if sync {
                self.sync(File::Rows).map_err(CommitError::into_io)?;
            }
        }
        if journal_bytes > 0 {
            let (_, written) = write_zeros(&mut self.disk, File::Journal, offset, offset + journal_bytes as u64);
            written.map_err(|error| self.name_error(File::Journal, "write", &error))?;
            if sync {
                self.sync(File::Journal).map_err(CommitError::into_io)?;
            }
        }
        Ok(())
    }

    /// Syncs `file`, where configured. The first failure is final: the system may have dropped what it could not
    /// write, and would report success the next time.
    pub(super) fn sync(&mut self, file: File) -> Result<(), CommitError> {
        if !self.options.sync {
            return Ok(());
        }
        let mut result = self.disk.sync(file);
        if self.mutant.is(Mutant::RetrySync) && result.is_err() {
            result = self.disk.sync(file);
        }
        result.map_err(|error| CommitError::Fatal(self.name_error(file, "sync", &error)))
    }

    pub(super) fn name_error(&self, file: File, doing: &str, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", self.disk.name(file)))
    }

    fn note_committed(&mut self, tip: Tip) {
        self.tip = tip;
        for record in self.records.iter().filter(|record| record.kind == Kind::Batch) {
            let batches = self.batches.entry(AgencyId(record.agency)).or_default();
            batches.index.note(record.sequence, record.slot);
            batches.committed += 1;
            batches.staged_at.clear();
        }
        self.records.clear();
        self.rows.truncate(0);
    }

    fn forget_staged(&mut self) {
        for record in self.records.drain(..).filter(|record| record.kind == Kind::Batch) {
            self.batches.entry(AgencyId(record.agency)).or_default().staged_at.clear();
        }
        self.rows.truncate(0);
    }
}
