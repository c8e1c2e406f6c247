//! What a start does: it finds the last whole commit, refuses damage, and cuts off what a crash left.
//!
//! The order of the steps is the order of `docs/DURABILITY.md`. Nothing is modified before everything has been
//! checked, and every step may be interrupted: the next start comes to the same end.

use super::adopt;
use super::error::{CommitError, OpenError};
use super::files::disk::{Disk, File, is_full, make, read_full, write_all, write_zeros};
use super::files::stream::Stream;
use super::format::record::{
    HEADER_BLOCKS_BYTES, HEADER_BYTES, HEADER_COPIES, Header, RECORDS_START, VERSION, record_offset, slots_in,
};
use super::journal_space::SLOTS_AHEAD_MIN;
use super::mutant::Mutant;
use super::redo::Redo;
use super::state::{Discarded, Options, Recovered, Store, Tip};
use super::walk::{Books, Route, Scan, WalkError, scan, walk};
use crate::lottery::Standing;
use std::io;

/// See [`Store::open`].
pub(super) fn open<D: Disk>(disk: D, options: Options, mutant: Mutant) -> Result<(Store<D>, Recovered), OpenError> {
    let adopt = options.adopt;
    let mut store = Store::new(disk, options, mutant);
    if !store.disk.lock().map_err(|error| store.failed_to("open", File::Rows, error))? {
        return Err(OpenError::Locked { file: store.disk.name(File::Rows) });
    }
    read_what_the_disk_holds(&mut store)?;
    let rows_bytes = store.len(File::Rows)?;
    let journal_bytes = store.len(File::Journal)?;
    let mut recovered = match read_header(&mut store)? {
        Some(header) => recover(&mut store, header, rows_bytes, journal_bytes)?,
        None if rows_bytes == 0 && has_no_records(&mut store, journal_bytes)? => {
            create(&mut store)?;
            Recovered::default()
        }
        None if adopt => adopt::adopt(&mut store, rows_bytes, journal_bytes)?,
        None => return Err(unreadable_journal(&store, journal_bytes)),
    };
    recovered.unkept = store.disk.unkept();
    Ok((store, recovered))
}

/// Makes what is in memory durable, then forgets it: after a sync that failed, memory can look right while the
/// disk is not.
fn read_what_the_disk_holds<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    for file in [File::Rows, File::Journal, File::Redo] {
        store.sync_at_start(file)?;
    }
    store.sync_folder()?;
    for file in [File::Rows, File::Journal, File::Redo] {
        store.disk.drop_cache(file).map_err(|error| store.failed_to("read", file, error))?;
    }
    Ok(())
}

/// The header, from either copy.
pub(super) fn read_header<D: Disk>(store: &mut Store<D>) -> Result<Option<Header>, OpenError> {
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

/// Whether nothing but zeros follows the header: making the store was cut off, or has not begun.
fn has_no_records<D: Disk>(store: &mut Store<D>, journal_bytes: u64) -> Result<bool, OpenError> {
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

fn unreadable_journal<D: Disk>(store: &Store<D>, journal_bytes: u64) -> OpenError {
    let found = if journal_bytes == 0 { "there is no journal" } else { "neither copy of the header can be read" };
    let rows = store.disk.name(File::Rows);
    let what = format!("{found}, so nothing says which rows of {rows} count; put it back, or take them with --adopt");
    store.damaged(File::Journal, 0, what)
}

/// Makes an empty store. Until its header is synced, the next start makes it again.
fn create<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    let id = store.disk.new_store_id().map_err(|error| store.failed_to("read", File::Journal, error))?;
    let log = log_to_keep(store)?;
    keep_apart(store, &[log])?;
    Redo::begin(store)?;
    start_journal(store)?;
    write_headers(store, Header { version: VERSION, store_id: id })?;
    store.tip = Tip::start(store.journal.seed);
    store.sync_at_start(File::Rows)?;
    store.sync_at_start(File::Journal)?;
    store.sync_folder()?;
    seal(store)
}

/// Fills the journal with zeros, as far as the first commits need, and sees that the rows' file exists.
pub(super) fn start_journal<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    let made = make(&mut store.disk, File::Rows);
    made.map_err(|error| store.failed_to("make", File::Rows, error))?;
    let (_, written) = write_all(&mut store.disk, File::Journal, 0, &[0; HEADER_BLOCKS_BYTES]);
    written.map_err(|error| store.failed_to("write", File::Journal, error))?;
    store.journal.capacity = 0;
    let grown = store.grow_journal(0, store.reserved_slots());
    grown.map_err(|error| store.failed_to("write", File::Journal, error))
}

/// Writes both copies of the header and starts the books of its store.
pub(super) fn write_headers<D: Disk>(store: &mut Store<D>, header: Header) -> Result<(), OpenError> {
    for offset in HEADER_COPIES {
        let (_, written) = write_all(&mut store.disk, File::Journal, offset, &header.encode());
        written.map_err(|error| store.failed_to("write", File::Journal, error))?;
    }
    store.journal.seed = header.seed();
    Ok(())
}

/// Brings a store that has a journal to the end of its last whole group.
fn recover<D: Disk>(
    store: &mut Store<D>,
    header: Header,
    rows_bytes: u64,
    journal_bytes: u64,
) -> Result<Recovered, OpenError> {
    store.journal.seed = header.seed();
    store.tip = Tip::start(store.journal.seed);
    let redo = Redo::read(&mut store.disk, store.journal.seed, store.mutant);
    let redo = redo.map_err(|error| store.failed_to("read", File::Redo, error))?;
    redo.check_journal(store)?;
    let (rows_bytes, journal_bytes) = (redo.len_of(File::Rows, rows_bytes), redo.len_of(File::Journal, journal_bytes));
    store.journal.capacity = slots_in(journal_bytes);
    let scan = scan(&mut redo.over(&mut store.disk), store.journal.seed, journal_bytes);
    let scan = scan.map_err(|error| store.failed_to("read", File::Journal, error))?;
    if scan.highest_group == 0 && rows_bytes > 0 {
        // A store is sealed when it is made, before it takes any rows.
        let what = "the journal has no record left, but there are rows".to_owned();
        return Err(store.damaged(File::Journal, RECORDS_START, what));
    }
    let books = read_books(store, &redo, &scan, rows_bytes)?;
    if scan.highest_group > 0 && store.journal.capacity < books.tip.slots + SLOTS_AHEAD_MIN {
        let what = "the journal was cut short: the space that is kept behind its last record is gone".to_owned();
        return Err(store.damaged(File::Journal, journal_bytes, what));
    }
    if let Some((offset, group)) = redo.damage(books.tip) {
        let stored = books.tip.group;
        let what =
            format!("the log cannot be read on from here, and goes on to group {group}; the store ends with {stored}");
        return Err(store.damaged(File::Redo, offset, what));
    }
    // From here on the store is sound, and is modified.
    redo.apply(store)?;
    let mut recovered = Recovered { drawn: books.drawn, ..Recovered::default() };
    recovered.discarded = cut_tail(store, &books, &scan, rows_bytes)?;
    write_again(store, header, &books, scan.nonzero_end)?;
    store.sync_at_start(File::Rows)?;
    store.sync_at_start(File::Journal)?;
    if !store.options.sync && !redo.is_empty() {
        // What it has was promised to survive a power cut, whatever is promised from now on.
        for file in [File::Rows, File::Journal] {
            store.disk.sync(file).map_err(|error| store.failed_to("sync", file, error))?;
        }
    }
    store.journal.synced_capacity = store.journal.capacity;
    Redo::begin(store)?;
    store.sync_folder()?;
    store.tip = books.tip;
    store.winning_number = books.drawn.unwrap_or(store.options.winning_number);
    for (id, known) in books.agencies {
        store.batches.insert(id, known.batches);
        recovered.agencies.push((id, known.agency));
    }
    seal(store)?;
    match store.grow_journal(store.tip.slots, store.reserved_slots()) {
        // Where there is no room, uploads will say so; what is left is for finishes and the draw, and is enough for
        // them unless the draw has more agencies than it had.
        Err(error) if !is_full(&error) => Err(store.failed_to("write", File::Journal, error)),
        Err(error) if !has_room_for_the_end(store, &recovered) => {
            Err(store.failed_to("keep room for every agency's finish in", File::Journal, error))
        }
        Ok(()) | Err(_) => Ok(recovered),
    }
}

/// Whether every agency that has not can finish, and the draw be made, each with a seal behind it, without any space
/// on the disk.
fn has_room_for_the_end<D: Disk>(store: &Store<D>, recovered: &Recovered) -> bool {
    if recovered.drawn.is_some() {
        return true;
    }
    let ended = recovered.agencies.iter().filter(|(_, agency)| agency.standing != Standing::Betting).count();
    let betting = store.options.agencies.saturating_sub(ended) as u64;
    store.journal.capacity >= store.tip.slots + 2 * (betting + 1) + SLOTS_AHEAD_MIN
}

/// Walks the journal; a bad spot in the highest group is a turn that was never acknowledged, and the walk is done
/// again without it. Anywhere else it is damage.
fn read_books<D: Disk>(store: &mut Store<D>, redo: &Redo, scan: &Scan, rows_bytes: u64) -> Result<Books, OpenError> {
    let mut last_group = scan.highest_group;
    loop {
        let draw = scan.draw.filter(|(group, _)| *group <= last_group);
        let winning_number = draw.map_or(store.options.winning_number, |(_, number)| number);
        let (seed, mutant, journal_bytes) = (store.journal.seed, store.mutant, scan.journal_bytes);
        let route = Route { seed, winning_number, journal_bytes, rows_bytes, last_group, mutant };
        match walk(&mut redo.over(&mut store.disk), route) {
            Ok(books) if books.drawn != draw.map(|(_, number)| number) => {
                // The winners would be those of another number than the draw's.
                let what = "there is more than one record of a draw, and they differ".to_owned();
                return Err(store.damaged(File::Journal, RECORDS_START, what));
            }
            Ok(books) => return Ok(books),
            Err(WalkError::Bad { group, .. }) if group == scan.highest_group && last_group == group => {
                last_group -= 1;
            }
            Err(WalkError::Bad { file, offset, what, .. }) => return Err(store.damaged(file, offset, what)),
            Err(WalkError::Io { file, error }) => return Err(store.failed_to("read", file, error)),
        }
    }
}

/// Cuts off what follows the last kept group, after a copy of it is safe in the quarantine file.
fn cut_tail<D: Disk>(
    store: &mut Store<D>,
    books: &Books,
    scan: &Scan,
    rows_bytes: u64,
) -> Result<Option<Discarded>, OpenError> {
    let journal_end = record_offset(books.tip.slots);
    let rows = books.tip.rows_bytes..rows_bytes.max(books.tip.rows_bytes);
    let journal = journal_end..scan.nonzero_end.max(journal_end);
    if rows.is_empty() && journal.is_empty() {
        return Ok(None);
    }
    let parts = [(File::Rows, rows.clone()), (File::Journal, journal.clone())];
    // It was never acknowledged: a full disk must not keep the server from starting.
    let kept_in = quarantine(store, &parts)?;
    let cut = store.disk.truncate(File::Rows, rows.start);
    cut.map_err(|error| store.failed_to("cut", File::Rows, error))?;
    let (rows_bytes, journal_bytes) = (rows.end - rows.start, journal.end - journal.start);
    Ok(Some(Discarded { rows_bytes, journal_bytes, kept_in }))
}

/// Appends parts of the files to the quarantine file, durably; `None` where there is no room for them.
fn quarantine<D: Disk>(
    store: &mut Store<D>,
    parts: &[(File, std::ops::Range<u64>)],
) -> Result<Option<String>, OpenError> {
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

/// Appends parts of the files to the quarantine file, durably, before they are taken from their places: nothing else may
/// have what they say, so that without room for them the start ends.
pub(super) fn keep_apart<D: Disk>(
    store: &mut Store<D>,
    parts: &[(File, std::ops::Range<u64>)],
) -> Result<(), OpenError> {
    if parts.iter().all(|(_, range)| range.is_empty()) || quarantine(store, parts)?.is_some() {
        return Ok(());
    }
    Err(store.failed_to("keep a copy of journal and redo log in", File::Quarantine, io::ErrorKind::StorageFull.into()))
}

/// A redo log that nobody can apply any more, its journal being gone: it may have turns that nothing else has. Nothing of
/// one that was emptied.
pub(super) fn log_to_keep<D: Disk>(store: &mut Store<D>) -> Result<(File, std::ops::Range<u64>), OpenError> {
    let mut first = [0; HEADER_BYTES];
    let read = read_full(&mut store.disk, File::Redo, 0, &mut first);
    read.map_err(|error| store.failed_to("read", File::Redo, error))?;
    let has_entries = first.iter().any(|byte| *byte != 0);
    Ok((File::Redo, 0..if has_entries { store.len(File::Redo)? } else { 0 }))
}

fn copy_parts<D: Disk>(store: &mut Store<D>, parts: &[(File, std::ops::Range<u64>)], mut to: u64) -> io::Result<()> {
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

/// Writes the header, the last group's bytes and the zeros behind them once more, so that the sync that follows
/// really writes them: after a sync that failed, the system takes them for written. Zeros take the place of what was
/// cut off, too; the journal keeps its length, which is the room for finishes and the draw.
fn write_again<D: Disk>(
    store: &mut Store<D>,
    header: Header,
    books: &Books,
    end_of_tail: u64,
) -> Result<(), OpenError> {
    let (from, to) = (record_offset(books.tip.slots), record_offset(store.journal.capacity).max(end_of_tail));
    let zeroed = write_zeros(&mut store.disk, File::Journal, from, to).1;
    zeroed.map_err(|error| store.failed_to("write", File::Journal, error))?;
    if store.mutant.is(Mutant::SkipRewrite) {
        return Ok(());
    }
    write_headers(store, header)?;
    let made = make(&mut store.disk, File::Rows);
    made.map_err(|error| store.failed_to("make", File::Rows, error))?;
    let (first, tip) = (books.before_last, books.tip);
    for (file, from, to) in [
        (File::Rows, first.rows_bytes, tip.rows_bytes),
        (File::Journal, record_offset(first.slots), record_offset(tip.slots)),
    ] {
        let mut group = Stream::new(file, from, to);
        let mut at = from;
        while at < to {
            let piece = group.take(&mut store.disk, 1024 * 1024);
            let piece = piece.map(<[u8]>::to_vec).map_err(|error| store.failed_to("read", file, error))?;
            let (taken, written) = write_all(&mut store.disk, file, at, &piece);
            written.map_err(|error| store.failed_to("write", file, error))?;
            if taken == 0 {
                return Err(store.failed_to("read", file, io::ErrorKind::UnexpectedEof.into()));
            }
            at += taken as u64;
        }
    }
    Ok(())
}

/// Closes the books, unless they are, or there is no room for it. The first seal must have room: without any record,
/// rows that a crash leaves could not be told from a journal that was emptied.
pub(super) fn seal<D: Disk>(store: &mut Store<D>) -> Result<(), OpenError> {
    match store.try_seal() {
        Ok(()) => Ok(()),
        Err(CommitError::Full(_)) if store.tip.group > 0 => Ok(()),
        Err(CommitError::Fatal(error) | CommitError::Full(error)) => {
            Err(OpenError::Io { file: store.disk.name(File::Journal), doing: "seal", error })
        }
    }
}

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`, or makes it, and brings it to the state of its last whole commit.
    ///
    /// # Errors
    /// Another server has it, the disk failed, or what is stored is damaged; in the last case nothing has been
    /// modified.
    pub fn open(disk: D, options: Options) -> Result<(Store<D>, Recovered), OpenError> {
        Store::open_mutant(disk, options, Mutant::None)
    }

    /// As [`open`](Self::open), with a defect.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_mutant(disk: D, options: Options, mutant: Mutant) -> Result<(Store<D>, Recovered), OpenError> {
        open(disk, options, mutant)
    }
}
