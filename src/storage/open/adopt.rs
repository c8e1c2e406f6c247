//! Adoption: a new journal for rows that have none. An operator asks for it (`--adopt`).

use std::collections::BTreeMap;

use super::create::{new_header, seal, start_journal, write_headers};
use super::quarantine::{keep_apart, log_to_keep};
use super::redo::reset_log;
use crate::lottery::{Agency, AgencyId};
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, write_all};
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{Kind, Record, record_offset};
use crate::storage::format::row::parse::{count_rows, parse_row};
use crate::storage::state::{Recovered, Store, Tip};

/// Bytes of rows that one record stands for, plus or minus a row.
const PIECE_BYTES: u64 = 1024 * 1024;
/// Longer than any row that the hub writes: two quoted names of 255 quotes each are the longest.
const ROW_BYTES_MAX: u64 = 2048;

/// Makes a new journal for the rows. Finishes, the draw and the batches' sequence numbers are lost. The header is
/// written last: until then there is no journal, and the next start repeats the adoption.
pub(super) fn adopt<D: Disk>(
    store: &mut Store<D>,
    rows_bytes: u64,
    journal_bytes: u64,
) -> Result<Recovered, OpenError> {
    let mut agencies: BTreeMap<AgencyId, Agency> = BTreeMap::new();
    each_piece(store, rows_bytes, |store, offset, rows| check_rows(store, offset, rows, &mut agencies))?;
    let log = log_to_keep(store)?;
    keep_apart(store, &[(File::Journal, 0..journal_bytes), log])?;
    if journal_bytes > 0 {
        let cut = store.disk.truncate(File::Journal, 0);
        cut.map_err(|error| store.failed_to("cut", File::Journal, error))?;
    }
    reset_log(store)?;
    let header = new_header(store)?;
    store.journal.seed = header.seed();
    store.tip = Tip::start(store.journal.seed);
    start_journal(store)?;
    each_piece(store, rows_bytes, write_record)?;
    store.sync_at_start(File::Rows)?;
    store.sync_at_start(File::Journal)?;
    write_headers(store, header)?;
    store.sync_at_start(File::Journal)?;
    store.sync_folder()?;
    seal(store)?;
    Ok(Recovered { agencies: agencies.into_iter().collect(), adopted_bytes: rows_bytes, ..Recovered::default() })
}

/// Gives the rows to `take` in pieces of whole rows, with the offset of each piece.
fn each_piece<D: Disk>(
    store: &mut Store<D>,
    rows_bytes: u64,
    mut take: impl FnMut(&mut Store<D>, u64, &[u8]) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let mut rows = Stream::new(File::Rows, 0, rows_bytes);
    let (mut offset, mut piece) = (0, Vec::new());
    loop {
        // The rest of a piece is the start of a row; the next piece begins with it.
        let got = rows.take(&mut store.disk, PIECE_BYTES);
        let got = got.map_err(|error| store.failed_to("read", File::Rows, error))?;
        if got.is_empty() && piece.is_empty() {
            return Ok(());
        }
        piece.extend(got);
        let whole = memchr::memrchr(b'\n', &piece).map_or(0, |end| end + 1);
        if whole == 0 && (got.is_empty() || piece.len() as u64 > ROW_BYTES_MAX) {
            return Err(store.damaged(File::Rows, offset, "the row has no end".to_owned()));
        }
        if whole > 0 {
            take(store, offset, &piece[..whole])?;
            offset += whole as u64;
            piece.drain(..whole);
        }
    }
}

fn check_rows<D: Disk>(
    store: &Store<D>,
    mut offset: u64,
    rows: &[u8],
    agencies: &mut BTreeMap<AgencyId, Agency>,
) -> Result<(), OpenError> {
    for row in rows.split_inclusive(|&byte| byte == b'\n') {
        let Some((agency, bet)) = parse_row(row) else {
            let what = "not a row as the hub writes them; nothing was adopted".to_owned();
            return Err(store.damaged(File::Rows, offset, what));
        };
        let known = agencies.entry(agency).or_default();
        known.bets += 1;
        if bet.number() == store.options.winning_number {
            known.winners.push(bet);
        }
        offset += row.len() as u64;
    }
    Ok(())
}

/// Writes the record that stands for `rows`, in a group of its own.
fn write_record<D: Disk>(store: &mut Store<D>, offset: u64, rows: &[u8]) -> Result<(), OpenError> {
    let grown = store.grow_journal(store.tip.slots + 1, store.reserved_slots());
    grown.map_err(|error| store.failed_to("write", File::Journal, error))?;
    let tip = store.tip;
    let record = Record {
        last_of_group: true,
        count: u32::try_from(count_rows(rows)).unwrap_or(u32::MAX),
        group: tip.group + 1,
        slot: tip.slots,
        rows_offset: offset,
        rows_bytes: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        rows_crc: crc32c::crc32c(rows),
        previous_crc: tip.crc,
        ..Record::new(Kind::Adopted)
    };
    let (bytes, crc) = record.encode(store.journal.seed);
    let (_, written) = write_all(&mut store.disk, File::Journal, record_offset(tip.slots), &bytes);
    written.map_err(|error| store.failed_to("write", File::Journal, error))?;
    store.tip = tip.after(&record, crc);
    Ok(())
}
