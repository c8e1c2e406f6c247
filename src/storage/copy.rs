//! Copying a store, also while a server writes to it.
//!
//! Reading a file while it is written is no snapshot: the copy can have a later record and lack an earlier one, which a
//! start reports as damage. So the copy takes records from the first one on, up to the last whole group before the
//! first slot that is not written. Records before that slot do not change any more, and their rows were written before
//! them. Where no server runs, the files are copied as they are, the redo log included. In both cases the copy is then
//! opened like any store, which checks all of it, and is closed with a seal.

use std::path::Path;

use super::error::{CommitError, OpenError};
use super::files::disk::{File, write_all, write_zeros};
use super::files::os_disk::OsDisk;
use super::files::stream::Stream;
use super::format::record::{HEADER_BLOCKS_BYTES, RECORD_BYTES, RECORDS_START, record_offset};
use super::open::create::write_headers;
use super::open::scan::read_header;
use super::open::walk::{Walk, last_logged, while_in_use};
use super::state::{Options, Store};

/// Files are copied this many bytes at a time.
const PIECE_BYTES: u64 = 1024 * 1024;
/// Free slots behind the last record of a copy; opening it adds more.
const SLOTS_AHEAD: u64 = 256;

/// What a copy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Bets of all agencies.
    pub bets: u64,
    /// Bytes of their rows.
    pub rows_bytes: u64,
}

/// Copies the store whose rows are at `from` to `to`, durably. There must be no store at `to`. A server may run on
/// `from`; everything that it acknowledged before the call is in the copy.
///
/// # Errors
/// A file cannot be read or written; the store is damaged, so that a copy of it does not open.
pub fn copy(from: &Path, to: &Path) -> Result<Copied, OpenError> {
    let mut source = Store::new(OsDisk::reading(from), Options::default());
    let stopped = source.disk.try_lock_shared().map_err(|(file, error)| source.failed_to("lock", file, error))?;
    let mut target = Store::new(OsDisk::new(to), Options::default());
    if source.len(File::Rows)? == 0 && source.len(File::Journal)? == 0 {
        return Err(source.failed_to("find a store at", File::Rows, rustix::io::Errno::NOENT.into()));
    }
    if stopped {
        for file in [File::Rows, File::Journal, File::Redo] {
            let bytes = source.len(file)?;
            copy_bytes(&mut source, &mut target, file, bytes)?;
        }
    } else {
        copy_running(&mut source, &mut target)?;
    }
    drop(target);
    verify(to, stopped)
}

/// Copies a store that a server uses.
fn copy_running(source: &mut Store<OsDisk>, target: &mut Store<OsDisk>) -> Result<(), OpenError> {
    match while_in_use(|| copy_records(source, target))? {
        Some(rows_bytes) => copy_bytes(source, target, File::Rows, rows_bytes),
        None => {
            let what = "the redo log has turns that the journal lacks, although a server runs".to_owned();
            Err(source.damaged(File::Journal, RECORDS_START, what))
        }
    }
}

/// Copies the journal up to its last whole group. Returns how many bytes of rows these groups have; `None` where the
/// server is starting, and has not yet applied its redo log to the journal.
fn copy_records(source: &mut Store<OsDisk>, target: &mut Store<OsDisk>) -> Result<Option<u64>, OpenError> {
    let Some(header) = read_header(source)? else {
        return Err(source.damaged(File::Journal, 0, "neither copy of the header can be read".to_owned()));
    };
    let logged = last_logged(source, header.seed())?;
    let journal_bytes = source.len(File::Journal)?;
    let begun = write_all(&mut target.disk, File::Journal, 0, &[0; HEADER_BLOCKS_BYTES]).1;
    begun.map_err(|error| target.failed_to("write", File::Journal, error))?;
    let mut walk = Walk::new(header.seed(), journal_bytes);
    let mut piece: Vec<u8> = Vec::new();
    while let Some(bytes) =
        walk.next(&mut source.disk).map_err(|error| source.failed_to("read", File::Journal, error))?
    {
        piece.extend_from_slice(&bytes);
        if walk.tip == walk.last && piece.len() as u64 >= PIECE_BYTES {
            put_records(target, &mut piece, walk.tip.slots)?;
        }
    }
    let tip = walk.tip;
    piece.truncate(piece.len() - RECORD_BYTES * usize::try_from(walk.last.slots - tip.slots).unwrap_or(usize::MAX));
    put_records(target, &mut piece, tip.slots)?;
    let end = record_offset(tip.slots);
    let zeroed = write_zeros(&mut target.disk, File::Journal, end, end + SLOTS_AHEAD * RECORD_BYTES as u64).1;
    zeroed.map_err(|error| target.failed_to("write", File::Journal, error))?;
    if tip.group < logged {
        return Ok(None);
    }
    walk.check_end(source)?;
    write_headers(target, header)?;
    Ok(Some(tip.rows_bytes))
}

/// Writes records up to slot `end`.
fn put_records(target: &mut Store<OsDisk>, piece: &mut Vec<u8>, end: u64) -> Result<(), OpenError> {
    let written = write_all(&mut target.disk, File::Journal, record_offset(end) - piece.len() as u64, piece).1;
    piece.clear();
    written.map_err(|error| target.failed_to("write", File::Journal, error))
}

/// Copies the first `bytes` bytes of `file`.
fn copy_bytes(source: &mut Store<OsDisk>, target: &mut Store<OsDisk>, file: File, bytes: u64) -> Result<(), OpenError> {
    let mut part = Stream::new(file, 0, bytes);
    let mut at = 0;
    while at < bytes {
        let piece = part.take(&mut source.disk, PIECE_BYTES).map_err(|error| source.failed_to("read", file, error))?;
        if piece.is_empty() {
            return Err(source.damaged(file, at, format!("the file ends before byte {bytes}")));
        }
        let (taken, written) = write_all(&mut target.disk, file, at, piece);
        written.map_err(|error| target.failed_to("write", file, error))?;
        at += taken as u64;
    }
    Ok(())
}

/// Opens the copy, which checks it, and closes it.
fn verify(to: &Path, stopped: bool) -> Result<Copied, OpenError> {
    let (mut store, recovered) = Store::open(OsDisk::new(to), Options { redo_bytes: 0, ..Options::default() })?;
    if let Some(cut) = recovered.discarded.filter(|_| !stopped) {
        // Only whole groups were copied, so the rows of the last one do not match its records.
        let what = format!("{} bytes of rows are not those stored", cut.rows_bytes);
        return Err(store.damaged(File::Rows, store.tip.rows_bytes, what));
    }
    let closed = store.close();
    closed.map_err(|error| match error {
        CommitError::Full(error) | CommitError::Fatal(error) => store.failed_to("close", File::Rows, error),
    })?;
    let bets = recovered.agencies.iter().map(|(_, agency)| agency.bets).sum();
    Ok(Copied { bets, rows_bytes: store.tip.rows_bytes })
}
