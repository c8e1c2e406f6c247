//! Checking a store without changing it, also while a server writes to it.
//!
//! The steps are those of a start up to the point from which a start modifies the files. In addition every row is read,
//! so that what the journal counts is counted again.

use std::collections::BTreeMap;
use std::path::Path;

use super::redo::LogContents;
use super::replay::{ReplayState, replay_whole_groups};
use super::scan::{Scan, has_no_records, read_header};
use super::start::{Sound, examine, unreadable_journal};
use super::walk::{Walk, last_logged, while_in_use};
use crate::lottery::{Agency, AgencyId, Bet};
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File};
use crate::storage::files::os_disk::OsDisk;
use crate::storage::files::stream::Stream;
use crate::storage::format::row::parse::parse_row;
use crate::storage::state::{Options, Store};

/// Rows are read this many bytes at a time.
const PIECE_BYTES: u64 = 1024 * 1024;

/// What a sound store has.
#[derive(Debug, Default)]
pub struct Checked {
    /// Each agency that has bets, has finished or was excluded, ascending. Its winners are those of the draw; before
    /// it there are none.
    pub agencies: Vec<(AgencyId, Agency)>,
    /// The winning number of the draw, if there was one.
    pub drawn: Option<u32>,
    /// Bytes of the rows of its bets.
    pub rows_bytes: u64,
    /// A server uses it: this is what it had committed.
    pub in_use: bool,
    /// Bytes of rows of a turn that an earlier run began to write and never acknowledged. The next start cuts it off.
    pub unfinished_bytes: u64,
}

/// Checks the store whose rows are at `path`, and gives each stored bet to `take`, in the order in which they were
/// stored. The store is not changed. No server can be started on it meanwhile; one may run on it.
///
/// # Errors
/// The store is damaged, is not there or cannot be read; or a server has been starting on it all the time.
pub fn check(path: &Path, mut take: impl FnMut(AgencyId, &Bet)) -> Result<Checked, OpenError> {
    check_rows(path, |agency, bet, _| {
        take(agency, bet);
        Ok(())
    })
}

/// As [`check`]; `take` is given each bet's row as well, and can end it with an error.
///
/// # Errors
/// As [`check`], and those of `take`.
pub fn check_rows<E: From<OpenError>>(
    path: &Path,
    mut take: impl FnMut(AgencyId, &Bet, &[u8]) -> Result<(), E>,
) -> Result<Checked, E> {
    let mut store = Store::new(OsDisk::reading(path), Options::default());
    let stopped = store.disk.try_lock_shared().map_err(|(file, error)| store.failed_to("lock", file, error))?;
    if store.len(File::Rows)? == 0 && store.len(File::Journal)? == 0 {
        return Err(store.failed_to("find a store at", File::Rows, rustix::io::Errno::NOENT.into()).into());
    }
    let sound = if stopped { Some(examine_stopped(&mut store)?) } else { while_in_use(|| examine_in_use(&mut store))? };
    let Some(sound) = sound else {
        return Err(OpenError::Locked { file: store.disk.name(File::Rows) }.into());
    };
    let Some(Sound { log, state, rows_bytes, .. }) = sound else {
        return Ok(Checked { in_use: !stopped, ..Checked::default() });
    };
    read_rows(&mut store, &log, &state, &mut take)?;
    let mut checked = Checked { drawn: state.drawn, rows_bytes: state.tip.rows_bytes, ..Checked::default() };
    checked.in_use = !stopped;
    checked.unfinished_bytes = if stopped { rows_bytes.saturating_sub(state.tip.rows_bytes) } else { 0 };
    for (id, mut replayed) in state.agencies {
        // The replay kept the bets on the number of the draw, or else of the default options.
        replayed.agency.keep_winners_of_draw(state.drawn.is_some());
        checked.agencies.push((id, replayed.agency));
    }
    Ok(checked)
}

/// `None`: the store has nothing yet.
pub(super) fn examine_stopped(store: &mut Store<OsDisk>) -> Result<Option<Sound>, OpenError> {
    let (rows_bytes, journal_bytes) = (store.len(File::Rows)?, store.len(File::Journal)?);
    match read_header(store)? {
        Some(header) => examine(store, header, rows_bytes, journal_bytes).map(Some),
        None if rows_bytes == 0 && has_no_records(store, journal_bytes)? => Ok(None),
        None => Err(unreadable_journal(store, journal_bytes)),
    }
}

/// As [`examine_stopped`], of a store that a server uses, up to the last whole group; `None` where the server is
/// starting, and has not yet applied its redo log.
fn examine_in_use(store: &mut Store<OsDisk>) -> Result<Option<Option<Sound>>, OpenError> {
    let Some(header) = read_header(store)? else { return Ok(None) };
    store.journal.seed = header.seed();
    let logged = last_logged(store, header.seed())?;
    let journal_bytes = store.len(File::Journal)?;
    let mut walk = Walk::new(header.seed(), journal_bytes);
    while walk.next(&mut store.disk).map_err(|error| store.failed_to("read", File::Journal, error))?.is_some() {}
    // A damaged record is told from a journal that a starting server has not yet brought up to its log.
    let scan = walk.check_end(store)?;
    if walk.tip.group < logged {
        return Ok(None);
    }
    let scan = Scan { highest_group: walk.tip.group, ..scan };
    let log = LogContents::default();
    let state = replay_whole_groups(store, &log, &scan, walk.tip.rows_bytes)?;
    if state.tip != walk.tip {
        let what = format!("the rows up to byte {} are not those stored", walk.tip.rows_bytes);
        return Err(store.damaged(File::Rows, state.tip.rows_bytes, what));
    }
    Ok(Some(Some(Sound { log, scan, state, rows_bytes: walk.tip.rows_bytes })))
}

/// Reads every row up to the end of what is committed, and compares how many there are of each agency with the journal.
fn read_rows<D: Disk, E: From<OpenError>>(
    store: &mut Store<D>,
    log: &LogContents,
    state: &ReplayState,
    take: &mut impl FnMut(AgencyId, &Bet, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut counts: BTreeMap<AgencyId, u64> = BTreeMap::new();
    let mut rows = Stream::new(File::Rows, 0, state.tip.rows_bytes);
    // `rest` is the start of a row, which the next piece goes on with. A row of a checked batch has an end.
    let (mut offset, mut rest) = (0, Vec::new());
    loop {
        let piece = rows.take(&mut log.overlay(&mut store.disk), PIECE_BYTES);
        let piece = piece.map_err(|error| store.failed_to("read", File::Rows, error))?;
        if piece.is_empty() {
            break;
        }
        rest.extend_from_slice(piece);
        let whole = memchr::memrchr(b'\n', &rest).map_or(0, |end| end + 1);
        for row in rest[..whole].split_inclusive(|&byte| byte == b'\n') {
            let Some((agency, bet)) = parse_row(row) else {
                let what = "not a row as the hub writes them".to_owned();
                return Err(store.damaged(File::Rows, offset, what).into());
            };
            *counts.entry(agency).or_default() += 1;
            take(agency, &bet, row)?;
            offset += row.len() as u64;
        }
        rest.drain(..whole);
    }
    let ids = counts.keys().chain(state.agencies.keys());
    let wrong = ids.copied().find_map(|id| {
        let (read, said) = (counts.get(&id).copied(), state.agencies.get(&id).map(|replayed| replayed.agency.bets));
        let (read, said) = (read.unwrap_or(0), said.unwrap_or(0));
        (read != said).then(|| format!("{read} rows are of agency {id}, and the journal has {said} bets of it"))
    });
    wrong.map_or(Ok(()), |what| Err(store.damaged(File::Rows, 0, what).into()))
}
