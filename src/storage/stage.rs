//! Staging the changes of a turn, and finding out which batches are stored.

use std::io;

use super::error::MatchError;
use super::files::disk::{Disk, File};
use super::files::stream::Stream;
use super::format::record::{Kind, RECORD_BYTES, Record, record_offset};
use super::keep::StagedBatch;
use super::state::Store;
use crate::lottery::{AgencyId, BatchError, BetSource};

impl<D: Disk> Store<D> {
    /// Encodes the rows of a batch behind those already staged and stages its record. Nothing is staged on an
    /// error, nor for a batch of no bets.
    ///
    /// # Errors
    /// What is wrong with the batch.
    ///
    /// # Panics
    /// Where `sequence` is not the number of the agency's next batch. The caller checks it with
    /// [`next_sequence`](Self::next_sequence).
    pub fn stage_batch(
        &mut self,
        agency: AgencyId,
        sequence: u64,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        let start = self.staged.rows.len();
        let appended = self.staged.rows.append(agency, self.winning_number, bets)?;
        let rows = &self.staged.rows.bytes()[start..];
        let checksum = crc32c::crc32c(rows);
        let staged = StagedBatch { bets: appended.bets, winners: appended.winners, checksum };
        if staged.bets == 0 {
            return Ok(staged);
        }
        let Ok(rows_bytes) = u32::try_from(rows.len()) else {
            // A record has 32 bits for the length. No dialect allows a frame with so many bets.
            self.staged.rows.truncate(start);
            return Err(BatchError::Malformed);
        };
        let batches = self.batches.entry(agency).or_default();
        assert_eq!(
            sequence,
            batches.committed + batches.staged_at.len() as u64,
            "batches of agency {agency} are staged in order"
        );
        batches.staged_at.push(self.staged.records.len());
        self.staged.records.push(Record {
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

    /// Stages that `agency` is excluded from the draw.
    pub fn stage_exclusion(&mut self, agency: AgencyId) {
        self.stage(Record { agency: agency.0, ..Record::new(Kind::Exclusion) });
    }

    /// Stages that the draw has been made on `winning_number`.
    pub fn stage_draw(&mut self, winning_number: u32) {
        self.stage(Record { count: winning_number, ..Record::new(Kind::Draw) });
    }

    pub(super) fn stage(&mut self, record: Record) {
        let rows_offset = self.tip.rows_bytes + self.staged.rows.len() as u64;
        self.staged.records.push(Record { rows_offset, ..record });
    }

    /// Whether a commit waits for the disk (`FSYNC = always`).
    pub fn syncs(&self) -> bool {
        self.options.sync
    }

    /// The number of the last committed group. It rises with every commit that writes.
    pub fn group(&self) -> u64 {
        self.tip.group
    }

    /// The sequence number of the next batch of `agency`. Staged batches count.
    pub fn next_sequence(&self, agency: AgencyId) -> u64 {
        self.batches.get(&agency).map_or(0, |batches| batches.committed + batches.staged_at.len() as u64)
    }

    /// Whether `bets` are exactly what is stored or staged as batch `sequence` of `agency`; `false` where there
    /// is no such batch.
    ///
    /// # Errors
    /// Bets that cannot be decoded or break a rule; a disk that cannot be read.
    pub fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<bool, MatchError> {
        let start = self.staged.rows.len();
        let appended = self.staged.rows.append(agency, self.winning_number, bets)?;
        let rows = &self.staged.rows.bytes()[start..];
        let received = (appended.bets, rows.len() as u64, crc32c::crc32c(rows));
        self.staged.rows.truncate(start);
        let stored = self.find(agency, sequence).map_err(MatchError::Io)?;
        Ok(stored.is_some_and(|record| (record.count, u64::from(record.rows_bytes), record.rows_crc) == received))
    }

    /// The record of a batch, staged or committed.
    fn find(&mut self, agency: AgencyId, sequence: u64) -> io::Result<Option<Record>> {
        let is_it =
            |record: &Record| record.kind == Kind::Batch && record.agency == agency.0 && record.sequence == sequence;
        let Some(batches) = self.batches.get_mut(&agency) else { return Ok(None) };
        if sequence >= batches.committed {
            let staged = usize::try_from(sequence - batches.committed).ok().and_then(|at| batches.staged_at.get(at));
            return Ok(staged.map(|at| self.staged.records[*at]));
        }
        let Some(from) = batches.index.search_from(sequence) else { return Ok(None) };
        let mut journal = Stream::in_small_pieces(File::Journal, record_offset(from), record_offset(self.tip.slots));
        for slot in from..self.tip.slots {
            self.journal.bytes_read += RECORD_BYTES;
            let bytes = journal.take(&mut self.disk, RECORD_BYTES as u64)?;
            let record = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, slot, self.journal.seed));
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
