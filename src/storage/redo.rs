//! Reading the redo log at a start: its entries are checked, and written to rows and journal.

use super::error::OpenError;
use super::files::disk::{Disk, File, ReadAt, make, read_full, write_all};
use super::files::stream::Stream;
use super::format::record::{RECORD_BYTES, Record, record_offset};
use super::format::redo::{self, ENTRY_HEADER_BYTES, Entry, EntryHeader};
use super::mutant::Mutant;
use super::state::{Store, Tip};
use crc32c::crc32c;
use std::io;
use std::ops::Range;

/// Entries start and end at multiples of it.
const BLOCK_BYTES: u64 = redo::BLOCK_BYTES as u64;
/// Entries are copied so many bytes at a time.
const PIECE_BYTES: u64 = 1024 * 1024;

/// What a start finds in the log.
#[derive(Debug, Default)]
pub(super) struct Redo {
    entries: Vec<Entry>,
    /// Where the entries that count end.
    end: u64,
    /// The highest group of a header behind them, and where it is.
    stray: Option<(u64, u64)>,
    /// How long the file is.
    bytes: u64,
}

impl Redo {
    /// Reads the log of the store whose checksums start from `seed`.
    pub(super) fn read<D: Disk>(disk: &mut D, seed: u32, mutant: Mutant) -> io::Result<Redo> {
        let mut redo = Redo { bytes: disk.len(File::Redo)?, ..Redo::default() };
        if mutant.is(Mutant::IgnoreRedo) {
            return Ok(redo);
        }
        let mut at = 0;
        while let Some(entry) = read_entry(disk, at, redo.bytes, seed, mutant)? {
            if redo.entries.last().is_some_and(|before| !entry.follows(before)) {
                break;
            }
            at = entry.end();
            redo.entries.push(entry);
        }
        redo.end = at;
        let mut rest = Stream::new(File::Redo, at.min(redo.bytes), redo.bytes);
        while at < redo.bytes {
            let block = rest.take(disk, BLOCK_BYTES)?;
            if let Some(header) = EntryHeader::decode(block, seed)
                && redo.stray.is_none_or(|(group, _)| group < header.group)
            {
                redo.stray = Some((header.group, at));
            }
            at += BLOCK_BYTES;
        }
        Ok(redo)
    }

    /// The highest group that it has for rows and journal; 0 if none.
    pub(super) fn last_group(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.header.group)
    }

    /// Whether it has nothing for rows or journal.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The length that a `file` of `bytes` bytes has with what the log has of it.
    pub(super) fn len_of(&self, file: File, bytes: u64) -> u64 {
        self.entries.last().map_or(bytes, |last| bytes.max(part(last, file).0.end))
    }

    /// The disk with what the log has.
    pub(super) fn over<'r, D: Disk>(&'r self, disk: &'r mut D) -> Redone<'r, D> {
        Redone { redo: self, disk }
    }

    /// Where the log is damaged, if the store's data ends at `tip`, and the group behind that which is lost for it. The
    /// group behind the tip may have been cut off while it was written; then it stands right behind the entries that
    /// count. Any other was begun when the one before it was durable.
    pub(super) fn damage(&self, tip: Tip) -> Option<(u64, u64)> {
        let torn = |at| u64::from(at == self.end);
        let lost = self.stray.filter(|(group, at)| *group > tip.group + torn(*at));
        lost.map(|(group, _)| (self.end, group))
    }

    /// Refuses a journal that has a valid record where the log has another one: whoever wrote it on did not know the log.
    /// What a crash leaves is the same record, or none.
    pub(super) fn check_journal<D: Disk>(&self, store: &mut Store<D>) -> Result<(), OpenError> {
        for entry in &self.entries {
            let (there, from) = entry.records();
            let mut logged = Stream::new(File::Redo, from, from + entry.header.records_bytes());
            let mut kept = Stream::new(File::Journal, there.start, there.end);
            for slot in entry.header.slot..entry.header.slot + entry.header.count {
                let kept = kept.take(&mut store.disk, RECORD_BYTES as u64);
                let kept = kept.map_err(|error| store.failed_to("read", File::Journal, error))?.first_chunk();
                let logged = logged.take(&mut store.disk, RECORD_BYTES as u64);
                let logged = logged.map_err(|error| store.failed_to("read", File::Redo, error))?;
                let valid = kept.filter(|bytes| Record::decode(bytes, slot, store.journal.seed).is_some());
                if valid.is_some_and(|valid| valid != logged) {
                    let log = store.disk.name(File::Redo);
                    let what = format!("{log} has another record in this place, so the two do not belong together");
                    return Err(store.damaged(File::Journal, record_offset(slot), what));
                }
            }
        }
        Ok(())
    }

    /// Writes what the log has to rows and journal.
    pub(super) fn apply<D: Disk>(&self, store: &mut Store<D>) -> Result<(), OpenError> {
        for file in [File::Rows, File::Journal] {
            for entry in &self.entries {
                let (to, from) = part(entry, file);
                let mut part = Stream::new(File::Redo, from, from + (to.end - to.start));
                let mut at = to.start;
                while at < to.end {
                    let piece = part.take(&mut store.disk, (to.end - at).min(PIECE_BYTES));
                    let piece =
                        piece.map(<[u8]>::to_vec).map_err(|error| store.failed_to("read", File::Redo, error))?;
                    let (taken, written) = write_all(&mut store.disk, file, at, &piece);
                    written.map_err(|error| store.failed_to("write", file, error))?;
                    if taken == 0 {
                        return Err(store.failed_to("read", File::Redo, io::ErrorKind::UnexpectedEof.into()));
                    }
                    at += taken as u64;
                }
            }
        }
        Ok(())
    }

    /// Empties the log, and sees that there is one: rows and journal have been synced, or are made anew.
    pub(super) fn begin<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
        // Rows that are there already are on the disk, or have been sent there.
        store.redo.sent = store.len(File::Rows)?;
        if store.len(File::Redo)? > 0 {
            let cut = store.disk.truncate(File::Redo, 0);
            return cut.map_err(|error| store.failed_to("cut", File::Redo, error));
        }
        if store.options.sync && store.options.redo_bytes > 0 {
            make(&mut store.disk, File::Redo).map_err(|error| store.failed_to("make", File::Redo, error))?;
        }
        Ok(())
    }
}

/// Which bytes of `file` an entry has, and where they start in the log.
fn part(entry: &Entry, file: File) -> (Range<u64>, u64) {
    match file {
        File::Rows => entry.rows(),
        File::Journal => entry.records(),
        // No entry has anything of these.
        File::Quarantine | File::Redo => (0..0, entry.rows_at),
    }
}

/// The entry at byte `at` of a log of `log_bytes` bytes; `None` if there is none, or no whole one.
fn read_entry<D: Disk>(disk: &mut D, at: u64, log_bytes: u64, seed: u32, mutant: Mutant) -> io::Result<Option<Entry>> {
    let mut header = [0; ENTRY_HEADER_BYTES];
    let read = read_full(disk, File::Redo, at, &mut header)?;
    let Some(header) = EntryHeader::decode(&header[..read], seed) else { return Ok(None) };
    let rows_at = at + ENTRY_HEADER_BYTES as u64;
    let records_at = rows_at + header.rows_bytes;
    let end = records_at + header.records_bytes();
    if end > log_bytes {
        return Ok(None);
    }
    let mut rows = Stream::new(File::Redo, rows_at, records_at);
    let mut records = Stream::new(File::Redo, records_at, end);
    // The checksum of the record before the first one, and that of the last one so far.
    let (mut rows_offset, mut crcs) = (header.rows_offset, None);
    for slot in header.slot..header.slot + header.count {
        let record = records.take(disk, RECORD_BYTES as u64)?.first_chunk();
        let record = record.and_then(|bytes| Record::decode(bytes, slot, seed));
        let Some((record, crc)) = record else { return Ok(None) };
        let is_last = slot + 1 == header.slot + header.count;
        let (before, last) = crcs.unwrap_or((record.previous_crc, record.previous_crc));
        if record.group != header.group
            || record.last_of_group != is_last
            || record.rows_offset != rows_offset
            || record.previous_crc != last
        {
            return Ok(None);
        }
        let rows = rows.take(disk, u64::from(record.rows_bytes))?;
        let whole = rows.len() as u64 == u64::from(record.rows_bytes);
        if !whole || (record.rows_bytes > 0 && crc32c(rows) != record.rows_crc && !mutant.is(Mutant::SkipRedoChecksum))
        {
            return Ok(None);
        }
        rows_offset += u64::from(record.rows_bytes);
        crcs = Some((before, crc));
    }
    let crcs = crcs.filter(|_| rows_offset == header.rows_offset + header.rows_bytes);
    Ok(crcs.map(|(previous_crc, crc)| Entry { header, rows_at, previous_crc, crc }))
}

/// A disk as it will be when its redo log is applied.
pub(super) struct Redone<'r, D> {
    redo: &'r Redo,
    disk: &'r mut D,
}

impl<D: Disk> ReadAt for Redone<'_, D> {
    fn read_some(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let entries = &self.redo.entries;
        let next = entries.partition_point(|entry| part(entry, file).0.end <= offset);
        let Some(entry) = entries.get(next) else { return self.disk.read_at(file, offset, buffer) };
        let (range, at) = part(entry, file);
        let (file, from, end) = if range.start <= offset {
            (File::Redo, at + (offset - range.start), range.end)
        } else {
            (file, offset, range.start)
        };
        let room = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
        self.disk.read_at(file, from, &mut buffer[..room])
    }
}
