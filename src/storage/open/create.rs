//! Making an empty store, and the steps of it that other files need, too.

use super::quarantine::{keep_apart, log_to_keep};
use super::redo::reset_log;
use crate::storage::error::{CommitError, OpenError};
use crate::storage::files::disk::{Disk, File, make, write_all};
use crate::storage::format::record::{HEADER_BLOCKS_BYTES, HEADER_COPIES, Header, VERSION};
use crate::storage::state::{Store, Tip};

/// Makes an empty store. Until its header is synced, the next start makes it again.
pub(super) fn create<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    let header = new_header(store)?;
    let log = log_to_keep(store)?;
    keep_apart(store, &[log])?;
    reset_log(store)?;
    start_journal(store)?;
    write_headers(store, header)?;
    store.tip = Tip::start(store.journal.seed);
    store.sync_at_start(File::Rows)?;
    store.sync_at_start(File::Journal)?;
    store.sync_folder()?;
    seal(store)
}

/// The header of a new store.
pub(super) fn new_header<D: Disk>(store: &mut Store<D>) -> Result<Header, OpenError> {
    let id = store.disk.new_store_id().map_err(|error| store.failed_to("read", File::Journal, error))?;
    Ok(Header { version: VERSION, store_id: id })
}

/// Fills the journal with zeros, as far as the first commits need them, and makes the rows' file where it is missing.
pub(super) fn start_journal<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    let made = make(&mut store.disk, File::Rows);
    made.map_err(|error| store.failed_to("make", File::Rows, error))?;
    let (_, written) = write_all(&mut store.disk, File::Journal, 0, &[0; HEADER_BLOCKS_BYTES]);
    written.map_err(|error| store.failed_to("write", File::Journal, error))?;
    store.journal.capacity = 0;
    let grown = store.grow_journal(0, store.reserved_slots());
    grown.map_err(|error| store.failed_to("write", File::Journal, error))
}

/// Writes both copies of the header, and takes its seed.
pub(in crate::storage) fn write_headers<D: Disk>(store: &mut Store<D>, header: Header) -> Result<(), OpenError> {
    for offset in HEADER_COPIES {
        let (_, written) = write_all(&mut store.disk, File::Journal, offset, &header.encode());
        written.map_err(|error| store.failed_to("write", File::Journal, error))?;
    }
    store.journal.seed = header.seed();
    Ok(())
}

/// Seals the store, unless it is sealed or the disk is full. The first seal must be written: in a store without any
/// record, rows of a turn that a crash cut off could not be told from an emptied journal.
pub(super) fn seal<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    match store.try_seal() {
        Ok(()) => Ok(()),
        Err(CommitError::Full(_)) if store.tip.group > 0 => Ok(()),
        Err(CommitError::Fatal(error) | CommitError::Full(error)) => {
            Err(OpenError::Io { file: store.disk.name(File::Journal), doing: "seal", error })
        }
    }
}
