//! The state of an open store, and how a store is opened. The other files change it: [`stage`](super::stage),
//! [`commit`](super::commit), [`open`](super::open).

use std::collections::HashMap;

use super::format::record::{Kind, Record};
use super::format::row::rows::Rows;
use super::index::SparseIndex;
use super::keep::Settled;
use crate::lottery::{self, AgencyId};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// `FSYNC = always`: a commit survives a power cut.
    pub sync: bool,
    /// Bets on this number are kept as winners, unless the store has a draw on another number.
    pub winning_number: u32,
    /// Accept rows that have no journal.
    pub adopt: bool,
    /// How many agencies the draw has. Slots for all their finishes are reserved in the journal, so that a full disk
    /// does not stop them.
    pub agencies: usize,
    /// By how many records the journal grows at a time.
    pub journal_step: u64,
    /// The largest length of the redo log, in bytes. With 0 there is none, and every commit syncs rows and journal.
    pub redo_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sync: true,
            winning_number: 7574,
            adopt: false,
            agencies: 5,
            journal_step: 16_384,
            redo_bytes: 8 << 20,
        }
    }
}

/// What a store has of earlier runs.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Each agency that has bets, has finished or was excluded, ascending.
    pub agencies: Vec<(AgencyId, lottery::Agency)>,
    /// The winning number of the draw, if there was one.
    pub drawn: Option<u32>,
    /// A turn that an earlier run began to write and never acknowledged. The store no longer has it.
    pub discarded: Option<Discarded>,
    /// The promises that this disk cannot keep.
    pub unkept: Vec<String>,
    /// Bytes of rows that were adopted.
    pub adopted_bytes: u64,
}

/// A turn that a crash has cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Bytes of rows.
    pub rows_bytes: u64,
    /// Bytes of journal.
    pub journal_bytes: u64,
    /// The file that has them now; `None` where the disk had no space for a copy.
    pub kept_in: Option<String>,
}

/// Where the committed data ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    /// Records.
    pub slots: u64,
    /// The last group.
    pub group: u64,
    /// Bytes of rows.
    pub rows_bytes: u64,
    /// Checksum of the last record.
    pub crc: u32,
    /// Whether the last record is a seal.
    pub sealed: bool,
}

impl Tip {
    /// The tip of a journal without records, whose checksums start from `seed`.
    pub(super) fn start(seed: u32) -> Tip {
        Tip { slots: 0, group: 0, rows_bytes: 0, crc: seed, sealed: false }
    }

    /// Whether `record` is the next one. `in_group`: the last record was not the last one of its group.
    pub(super) fn is_followed_by(self, record: &Record, in_group: bool) -> bool {
        record.previous_crc == self.crc
            && record.group == self.group + u64::from(!in_group)
            && record.rows_offset == self.rows_bytes
    }

    /// The tip behind `record`, which follows this one and has the checksum `crc`.
    pub(super) fn after(self, record: &Record, crc: u32) -> Tip {
        Tip {
            slots: self.slots + 1,
            group: record.group,
            rows_bytes: self.rows_bytes + u64::from(record.rows_bytes),
            crc,
            sealed: record.kind == Kind::Seal,
        }
    }
}

/// The batches of one agency.
#[derive(Debug)]
pub(super) struct Batches {
    /// How many are committed; also the sequence number of the next one.
    pub committed: u64,
    /// Where the staged ones are among the staged records.
    pub staged_at: Vec<usize>,
    pub index: SparseIndex,
}

impl Default for Batches {
    fn default() -> Self {
        Batches { committed: 0, staged_at: Vec::new(), index: SparseIndex::new() }
    }
}

/// The journal's file.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// What the records' checksums start from.
    pub seed: u32,
    /// How many slots the file has, those of zeros included.
    pub capacity: u64,
    /// How many of them survive a power cut. A commit that syncs only the redo log needs its slots to be durable.
    pub synced_capacity: u64,
    /// Bytes read in search of batches since the last commit.
    pub bytes_read: usize,
}

/// What the next commit writes.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub rows: Rows,
    pub records: Vec<Record>,
    /// The records' bytes. The memory is kept from commit to commit.
    pub record_bytes: Vec<u8>,
}

/// The redo log's file.
#[derive(Debug, Default)]
pub(super) struct RedoLog {
    /// Where the next entry goes. At 0, rows and journal are synced, and no entry is needed.
    pub end: u64,
    /// The length of the file.
    pub capacity: u64,
    /// The disk has no space for a longer log.
    pub full: bool,
    /// Up to which offset rows have been sent to the disk.
    pub sent: u64,
}

impl RedoLog {
    /// Whether rows and journal have been synced since the last entry.
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }
}

/// Rows, journal and redo log of one draw.
#[derive(Debug)]
pub struct Store<D> {
    pub(super) disk: D,
    pub(super) options: Options,
    pub(super) journal: Journal,
    pub(super) tip: Tip,
    pub(super) batches: HashMap<AgencyId, Batches>,
    /// Bets on this number are winners.
    pub(super) winning_number: u32,
    pub(super) staged: Staged,
    pub(super) redo: RedoLog,
    /// A commit has failed for good: nothing may be acknowledged any more.
    pub(super) failed: bool,
    /// What became of the turn that was submitted, until the hub asks.
    pub(super) settled: Option<Settled>,
}

impl<D> Store<D> {
    /// A store on `disk` before anything of it has been read.
    pub(super) fn new(disk: D, options: Options) -> Store<D> {
        Store {
            disk,
            winning_number: options.winning_number,
            options,
            journal: Journal::default(),
            tip: Tip::start(0),
            batches: HashMap::new(),
            staged: Staged::default(),
            redo: RedoLog::default(),
            failed: false,
            settled: None,
        }
    }
}
