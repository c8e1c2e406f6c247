//! Copying a store, also while a server writes to it.
//!
//! Reading a file while it is written is no snapshot: the copy can have a later record and lack an earlier one, which a
//! start reports as damage. So the copy takes records from the first one on, up to the last whole group before the
//! first slot that is not written. Records before that slot do not change any more, and their rows were written before
//! them. Where no server runs, the files are copied as they are, the redo log included. In both cases the copy is then
//! opened like any store, which checks all of it, and is closed with a seal.

use std::io;
use std::path::Path;

use super::error::{CommitError, OpenError};
use super::files::disk::{File, write_all, write_zeros};
use super::files::os_disk::OsDisk;
use super::files::stream::Stream;
use super::format::record::{HEADER_BLOCKS_BYTES, RECORD_BYTES, RECORDS_START, Record, record_offset, slots_in};
use super::open::create::write_headers;
use super::open::redo::LogContents;
use super::open::scan::{read_header, scan};
use super::state::{Options, Store, Tip};

/// Files are copied this many bytes at a time.
const PIECE_BYTES: u64 = 1024 * 1024;
/// Free slots behind the last record of a copy; opening it adds more.
const SLOTS_AHEAD: u64 = 256;
/// How often copying is tried, where a starting server changes the files during the copy.
const TRIES: usize = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

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
    let stopped = source.disk.try_lock_shared().map_err(|error| source.failed_to("lock", File::Rows, error))?;
    let mut target = Store::new(OsDisk::new(to), Options::default());
    if source.len(File::Rows)? == 0 && source.len(File::Journal)? == 0 {
        return Err(source.failed_to("find a store at", File::Rows, io::ErrorKind::NotFound.into()));
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
    let mut tries = 0;
    let rows_bytes = loop {
        let tried = copy_records(source, target);
        tries += 1;
        match tried {
            Ok(Some(rows_bytes)) => break rows_bytes,
            Err(error) if tries == TRIES => return Err(error),
            Ok(None) if tries == TRIES => {
                let what = "the redo log has turns that the journal lacks, although a server runs".to_owned();
                return Err(source.damaged(File::Journal, RECORDS_START, what));
            }
            Ok(None) | Err(_) => std::thread::sleep(PAUSE),
        }
    };
    copy_bytes(source, target, File::Rows, rows_bytes)
}

/// Copies the journal up to its last whole group. Returns how many bytes of rows these groups have; `None` where the
/// server is starting, and has not yet applied its redo log to the journal.
fn copy_records(source: &mut Store<OsDisk>, target: &mut Store<OsDisk>) -> Result<Option<u64>, OpenError> {
    let Some(header) = read_header(source)? else {
        return Err(source.damaged(File::Journal, 0, "neither copy of the header can be read".to_owned()));
    };
    let seed = header.seed();
    let logged = LogContents::read(&mut source.disk, seed);
    let logged = logged.map_err(|error| source.failed_to("read", File::Redo, error))?.last_group();
    let journal_bytes = source.len(File::Journal)?;
    let begun = write_all(&mut target.disk, File::Journal, 0, &[0; HEADER_BLOCKS_BYTES]).1;
    begun.map_err(|error| target.failed_to("write", File::Journal, error))?;
    let mut journal = Stream::new(File::Journal, RECORDS_START, journal_bytes);
    // `tip` is the end of the last whole group, `last` that of the last record.
    let (mut tip, mut last) = (Tip::start(seed), Tip::start(seed));
    let mut piece: Vec<u8> = Vec::new();
    for _ in 0..slots_in(journal_bytes) {
        let bytes = journal.take(&mut source.disk, RECORD_BYTES as u64);
        let bytes = bytes.map_err(|error| source.failed_to("read", File::Journal, error))?;
        let Some((next, ends)) = follow(bytes, seed, last, last.group != tip.group) else { break };
        piece.extend_from_slice(bytes);
        last = next;
        if ends {
            tip = next;
        }
        if ends && piece.len() as u64 >= PIECE_BYTES {
            put_records(target, &mut piece, tip.slots)?;
        }
    }
    piece.truncate(piece.len() - RECORD_BYTES * usize::try_from(last.slots - tip.slots).unwrap_or(usize::MAX));
    put_records(target, &mut piece, tip.slots)?;
    let end = record_offset(tip.slots);
    let zeroed = write_zeros(&mut target.disk, File::Journal, end, end + SLOTS_AHEAD * RECORD_BYTES as u64).1;
    zeroed.map_err(|error| target.failed_to("write", File::Journal, error))?;
    if tip.group < logged {
        return Ok(None);
    }
    check_end(source, seed, last, last.group != tip.group)?;
    write_headers(target, header)?;
    Ok(Some(tip.rows_bytes))
}

/// The tip behind the record in `bytes`, which must follow `last`, and whether its group ends with it.
fn follow(bytes: &[u8], seed: u32, last: Tip, in_group: bool) -> Option<(Tip, bool)> {
    let (record, crc) = Record::decode(bytes.first_chunk()?, last.slots, seed)?;
    last.is_followed_by(&record, in_group).then(|| (last.after(&record, crc), record.last_of_group))
}

/// Checks that the copy ended at the end of the journal and not at a damaged record: where the journal has later groups
/// now, a valid record must have been written to this slot in the meantime.
fn check_end(source: &mut Store<OsDisk>, seed: u32, last: Tip, in_group: bool) -> Result<(), OpenError> {
    let journal_bytes = source.len(File::Journal)?;
    let found = scan(&mut source.disk, seed, journal_bytes);
    let found = found.map_err(|error| source.failed_to("read", File::Journal, error))?;
    if found.highest_group <= last.group + u64::from(!in_group) {
        return Ok(());
    }
    let offset = record_offset(last.slots);
    let mut here = Stream::in_small_pieces(File::Journal, offset, journal_bytes);
    let bytes = here.take(&mut source.disk, RECORD_BYTES as u64);
    let bytes = bytes.map_err(|error| source.failed_to("read", File::Journal, error))?;
    match follow(bytes, seed, last, in_group) {
        Some(_) => Ok(()),
        None => Err(source.damaged(File::Journal, offset, "there is no valid record here".to_owned())),
    }
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
