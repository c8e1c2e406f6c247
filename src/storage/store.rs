//! The store in use: staging a turn, and asking what is stored. [`commit`](super::commit) writes it.

use super::disk::{Disk, File};
use super::error::{MatchError, OpenError};
use super::index::SparseIndex;
use super::keep::{Settled, StagedBatch};
use super::mutant::Mutant;
use super::record::{Kind, RECORD_BYTES, Record, record_offset};
use super::recovery;
use super::redo::RedoLog;
use super::rows::Rows;
use super::stream::Stream;
use crate::lottery::{self, AgencyId, BatchError, BetSource};
use std::collections::HashMap;
use std::io;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// `FSYNC = always`: a commit survives a power cut.
    pub sync: bool,
    /// Bets on this number are kept as winners, unless the store's own draw was on another.
    pub winning_number: u32,
    /// Take rows that have no journal as they are.
    pub adopt: bool,
    /// How many agencies the draw has: room for all their finishes is kept in the journal, so that a full disk
    /// does not stop them.
    pub agencies: usize,
    /// By how many records the journal grows at a time.
    pub journal_step: u64,
    /// How long the redo log may get, in bytes; 0: there is none, and every commit syncs rows and journal.
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

/// What a store remembers of earlier runs.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Each agency that has bets, has finished or was excluded, ascending.
    pub agencies: Vec<(AgencyId, lottery::Agency)>,
    /// The winning number of the draw, if it has been.
    pub drawn: Option<u32>,
    /// What an earlier run had begun to write and never acknowledged; it is gone from the store.
    pub discarded: Option<Discarded>,
    /// What cannot be promised on this disk.
    pub unkept: Vec<String>,
    /// Bytes of rows that were taken without a journal.
    pub adopted_bytes: u64,
}

/// A turn that was cut off by a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Bytes of rows.
    pub rows_bytes: u64,
    /// Bytes of journal.
    pub journal_bytes: u64,
    /// The file that has them now; `None` where there was no room to keep them.
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
    /// Of a journal without records, whose checksums start from `seed`.
    pub(super) fn start(seed: u32) -> Tip {
        Tip { slots: 0, group: 0, rows_bytes: 0, crc: seed, sealed: false }
    }
}

/// One agency's batches.
#[derive(Debug)]
pub(super) struct Batches {
    /// Those committed; also the number of the next.
    pub committed: u64,
    /// Where those staged behind them are among the staged records.
    pub staged_at: Vec<usize>,
    pub index: SparseIndex,
}

impl Default for Batches {
    fn default() -> Self {
        Batches { committed: 0, staged_at: Vec::new(), index: SparseIndex::new() }
    }
}

/// A journal that has fewer slots than this free behind its last record was cut: no crash does that, because
/// space is added before it is needed.
pub(super) const SLOTS_AHEAD_MIN: u64 = 8;

/// Rows, journal and redo log of one draw.
#[derive(Debug)]
pub struct Store<D> {
    pub(super) disk: D,
    pub(super) options: Options,
    pub(super) mutant: Mutant,
    /// What the records' checksums start from.
    pub(super) seed: u32,
    pub(super) tip: Tip,
    /// How many records the journal has room for, zeros included.
    pub(super) capacity: u64,
    /// The same as a power cut leaves it: a commit that syncs the redo log only needs its room to be durable.
    pub(super) synced_capacity: u64,
    pub(super) batches: HashMap<AgencyId, Batches>,
    pub(super) winning_number: u32,
    pub(super) rows: Rows,
    pub(super) records: Vec<Record>,
    pub(super) record_bytes: Vec<u8>,
    pub(super) redo: RedoLog,
    pub(super) failed: bool,
    pub(super) looked_at: usize,
    /// What became of the turn that was submitted, until the hub asks.
    pub(super) settled: Option<Settled>,
}

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`, or makes it, and brings it to the state of its last whole commit.
    ///
    /// # Errors
    /// Another server has it, the disk failed, or what is stored is damaged; in the last case nothing has been
    /// modified.
    pub fn open(disk: D, options: Options) -> Result<(Store<D>, Recovered), OpenError> {
        Store::open_mutant(disk, options, Mutant::None)
    }

    /// As [`open`](Self::open), with a defect.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_mutant(disk: D, options: Options, mutant: Mutant) -> Result<(Store<D>, Recovered), OpenError> {
        recovery::open(disk, options, mutant)
    }

    /// A store that knows nothing of its disk yet.
    pub(super) fn new(disk: D, options: Options, mutant: Mutant) -> Store<D> {
        Store {
            disk,
            winning_number: options.winning_number,
            options,
            mutant,
            seed: 0,
            tip: Tip::start(0),
            capacity: 0,
            synced_capacity: 0,
            batches: HashMap::new(),
            rows: Rows::default(),
            records: Vec::new(),
            record_bytes: Vec::new(),
            redo: RedoLog::default(),
            failed: false,
            looked_at: 0,
            settled: None,
        }
    }

    /// Encodes the rows of a batch behind those already staged and stages its record. Nothing is staged on an
    /// error, nor for a batch of no bets.
    ///
    /// # Errors
    /// What is wrong with the batch.
    ///
    /// # Panics
    /// Where `sequence` is not the number of the agency's next batch: the caller has lost count.
    pub fn stage_batch(
        &mut self,
        agency: AgencyId,
        sequence: u64,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        let start = self.rows.len();
        let appended = self.rows.append(agency, self.winning_number, bets)?;
        let rows = &self.rows.bytes()[start..];
        let checksum = crc32c::crc32c(rows);
        let staged = StagedBatch { bets: appended.bets, winners: appended.winners, checksum };
        if staged.bets == 0 {
            return Ok(staged);
        }
        let Ok(rows_bytes) = u32::try_from(rows.len()) else {
            // No frame is allowed to be so long; a record could not say it.
            self.rows.truncate(start);
            return Err(BatchError::Malformed);
        };
        let batches = self.batches.entry(agency).or_default();
        assert_eq!(
            sequence,
            batches.committed + batches.staged_at.len() as u64,
            "batches of agency {agency} are staged in order"
        );
        batches.staged_at.push(self.records.len());
        self.records.push(Record {
            agency: agency.0,
            count: staged.bets,
            rows_offset: self.tip.rows_bytes + start as u64,
            rows_bytes,
            rows_crc: checksum,
            sequence,
            ..Record::new(Kind::Batch)
        });
        Ok(staged)
    }

    /// Stages that `agency` has finished.
    pub fn stage_finish(&mut self, agency: AgencyId) {
        self.stage(Record { agency: agency.0, ..Record::new(Kind::Finish) });
    }

    /// Stages that `agency` takes no part in the draw.
    pub fn stage_exclusion(&mut self, agency: AgencyId) {
        self.stage(Record { agency: agency.0, ..Record::new(Kind::Exclusion) });
    }

    /// Stages that the draw has been made on `winning_number`.
    pub fn stage_draw(&mut self, winning_number: u32) {
        self.stage(Record { count: winning_number, ..Record::new(Kind::Draw) });
    }

    pub(super) fn stage(&mut self, record: Record) {
        self.records.push(Record { rows_offset: self.tip.rows_bytes + self.rows.len() as u64, ..record });
    }

    /// Whether a commit waits for the disk (`FSYNC = always`).
    pub fn syncs(&self) -> bool {
        self.options.sync
    }

    /// Bytes of rows staged.
    pub fn staged_bytes(&self) -> usize {
        self.rows.len()
    }

    /// The number of the last group of records: it rises with every commit that wrote.
    pub fn group(&self) -> u64 {
        self.tip.group
    }

    /// Bytes of the journal that were read for [`matches`](Self::matches) since the last commit.
    pub fn looked_at_bytes(&self) -> usize {
        self.looked_at
    }

    /// The number of the next batch of `agency`, those staged counted.
    pub fn next_sequence(&self, agency: AgencyId) -> u64 {
        self.batches.get(&agency).map_or(0, |batches| batches.committed + batches.staged_at.len() as u64)
    }

    /// Whether `bets` are exactly what is stored or staged as batch `sequence` of `agency`; `false` where there
    /// is no such batch.
    ///
    /// # Errors
    /// Bets that cannot be decoded or break a rule; a disk that cannot be read.
    pub fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<bool, MatchError> {
        let start = self.rows.len();
        let appended = self.rows.append(agency, self.winning_number, bets)?;
        let rows = &self.rows.bytes()[start..];
        let seen = (appended.bets, rows.len() as u64, crc32c::crc32c(rows));
        self.rows.truncate(start);
        let stored = self.find(agency, sequence).map_err(MatchError::Io)?;
        Ok(stored.is_some_and(|record| (record.count, u64::from(record.rows_bytes), record.rows_crc) == seen))
    }

    /// The record of a batch.
    fn find(&mut self, agency: AgencyId, sequence: u64) -> io::Result<Option<Record>> {
        let is_it =
            |record: &Record| record.kind == Kind::Batch && record.agency == agency.0 && record.sequence == sequence;
        let Some(batches) = self.batches.get_mut(&agency) else { return Ok(None) };
        if sequence >= batches.committed {
            let staged = usize::try_from(sequence - batches.committed).ok().and_then(|at| batches.staged_at.get(at));
            return Ok(staged.map(|at| self.records[*at]));
        }
        let Some(from) = batches.index.search_from(sequence) else { return Ok(None) };
        let mut journal = Stream::in_small_pieces(File::Journal, record_offset(from), record_offset(self.tip.slots));
        for slot in from..self.tip.slots {
            self.looked_at += RECORD_BYTES;
            let bytes = journal.take(&mut self.disk, RECORD_BYTES as u64)?;
            let record = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, slot, self.seed));
            match record {
                Some((record, _)) if is_it(&record) => {
                    batches.index.note_found(sequence, slot);
                    return Ok(Some(record));
                }
                Some(_) => {}
                None => {
                    let name = self.disk.name(File::Journal);
                    let what = format!("{name}: damaged at byte {}: not the record written there", record_offset(slot));
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
        }
        Ok(None)
    }
}
