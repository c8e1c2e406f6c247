//! The steps of a start, in the order of `docs/DURABILITY.md`.

use super::adopt::adopt;
use super::create::{create, seal};
use super::redo::{LogContents, reset_log};
use super::repair::{cut_tail, rewrite_last_group};
use super::replay::{ReplayState, replay_whole_groups};
use super::scan::{Scan, has_no_records, read_header, scan};
use crate::lottery::Standing;
use crate::storage::commit::SLOTS_AHEAD_MIN;
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, is_full};
use crate::storage::format::record::{Header, RECORDS_START, slots_in};
use crate::storage::state::{Options, Recovered, Store, Tip};

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`, or makes it, and brings it to the state of its last whole commit.
    ///
    /// # Errors
    /// Another server has it, the disk failed, or what is stored is damaged; in the last case nothing has been
    /// modified.
    pub fn open(disk: D, options: Options) -> Result<(Store<D>, Recovered), OpenError> {
        let mut store = Store::new(disk, options);
        let recovered = start(&mut store)?;
        Ok((store, recovered))
    }
}

fn start<D: Disk>(store: &mut Store<D>) -> Result<Recovered, OpenError> {
    if !store.disk.lock().map_err(|(file, error)| store.failed_to("open", file, error))? {
        return Err(OpenError::Locked { file: store.disk.name(File::Rows) });
    }
    drop_caches(store)?;
    let rows_bytes = store.len(File::Rows)?;
    let journal_bytes = store.len(File::Journal)?;
    let mut recovered = match read_header(store)? {
        Some(header) => recover(store, header, rows_bytes, journal_bytes)?,
        None if rows_bytes == 0 && has_no_records(store, journal_bytes)? => {
            create(store)?;
            Recovered::default()
        }
        None if store.options.adopt => adopt(store, rows_bytes, journal_bytes)?,
        None => return Err(unreadable_journal(store, journal_bytes)),
    };
    recovered.unkept = store.disk.unkept();
    Ok(recovered)
}

/// Syncs the files, then drops the system's cache of them: after a sync that failed, the cache can differ from the
/// disk.
fn drop_caches<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    for file in [File::Rows, File::Journal, File::Redo] {
        store.sync_at_start(file)?;
    }
    store.sync_folder()?;
    for file in [File::Rows, File::Journal, File::Redo] {
        store.disk.drop_cache(file).map_err(|error| store.failed_to("read", file, error))?;
    }
    Ok(())
}

pub(super) fn unreadable_journal<D: Disk>(store: &Store<D>, journal_bytes: u64) -> OpenError {
    let found = if journal_bytes == 0 { "there is no journal" } else { "neither copy of the header can be read" };
    let rows = store.disk.name(File::Rows);
    let what = format!("{found}, so nothing says which rows of {rows} count; put it back, or take them with --adopt");
    store.damaged(File::Journal, 0, what)
}

/// A store that can be opened, before anything of it is modified.
pub(super) struct Sound {
    pub log: LogContents,
    pub scan: Scan,
    pub state: ReplayState,
    /// The length of the rows when the log is applied.
    pub rows_bytes: u64,
}

/// Checks a store that has a journal, up to the end of its last whole group. Nothing is written.
pub(super) fn examine<D: Disk>(
    store: &mut Store<D>,
    header: Header,
    rows_bytes: u64,
    journal_bytes: u64,
) -> Result<Sound, OpenError> {
    let log = read_log(store, header)?;
    let (rows_bytes, journal_bytes) = (log.len_of(File::Rows, rows_bytes), log.len_of(File::Journal, journal_bytes));
    store.journal.capacity = slots_in(journal_bytes);
    let scan = scan(&mut log.overlay(&mut store.disk), store.journal.seed, journal_bytes);
    let scan = scan.map_err(|error| store.failed_to("read", File::Journal, error))?;
    if scan.highest_group == 0 && rows_bytes > 0 {
        // A new store is sealed before it gets any rows.
        let what = "the journal has no record left, but there are rows".to_owned();
        return Err(store.damaged(File::Journal, RECORDS_START, what));
    }
    let state = replay_whole_groups(store, &log, &scan, rows_bytes)?;
    check_ends(store, &log, &scan, state.tip)?;
    Ok(Sound { log, scan, state, rows_bytes })
}

/// Brings a store that has a journal to the end of its last whole group.
fn recover<D: Disk>(
    store: &mut Store<D>,
    header: Header,
    rows_bytes: u64,
    journal_bytes: u64,
) -> Result<Recovered, OpenError> {
    let Sound { log, scan, state, rows_bytes } = examine(store, header, rows_bytes, journal_bytes)?;
    // The store is sound. The steps from here on modify it.
    log.apply(store)?;
    let mut recovered = Recovered { drawn: state.drawn, ..Recovered::default() };
    recovered.discarded = cut_tail(store, state.tip, &scan, rows_bytes)?;
    rewrite_last_group(store, header, &state, scan.nonzero_end)?;
    make_durable(store, &log)?;
    take_over(store, state, &mut recovered);
    seal(store)?;
    reserve_slots(store, &recovered)?;
    Ok(recovered)
}

/// Reads the redo log of the store that `header` names.
fn read_log<D: Disk>(store: &mut Store<D>, header: Header) -> Result<LogContents, OpenError> {
    store.journal.seed = header.seed();
    store.tip = Tip::start(store.journal.seed);
    let log = LogContents::read(&mut store.disk, store.journal.seed);
    let log = log.map_err(|error| store.failed_to("read", File::Redo, error))?;
    log.check_journal(store)?;
    Ok(log)
}

/// Checks that neither the journal nor the log has lost anything behind `tip`.
fn check_ends<D: Disk>(store: &Store<D>, log: &LogContents, scan: &Scan, tip: Tip) -> Result<(), OpenError> {
    if scan.highest_group > 0 && store.journal.capacity < tip.slots + SLOTS_AHEAD_MIN {
        let what = "the journal was cut short: the space that is kept behind its last record is gone".to_owned();
        return Err(store.damaged(File::Journal, scan.journal_bytes, what));
    }
    if let Some((offset, group)) = log.damage(tip) {
        let stored = tip.group;
        let what =
            format!("the log cannot be read on from here, and goes on to group {group}; the store ends with {stored}");
        return Err(store.damaged(File::Redo, offset, what));
    }
    Ok(())
}

/// Syncs rows and journal, then empties the log.
fn make_durable<D: Disk>(store: &mut Store<D>, log: &LogContents) -> Result<(), OpenError> {
    store.sync_at_start(File::Rows)?;
    store.sync_at_start(File::Journal)?;
    if !store.options.sync && !log.is_empty() {
        // The run that wrote the log promised that its groups survive a power cut. This run, without FSYNC, keeps that.
        for file in [File::Rows, File::Journal] {
            store.disk.sync(file).map_err(|error| store.failed_to("sync", file, error))?;
        }
    }
    store.journal.synced_capacity = store.journal.capacity;
    reset_log(store)?;
    store.sync_folder()
}

/// Makes the replayed state that of the store.
fn take_over<D>(store: &mut Store<D>, state: ReplayState, recovered: &mut Recovered) {
    store.tip = state.tip;
    store.winning_number = state.drawn.unwrap_or(store.options.winning_number);
    for (id, replayed) in state.agencies {
        store.batches.insert(id, replayed.batches);
        recovered.agencies.push((id, replayed.agency));
    }
}

/// Grows the journal by the slots that are reserved for finishes and the draw. A full disk is no error where the slots
/// that the journal has are enough: that is so unless the draw has more agencies than before. Uploads then report it.
fn reserve_slots<D: Disk>(store: &mut Store<D>, recovered: &Recovered) -> Result<(), OpenError> {
    match store.grow_journal(store.tip.slots, store.reserved_slots()) {
        Err(error) if !is_full(&error) => Err(store.failed_to("write", File::Journal, error)),
        Err(error) if !has_slots_for_the_draw(store, recovered) => {
            Err(store.failed_to("keep room for every agency's finish in", File::Journal, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether every agency that is betting can finish and the draw can be made, each with a seal behind it, on a full
/// disk.
fn has_slots_for_the_draw<D: Disk>(store: &Store<D>, recovered: &Recovered) -> bool {
    if recovered.drawn.is_some() {
        return true;
    }
    let ended = recovered.agencies.iter().filter(|(_, agency)| agency.standing != Standing::Betting).count();
    let betting = store.options.agencies.saturating_sub(ended) as u64;
    store.journal.capacity >= store.tip.slots + 2 * (betting + 1) + SLOTS_AHEAD_MIN
}
