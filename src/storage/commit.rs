//! The commit: what is staged is written and synced, or rolled back.
//!
//! The order of the writes is decided here. `docs/DURABILITY.md` has the reasons for it.
//!
//! The journal has zeros behind its last record, which records overwrite. Overwriting zeros needs no space on the disk. A
//! sync of overwritten bytes changes no file's length, which costs half of what a sync of appended bytes does.

use std::io;

use super::error::CommitError;
use super::files::disk::{Disk, File, is_full, write_all, write_zeros};
use super::format::record::{Kind, Record, record_offset, slots_in};
use super::state::{Store, Tip};
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};

/// The journal always has at least this many free slots behind its last record, because space is added before it is
/// needed. A journal with fewer was cut by something other than a crash.
pub(super) const SLOTS_AHEAD_MIN: u64 = 8;

/// How a commit becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// By the redo log, where it has space.
    Log,
    /// By syncing rows and journal, after which the log is no longer needed.
    Files,
}

impl<D: Disk> Store<D> {
    /// Makes everything staged as durable as configured: rows, journal and redo log are written, and the log is
    /// synced, or, where it has no space, rows and journal are. With nothing staged it does nothing.
    ///
    /// # Errors
    /// [`CommitError::Full`]: everything staged was rolled back, durably, and the store can be used. Finishes and the
    /// draw, staged again without batches, fit into slots that are reserved for them. [`CommitError::Fatal`]: the state
    /// of the disk is not known; every later commit fails too, and only a new start can determine it.
    pub fn commit(&mut self) -> Result<(), CommitError> {
        self.commit_by(Durability::Log)
    }

    fn commit_by(&mut self, by: Durability) -> Result<(), CommitError> {
        self.journal.bytes_read = 0;
        if self.failed {
            return Err(CommitError::Fatal(io::Error::other("the store has failed before")));
        }
        if self.staged.records.is_empty() {
            return Ok(());
        }
        let result = self.write_group(by);
        match result {
            Ok(tip) => {
                self.tip = tip;
                for record in self.staged.records.drain(..).filter(|record| record.kind == Kind::Batch) {
                    let batches = self.batches.entry(AgencyId(record.agency)).or_default();
                    batches.index.note(record.sequence, record.slot);
                    batches.committed += 1;
                    batches.staged_at.clear();
                }
                self.staged.rows.truncate(0);
            }
            Err(_) => self.drop_staged(),
        }
        self.failed = matches!(result, Err(CommitError::Fatal(_)));
        result.map(|_| ())
    }

    /// Writes a seal, where the last group is none. The next start reports damage to any byte before a seal; without
    /// one, it can take damage to the last group for a turn that a crash cut off. Does nothing while anything is
    /// staged, nor where the disk is full: a seal is not promised.
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

    /// As [`seal`](Self::seal), but a full disk is an error.
    pub(super) fn try_seal(&mut self) -> Result<(), CommitError> {
        if !self.failed {
            if self.tip.sealed || !self.staged.records.is_empty() {
                return Ok(());
            }
            self.stage(Record::new(Kind::Seal));
        }
        self.commit_by(Durability::Files)?;
        let emptied = self.empty_log();
        self.failed |= emptied.is_err();
        emptied
    }

    /// Ends the store's use: drops what is staged, seals the store and checks its files.
    ///
    /// # Errors
    /// As [`seal`](Self::seal) and [`check_files`](Self::check_files).
    pub fn close(&mut self) -> Result<(), CommitError> {
        self.drop_staged();
        self.seal()?;
        self.drop_log()?;
        self.check_files()
    }

    /// Writes and syncs what is staged. Returns the new end of the data.
    fn write_group(&mut self, by: Durability) -> Result<Tip, CommitError> {
        self.ensure_journal_space()?;
        let tip = self.encode_records();
        if !self.staged.rows.is_empty() {
            self.check_len(File::Rows).map_err(CommitError::Fatal)?;
            let (_, written) = write_all(&mut self.disk, File::Rows, self.tip.rows_bytes, self.staged.rows.bytes());
            if let Err(error) = written {
                return Err(self.roll_back(File::Rows, 0, error));
            }
        }
        let offset = record_offset(self.tip.slots);
        let (_, written) = write_all(&mut self.disk, File::Journal, offset, &self.staged.record_bytes);
        if let Err(error) = written {
            return Err(self.roll_back(File::Journal, self.staged.record_bytes.len(), error));
        }
        if !self.options.sync || by == Durability::Log && self.log_group()? {
            return Ok(tip);
        }
        self.sync_files(offset)?;
        Ok(tip)
    }

    /// Syncs the rows and the journal, whose new records start at `offset`. The next entry of the redo log is written
    /// to its start.
    fn sync_files(&mut self, offset: u64) -> Result<(), CommitError> {
        if !self.staged.rows.is_empty() {
            // The records are sent to the disk before the rows are synced: the flush of the rows' sync includes them.
            self.disk.write_back(File::Journal, offset, self.staged.record_bytes.len());
        }
        if !mutants::is(Mutant::AcknowledgeBeforeSync) {
            let grown = !self.staged.rows.is_empty() || !self.redo.is_empty();
            if grown && !mutants::is(Mutant::SkipRowsSync) {
                self.sync(File::Rows)?;
            }
            if !mutants::is(Mutant::SkipJournalSync) {
                self.sync(File::Journal)?;
            }
        }
        self.redo.end = 0;
        Ok(())
    }

    /// Grows the journal, if it has too few slots for what is staged. A commit with batches leaves the reserved slots
    /// free; finishes and the draw may use them.
    fn ensure_journal_space(&mut self) -> Result<(), CommitError> {
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

    /// Gives the staged records their slots in one new group, and encodes them.
    fn encode_records(&mut self) -> Tip {
        let (mut tip, last) = (self.tip, self.staged.records.len() - 1);
        self.staged.record_bytes.clear();
        for (index, record) in self.staged.records.iter_mut().enumerate() {
            record.last_of_group = index == last;
            record.group = self.tip.group + 1;
            record.slot = tip.slots;
            record.previous_crc = tip.crc;
            let (bytes, crc) = record.encode(self.journal.seed);
            self.staged.record_bytes.extend(bytes);
            tip = tip.after(record, crc);
        }
        tip
    }

    /// Handles `error`, which a write to `file` returned. Where the disk is full, the writes of the turn are undone,
    /// durably: rows are cut off, and the `journal_bytes` bytes of records that were tried become zeros again, so that
    /// the journal keeps its space. Every other error is fatal.
    fn roll_back(&mut self, file: File, journal_bytes: usize, error: io::Error) -> CommitError {
        let named = self.name_error(file, "write", &error);
        if !is_full(&error) {
            return CommitError::Fatal(named);
        }
        match self.undo_writes(journal_bytes) {
            Ok(()) => CommitError::Full(named),
            Err(error) => CommitError::Fatal(error),
        }
    }

    fn undo_writes(&mut self, journal_bytes: usize) -> io::Result<()> {
        let sync = !mutants::is(Mutant::RollBackWithoutSync);
        let (rows_bytes, offset) = (self.tip.rows_bytes, record_offset(self.tip.slots));
        if !self.staged.rows.is_empty() {
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

    fn drop_staged(&mut self) {
        for record in self.staged.records.drain(..).filter(|record| record.kind == Kind::Batch) {
            self.batches.entry(AgencyId(record.agency)).or_default().staged_at.clear();
        }
        self.staged.rows.truncate(0);
    }
}
