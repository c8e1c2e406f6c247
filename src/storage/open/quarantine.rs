//! The quarantine file: copies of what a start cuts off or replaces.

use std::io;
use std::ops::Range;

use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, is_full, read_full, write_all};
use crate::storage::files::stream::Stream;
use crate::storage::format::redo::ENTRY_HEADER_BYTES;
use crate::storage::state::Store;

/// A part of a file, in bytes.
pub(super) type Part = (File, Range<u64>);

/// Appends parts of the files to the quarantine file, durably. Returns its name; `None` where the disk is full.
pub(super) fn quarantine<D: Disk>(store: &mut Store<D>, parts: &[Part]) -> Result<Option<String>, OpenError> {
    let start = store.len(File::Quarantine)?;
    match copy_parts(store, parts, start) {
        Ok(()) => {
            store.sync_at_start(File::Quarantine)?;
            store.sync_folder()?;
            Ok(Some(store.disk.name(File::Quarantine)))
        }
        Err(error) if is_full(&error) => {
            let cut = store.disk.truncate(File::Quarantine, start);
            cut.map_err(|error| store.failed_to("cut", File::Quarantine, error))?;
            Ok(None)
        }
        Err(error) => Err(store.failed_to("write", File::Quarantine, error)),
    }
}

/// As [`quarantine`], for parts that may be the only copy of acknowledged bets: a full disk is an error.
pub(super) fn keep_apart<D: Disk>(store: &mut Store<D>, parts: &[Part]) -> Result<(), OpenError> {
    if parts.iter().all(|(_, range)| range.is_empty()) || quarantine(store, parts)?.is_some() {
        return Ok(());
    }
    Err(store.failed_to("keep a copy of journal and redo log in", File::Quarantine, io::ErrorKind::StorageFull.into()))
}

/// The redo log, where it has entries: without their journal they cannot be applied, and they may be the only copy of
/// their turns. The part is empty where the log was emptied.
pub(super) fn log_to_keep<D: Disk>(store: &mut Store<D>) -> Result<Part, OpenError> {
    let mut first = [0; ENTRY_HEADER_BYTES];
    let read = read_full(&mut store.disk, File::Redo, 0, &mut first);
    read.map_err(|error| store.failed_to("read", File::Redo, error))?;
    let has_entries = first.iter().any(|byte| *byte != 0);
    Ok((File::Redo, 0..if has_entries { store.len(File::Redo)? } else { 0 }))
}

fn copy_parts<D: Disk>(store: &mut Store<D>, parts: &[Part], mut to: u64) -> io::Result<()> {
    for (file, range) in parts.iter().filter(|(_, range)| !range.is_empty()) {
        let name = store.disk.name(*file);
        let title = format!("\n--- {name}, bytes {} to {}, cut off at a start ---\n", range.start, range.end);
        let mut part = Stream::new(*file, range.start, range.end);
        let mut piece = title.as_bytes();
        while !piece.is_empty() {
            let (taken, written) = write_all(&mut store.disk, File::Quarantine, to, piece);
            to += taken as u64;
            written?;
            piece = part.take(&mut store.disk, 64 * 1024)?;
        }
    }
    Ok(())
}
