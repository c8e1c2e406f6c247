//! Reading the redo log: its entries are checked, read in place of what rows and journal lack, and written there.

use std::io;
use std::ops::Range;

use crc32c::crc32c;

use crate::mutants::{self, Mutant};
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, ReadAt, make, read_full, write_all};
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{RECORD_BYTES, Record, record_offset};
use crate::storage::format::redo::{self, ENTRY_HEADER_BYTES, Entry, EntryHeader};
use crate::storage::state::{Store, Tip};

const BLOCK_BYTES: u64 = redo::BLOCK_BYTES as u64;
/// Entries are copied this many bytes at a time.
const PIECE_BYTES: u64 = 1024 * 1024;

/// What a start finds in the log.
#[derive(Debug, Default)]
pub(in crate::storage) struct LogContents {
    /// Whole entries that follow one another.
    entries: Vec<Entry>,
    /// Where they end.
    end: u64,
    /// The highest group of a header behind them, and its offset.
    stray: Option<(u64, u64)>,
    /// The length of the file.
    bytes: u64,
}

impl LogContents {
    /// Reads the log of the store whose checksums start from `seed`.
    pub(in crate::storage) fn read<D: Disk>(disk: &mut D, seed: u32) -> io::Result<LogContents> {
        let mut log = LogContents { bytes: disk.len(File::Redo)?, ..LogContents::default() };
        if mutants::is(Mutant::IgnoreRedo) {
            return Ok(log);
        }
        let mut at = 0;
        while let Some(entry) = read_entry(disk, at, log.bytes, seed)? {
            if log.entries.last().is_some_and(|before| !entry.follows(before)) {
                break;
            }
            at = entry.end();
            log.entries.push(entry);
        }
        log.end = at;
        let mut rest = Stream::new(File::Redo, at.min(log.bytes), log.bytes);
        while at < log.bytes {
            let block = rest.take(disk, BLOCK_BYTES)?;
            if let Some(header) = EntryHeader::decode(block, seed)
                && log.stray.is_none_or(|(group, _)| group < header.group)
            {
                log.stray = Some((header.group, at));
            }
            at += BLOCK_BYTES;
        }
        Ok(log)
    }

    /// The highest group of an entry; 0 if there is none.
    pub(in crate::storage) fn last_group(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.header.group)
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The length that `file`, which has `bytes` bytes, will have when the entries are applied.
    pub(super) fn len_of(&self, file: File, bytes: u64) -> u64 {
        self.entries.last().map_or(bytes, |last| bytes.max(part(last, file).0.end))
    }

    /// The disk as it will be when the entries are applied.
    pub(super) fn overlay<'l, D: Disk>(&'l self, disk: &'l mut D) -> Overlay<'l, D> {
        Overlay { log: self, disk }
    }

    /// Where the log is damaged, if the store's data ends at `tip`, and the group that is lost by it. An entry of the
    /// group behind the tip is no damage where it directly follows the valid entries: a crash cut it off. A later entry
    /// was begun only after the one before it was durable.
    pub(super) fn damage(&self, tip: Tip) -> Option<(u64, u64)> {
        let torn = |at| u64::from(at == self.end);
        let lost = self.stray.filter(|(group, at)| *group > tip.group + torn(*at));
        lost.map(|(group, _)| (self.end, group))
    }

    /// Refuses a journal that has another valid record in the slot of an entry's record: the store was used without its
    /// log. A crash leaves the entry's record, or none.
    pub(super) fn check_journal<D: Disk>(&self, store: &mut Store<D>) -> Result<(), OpenError> {
        for entry in &self.entries {
            let (there, from) = entry.records();
            let mut logged = Stream::new(File::Redo, from, from + entry.header.records_bytes());
            let mut stored = Stream::new(File::Journal, there.start, there.end);
            for slot in entry.header.slot..entry.header.slot + entry.header.count {
                let stored = stored.take(&mut store.disk, RECORD_BYTES as u64);
                let stored = stored.map_err(|error| store.failed_to("read", File::Journal, error))?.first_chunk();
                let logged = logged.take(&mut store.disk, RECORD_BYTES as u64);
                let logged = logged.map_err(|error| store.failed_to("read", File::Redo, error))?;
                let valid = stored.filter(|bytes| Record::decode(bytes, slot, store.journal.seed).is_some());
                if valid.is_some_and(|valid| valid != logged) {
                    let log = store.disk.name(File::Redo);
                    let what = format!("{log} has another record in this place, so the two do not belong together");
                    return Err(store.damaged(File::Journal, record_offset(slot), what));
                }
            }
        }
        Ok(())
    }

    /// Writes the entries' rows and records to their files.
    pub(super) fn apply<D: Disk>(&self, store: &mut Store<D>) -> Result<(), OpenError> {
        for file in [File::Rows, File::Journal] {
            for entry in &self.entries {
                apply_part(store, file, part(entry, file))?;
            }
        }
        Ok(())
    }
}

/// Which bytes of `file` an entry has, and where they start in the log.
fn part(entry: &Entry, file: File) -> (Range<u64>, u64) {
    match file {
        File::Rows => entry.rows(),
        File::Journal => entry.records(),
        // Entries have no bytes of these files.
        File::Quarantine | File::Redo => (0..0, entry.rows_at),
    }
}

/// Copies the bytes at `from` of the log to the range `to` of `file`.
fn apply_part<D: Disk>(store: &mut Store<D>, file: File, (to, from): (Range<u64>, u64)) -> Result<(), OpenError> {
    let mut part = Stream::new(File::Redo, from, from + (to.end - to.start));
    let mut at = to.start;
    while at < to.end {
        let piece = part.take(&mut store.disk, (to.end - at).min(PIECE_BYTES));
        let piece = piece.map(<[u8]>::to_vec).map_err(|error| store.failed_to("read", File::Redo, error))?;
        let (taken, written) = write_all(&mut store.disk, file, at, &piece);
        written.map_err(|error| store.failed_to("write", file, error))?;
        if taken == 0 {
            return Err(store.failed_to("read", File::Redo, io::ErrorKind::UnexpectedEof.into()));
        }
        at += taken as u64;
    }
    Ok(())
}

/// Empties the log, or makes it where it is missing. Rows and journal have been synced, or the store is new.
pub(super) fn reset_log<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    // The rows that are there have been synced or sent to the disk.
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

/// The entry at byte `at` of a log of `log_bytes` bytes; `None` if there is no whole one.
fn read_entry<D: Disk>(disk: &mut D, at: u64, log_bytes: u64, seed: u32) -> io::Result<Option<Entry>> {
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
        if !whole
            || (record.rows_bytes > 0 && crc32c(rows) != record.rows_crc && !mutants::is(Mutant::SkipRedoChecksum))
        {
            return Ok(None);
        }
        rows_offset += u64::from(record.rows_bytes);
        crcs = Some((before, crc));
    }
    let crcs = crcs.filter(|_| rows_offset == header.rows_offset + header.rows_bytes);
    Ok(crcs.map(|(previous_crc, crc)| Entry { header, rows_at, previous_crc, crc }))
}

/// A disk as it will be when the entries of its log are applied.
pub(super) struct Overlay<'l, D> {
    log: &'l LogContents,
    disk: &'l mut D,
}

impl<D: Disk> ReadAt for Overlay<'_, D> {
    fn read_some(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let entries = &self.log.entries;
        let next = entries.partition_point(|entry| part(entry, file).0.end <= offset);
        let Some(entry) = entries.get(next) else { return self.disk.read_at(file, offset, buffer) };
        let (range, at) = part(entry, file);
        let (file, from, end) = if range.start <= offset {
            (File::Redo, at + (offset - range.start), range.end)
        } else {
            (file, offset, range.start)
        };
        let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
        self.disk.read_at(file, from, &mut buffer[..wanted])
    }
}
