//! The repair: the files are brought to the end of the last whole group.

use std::io;

use super::create::write_headers;
use super::quarantine::quarantine;
use super::replay::ReplayState;
use super::scan::Scan;
use crate::mutants::{self, Mutant};
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, make, write_all, write_zeros};
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{Header, record_offset};
use crate::storage::state::{Discarded, Store, Tip};

/// Copies what follows the last whole group to the quarantine file, and cuts off the rows of it. Its records are
/// overwritten by [`rewrite_last_group`].
pub(super) fn cut_tail<D: Disk>(
    store: &mut Store<D>,
    tip: Tip,
    scan: &Scan,
    rows_bytes: u64,
) -> Result<Option<Discarded>, OpenError> {
    let journal_end = record_offset(tip.slots);
    let rows = tip.rows_bytes..rows_bytes.max(tip.rows_bytes);
    let journal = journal_end..scan.nonzero_end.max(journal_end);
    if rows.is_empty() && journal.is_empty() {
        return Ok(None);
    }
    // The turn was never acknowledged, so a full disk is no reason to refuse the start.
    let kept_in = quarantine(store, &[(File::Rows, rows.clone()), (File::Journal, journal.clone())])?;
    let cut = store.disk.truncate(File::Rows, rows.start);
    cut.map_err(|error| store.failed_to("cut", File::Rows, error))?;
    let (rows_bytes, journal_bytes) = (rows.end - rows.start, journal.end - journal.start);
    Ok(Some(Discarded { rows_bytes, journal_bytes, kept_in }))
}

/// Writes the header, the last group and the zeros behind it again. After a sync that failed, the system takes these
/// pages for clean, and a later sync would not write them. The zeros overwrite records up to `end_of_tail`, too; the
/// journal keeps its length, because its free slots are reserved for finishes and the draw.
pub(super) fn rewrite_last_group<D: Disk>(
    store: &mut Store<D>,
    header: Header,
    state: &ReplayState,
    end_of_tail: u64,
) -> Result<(), OpenError> {
    let (from, to) = (record_offset(state.tip.slots), record_offset(store.journal.capacity).max(end_of_tail));
    let zeroed = write_zeros(&mut store.disk, File::Journal, from, to).1;
    zeroed.map_err(|error| store.failed_to("write", File::Journal, error))?;
    if mutants::is(Mutant::SkipRewrite) {
        return Ok(());
    }
    write_headers(store, header)?;
    let made = make(&mut store.disk, File::Rows);
    made.map_err(|error| store.failed_to("make", File::Rows, error))?;
    let (first, tip) = (state.before_last, state.tip);
    rewrite(store, File::Rows, first.rows_bytes, tip.rows_bytes)?;
    rewrite(store, File::Journal, record_offset(first.slots), record_offset(tip.slots))
}

/// Reads the bytes of `file` from offset `from` up to `to` and writes them in place.
fn rewrite<D: Disk>(store: &mut Store<D>, file: File, from: u64, to: u64) -> Result<(), OpenError> {
    let mut part = Stream::new(file, from, to);
    let mut at = from;
    while at < to {
        let piece = part.take(&mut store.disk, 1024 * 1024);
        let piece = piece.map(<[u8]>::to_vec).map_err(|error| store.failed_to("read", file, error))?;
        let (taken, written) = write_all(&mut store.disk, file, at, &piece);
        written.map_err(|error| store.failed_to("write", file, error))?;
        if taken == 0 {
            return Err(store.failed_to("read", file, io::ErrorKind::UnexpectedEof.into()));
        }
        at += taken as u64;
    }
    Ok(())
}
