//! Reading the journal of a store that a server writes to.
//!
//! The slots are read from the first one on, up to the first that has no next record. Records before that slot do not
//! change any more, and their rows were written before them.

use std::io;

use super::redo::LogContents;
use super::scan::{Scan, scan};
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, ReadAt};
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{RECORD_BYTES, RECORDS_START, Record, record_offset};
use crate::storage::state::{Store, Tip};

/// How often reading is tried, where a starting server changes the files meanwhile.
const TRIES: usize = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Records that follow one another.
#[derive(Debug)]
pub(in crate::storage) struct Walk {
    journal: Stream,
    seed: u32,
    /// The end of the last whole group.
    pub tip: Tip,
    /// The end of the last record.
    pub last: Tip,
}

impl Walk {
    /// From the first record of a journal of `journal_bytes` bytes, whose checksums start from `seed`.
    pub(in crate::storage) fn new(seed: u32, journal_bytes: u64) -> Walk {
        let journal = Stream::new(File::Journal, RECORDS_START.min(journal_bytes), journal_bytes);
        Walk { journal, seed, tip: Tip::start(seed), last: Tip::start(seed) }
    }

    /// The next record's bytes; `None` where no record follows.
    pub(in crate::storage) fn next(&mut self, disk: &mut impl ReadAt) -> io::Result<Option<[u8; RECORD_BYTES]>> {
        let bytes = self.journal.take(disk, RECORD_BYTES as u64)?.first_chunk().copied();
        let Some(bytes) = bytes else { return Ok(None) };
        let Some((next, ends)) = follow(&bytes, self.seed, self.last, self.in_group()) else { return Ok(None) };
        self.last = next;
        if ends {
            self.tip = next;
        }
        Ok(Some(bytes))
    }

    /// Whether the last record was not the last one of its group.
    fn in_group(&self) -> bool {
        self.last.group != self.tip.group
    }

    /// Checks that the walk ended at the end of the journal and not at a damaged record: where the journal has later
    /// groups now, a valid record must have been written to this slot in the meantime. Returns what the journal has.
    pub(in crate::storage) fn check_end<D: Disk>(&self, store: &mut Store<D>) -> Result<Scan, OpenError> {
        let journal_bytes = store.len(File::Journal)?;
        let found = scan(&mut store.disk, self.seed, journal_bytes);
        let found = found.map_err(|error| store.failed_to("read", File::Journal, error))?;
        if found.highest_group <= self.last.group + u64::from(!self.in_group()) {
            return Ok(found);
        }
        let offset = record_offset(self.last.slots);
        let mut here = Stream::in_small_pieces(File::Journal, offset, journal_bytes);
        let bytes = here.take(&mut store.disk, RECORD_BYTES as u64);
        let bytes = bytes.map_err(|error| store.failed_to("read", File::Journal, error))?;
        match follow(bytes, self.seed, self.last, self.in_group()) {
            Some(_) => Ok(found),
            None => Err(store.damaged(File::Journal, offset, "there is no valid record here".to_owned())),
        }
    }
}

/// The tip behind the record in `bytes`, which must follow `last`, and whether its group ends with it.
fn follow(bytes: &[u8], seed: u32, last: Tip, in_group: bool) -> Option<(Tip, bool)> {
    let (record, crc) = Record::decode(bytes.first_chunk()?, last.slots, seed)?;
    last.is_followed_by(&record, in_group).then(|| (last.after(&record, crc), record.last_of_group))
}

/// The last group of the redo log: a journal that lacks it is that of a server that is starting.
pub(in crate::storage) fn last_logged<D: Disk>(store: &mut Store<D>, seed: u32) -> Result<u64, OpenError> {
    let log = LogContents::read(&mut store.disk, seed);
    Ok(log.map_err(|error| store.failed_to("read", File::Redo, error))?.last_group())
}

/// Calls `read` until it has read a store that a server uses; `None` where the server has been starting all the time.
pub(in crate::storage) fn while_in_use<T>(
    mut read: impl FnMut() -> Result<Option<T>, OpenError>,
) -> Result<Option<T>, OpenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match read() {
            Ok(Some(done)) => return Ok(Some(done)),
            done if tries == TRIES => return done,
            Ok(None) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
