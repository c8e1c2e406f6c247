//! The scan: the journal's header, and what its slots have independent of one another.

use std::io;

use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, ReadAt, read_full};
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{
    HEADER_BYTES, HEADER_COPIES, Header, Kind, RECORD_BYTES, RECORDS_START, Record, VERSION, record_offset,
};
use crate::storage::state::Store;

/// The header, from either copy; `None` where neither is valid.
pub(in crate::storage) fn read_header<D: Disk>(store: &mut Store<D>) -> Result<Option<Header>, OpenError> {
    let mut found = None;
    for offset in HEADER_COPIES {
        let mut bytes = [0; HEADER_BYTES];
        let read = read_full(&mut store.disk, File::Journal, offset, &mut bytes);
        read.map_err(|error| store.failed_to("read", File::Journal, error))?;
        let Some(header) = Header::decode(&bytes) else { continue };
        if header.version != VERSION {
            let what = format!("format {} is not known to this program, which writes {VERSION}", header.version);
            return Err(store.damaged(File::Journal, offset, what));
        }
        if found.is_some_and(|found| found != header) {
            return Err(store.damaged(File::Journal, offset, "the header's two copies are of different stores".into()));
        }
        found = Some(header);
    }
    Ok(found)
}

/// Whether only zeros follow the header: the store is new, or a crash has cut off its creation.
pub(super) fn has_no_records<D: Disk>(store: &mut Store<D>, journal_bytes: u64) -> Result<bool, OpenError> {
    let mut journal = Stream::new(File::Journal, RECORDS_START.min(journal_bytes), journal_bytes);
    loop {
        let piece = journal.take(&mut store.disk, 64 * 1024);
        match piece {
            Ok([]) => return Ok(true),
            Ok(piece) if piece.iter().any(|&byte| byte != 0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(store.failed_to("read", File::Journal, error)),
        }
    }
}

/// What the scan has found.
#[derive(Debug, Default)]
pub(in crate::storage) struct Scan {
    /// The highest group of any valid record; 0 if there is none.
    pub highest_group: u64,
    /// The group and the winning number of the first draw.
    pub draw: Option<(u64, u32)>,
    /// Offset in the journal behind the last byte that is not zero.
    pub nonzero_end: u64,
    /// The journal's length in bytes.
    pub journal_bytes: u64,
}

/// Reads every slot of a journal of `journal_bytes` bytes.
pub(in crate::storage) fn scan(disk: &mut impl ReadAt, seed: u32, journal_bytes: u64) -> io::Result<Scan> {
    let mut found = Scan { nonzero_end: RECORDS_START, journal_bytes, ..Scan::default() };
    let mut journal = Stream::new(File::Journal, RECORDS_START.min(journal_bytes), journal_bytes);
    for slot in 0.. {
        let bytes = journal.take(disk, RECORD_BYTES as u64)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().all(|&byte| byte == 0) {
            continue;
        }
        found.nonzero_end = record_offset(slot) + bytes.len() as u64;
        let Some((record, _)) = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, slot, seed)) else {
            continue;
        };
        found.highest_group = found.highest_group.max(record.group);
        if record.kind == Kind::Draw {
            found.draw.get_or_insert((record.group, record.count));
        }
    }
    Ok(found)
}
