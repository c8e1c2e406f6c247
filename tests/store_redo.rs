//! The redo log: what it makes durable, what a start takes from it, and which damage a start must not repair from it.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod storage_kit;

use loteria::lottery::AgencyId;
use loteria::storage::{CommitError, File, OpenError, Options, Recovered, Store};
use storage_kit::bets::batch;
use storage_kit::disk::{Faults, Mounted, SimDisk};
use storage_kit::model::{Change, Expected};

const NUMBER: u32 = 7574;
/// Space for three entries of one block each.
const SMALL: u64 = 3 * 4096;
const FILES: [File; 3] = [File::Rows, File::Journal, File::Redo];

fn options(redo_bytes: u64) -> Options {
    Options { winning_number: NUMBER, agencies: 2, journal_step: 4, redo_bytes, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<(Store<Mounted>, Recovered), OpenError> {
    Store::open(disk.mount(), options(SMALL))
}

/// Ten turns: the log is full twice, and in the seventh there is an entry that does not fit at all.
fn turns() -> Vec<Vec<Change>> {
    let small = |turn: u32| vec![Change::Batch(1 + turn % 2, batch(100 * turn, 1 + turn))];
    let mut turns: Vec<_> = (0..10).map(small).collect();
    turns[6] = vec![Change::Batch(1, batch(600, 200)), Change::Batch(2, batch(900, 150))];
    turns[8].push(Change::Finish(1));
    turns[9].extend([Change::Finish(2), Change::Draw(NUMBER)]);
    turns
}

/// What is committed before the first turn, and after each.
fn expected_by_turn() -> Vec<Expected> {
    Expected::after_each(&turns())
}

/// Stores the turns from `first` up to `end`, until a call fails. Returns how many are acknowledged, and the error.
fn play(store: &mut Store<Mounted>, first: usize, end: usize) -> (usize, Option<CommitError>) {
    for (turn, mut before) in expected_by_turn().into_iter().enumerate().take(end).skip(first) {
        for change in &turns()[turn] {
            change.stage(&before, store);
            before.apply(change);
        }
        if let Err(error) = store.commit() {
            return (turn, Some(error));
        }
    }
    (end, None)
}

/// A store with the first `end` turns that is still in use.
fn played(end: usize) -> (SimDisk, Store<Mounted>) {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    assert_eq!(play(&mut store, 0, end).0, end);
    (disk, store)
}

/// How many whole turns a start finds. It must find no part of a turn.
fn found(disk: &SimDisk) -> Result<usize, OpenError> {
    let (_store, recovered) = open(disk)?;
    let rows = disk.cache(File::Rows);
    let differs = |expected: &Expected| expected.differs(NUMBER, &recovered, &rows);
    let turns = expected_by_turn().iter().position(|expected| differs(expected).is_none());
    Ok(turns.unwrap_or_else(|| panic!("{:?}", differs(&expected_by_turn()[10]))))
}

/// The disk after a power cut that loses everything that was not synced.
fn after_the_worst(disk: &SimDisk) -> SimDisk {
    let left = SimDisk::new(0);
    for file in FILES {
        left.tamper(file, |bytes| *bytes = disk.durable(file));
    }
    left
}

/// The files that were synced since the last call.
fn syncs(disk: &SimDisk) -> Vec<String> {
    let told = disk.take_told().into_iter().filter_map(|what| what.strip_prefix("sync ").map(str::to_owned));
    told.map(|what| what.trim_end_matches(": Ok(())").to_owned()).collect()
}

#[test]
fn a_turn_is_one_sync_and_a_full_log_is_one_for_each_file() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    disk.tell();
    let mut each = Vec::new();
    for turn in 0..turns().len() {
        play(&mut store, turn, turn + 1);
        each.push(syncs(&disk).join(" "));
    }
    let grown = |syncs: &str| syncs.replace("Journal Redo", "Redo").replace("Journal Rows", "Rows");
    let each: Vec<String> = each.iter().map(|syncs| grown(syncs)).collect();
    // The journal's own growth is synced where it happens.
    let (log, files) = ("Redo", "Rows Journal");
    assert_eq!(each, [log, log, log, files, log, log, files, log, log, log]);
    store.close().unwrap();
    assert_eq!(syncs(&disk), ["Rows", "Journal", "Redo"]);
    assert_eq!(disk.cache(File::Redo).len(), 0);
    let writes = disk.calls();
    store.close().unwrap();
    assert_eq!(disk.calls(), writes, "it is closed");
}

#[test]
fn what_is_acknowledged_survives_a_power_cut_that_loses_all_it_can() {
    for end in 0..=turns().len() {
        let (disk, _store) = played(end);
        let left = after_the_worst(&disk);
        assert_eq!(found(&left).unwrap(), end);
        left.power_cut();
        assert_eq!(found(&left).unwrap(), end, "and another one");
        assert_eq!(left.cache(File::Redo).len(), 0);
    }
}

#[test]
fn a_crash_in_any_call_leaves_whole_turns() {
    let (complete, _store) = played(10);
    for call in 0..complete.calls() {
        for seed in 0..8 {
            let disk = SimDisk::new(seed);
            disk.crash_at_call(Some(call));
            disk.set_faults(Faults { write_back: 200 * (seed % 2), ..Faults::default() });
            let done = open(&disk).map_or(0, |(mut store, _)| play(&mut store, 0, 10).0);
            assert!(disk.crashed());
            if seed < 2 {
                disk.kill()
            } else {
                disk.power_cut()
            }
            disk.set_faults(Faults::default());
            let now = found(&disk).unwrap_or_else(|error| panic!("call {call}, seed {seed}: {error}"));
            assert!(now == done || now == done + 1, "call {call}, seed {seed}: {done} acknowledged, {now} found");
            disk.power_cut();
            assert_eq!(found(&disk).unwrap(), now, "call {call}, seed {seed}, again");
        }
    }
}

#[test]
fn a_crash_in_any_call_of_a_start_changes_nothing_about_its_end() {
    let (disk, _store) = played(9);
    let left = after_the_worst(&disk);
    let undisturbed = left.fork();
    assert_eq!(found(&undisturbed).unwrap(), 9);
    for call in 0..undisturbed.calls() {
        let disturbed = left.fork();
        disturbed.crash_at_call(Some(call));
        assert!(open(&disturbed).is_err() || disturbed.crashed());
        if call % 2 == 0 {
            disturbed.power_cut()
        } else {
            disturbed.kill()
        }
        assert_eq!(found(&disturbed).unwrap(), 9, "crash in call {call}");
    }
}

#[test]
fn a_sync_that_fails_is_the_last_and_no_acknowledged_turn_is_lost() {
    let (complete, _store) = played(10);
    for sync in 0..complete.syncs() {
        for seed in 0..8 {
            let disk = SimDisk::new(seed);
            disk.fail_sync(Some(sync));
            disk.set_faults(Faults { keep_cache: 500, ..Faults::default() });
            let (done, error) = open(&disk).map_or((0, None), |(mut store, _)| play(&mut store, 0, 10));
            assert!(matches!(error, None | Some(CommitError::Fatal(_))), "{error:?}");
            disk.fail_sync(None);
            disk.kill();
            let now = found(&disk).unwrap_or_else(|error| panic!("sync {sync}, seed {seed}: {error}"));
            assert!(now == done || now == done + 1, "sync {sync}, seed {seed}: {done} acknowledged, {now} found");
            disk.power_cut();
            assert_eq!(found(&disk).unwrap(), now, "after a power cut");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_log_is_found_where_it_matters_and_costs_at_most_the_last_turn() {
    // Three entries that only the log has.
    let (disk, store) = played(3);
    let left = after_the_worst(&disk);
    assert_eq!(left.cache(File::Rows).len(), 0);
    drop(store);
    disk.kill();
    let len = left.cache(File::Redo).len();
    let (mut refused, mut lost) = (0, 0);
    for byte in (0..len).filter(|byte| byte % 4096 < 600) {
        let flip = |bytes: &mut Vec<u8>| bytes[byte] ^= 1 << (byte % 8);
        let damaged = left.fork();
        damaged.tamper(File::Redo, flip);
        let before = FILES.map(|file| damaged.cache(file));
        match found(&damaged) {
            Ok(3) => {}
            Ok(2) if byte >= 2 * 4096 => lost += 1,
            Ok(turns) => panic!("byte {byte}: {turns} turns"),
            Err(OpenError::Damaged { file, .. }) => {
                refused += 1;
                assert_eq!(file, "bets.csv.redo");
                assert_eq!(FILES.map(|file| damaged.cache(file)), before, "nothing is modified");
            }
            Err(error) => panic!("byte {byte}: {error}"),
        }
        // The cache outlives the process, so rows and journal have everything.
        let killed = disk.fork();
        killed.tamper(File::Redo, flip);
        assert_eq!(found(&killed).unwrap(), 3, "byte {byte}");
    }
    assert!(refused > 200 && lost > 100, "{refused} refused, {lost} lost");
}

#[test]
fn a_flipped_bit_in_an_older_entry_does_not_hide_that_the_newest_turn_is_not_there() {
    let (disk, _store) = played(3);
    let (older, _store) = played(2);
    // The system has written the first two turns to their files by itself, and the third is in the log only.
    let left = disk.fork();
    left.kill();
    for file in [File::Rows, File::Journal] {
        left.tamper(file, |bytes| *bytes = older.cache(file));
    }
    assert_eq!(found(&left.fork()).unwrap(), 3);
    for byte in (0..2 * 4096).filter(|byte| byte % 4096 < 600) {
        let damaged = left.fork();
        damaged.tamper(File::Redo, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let before = FILES.map(|file| damaged.cache(file));
        match found(&damaged) {
            Ok(3) => {}
            Err(OpenError::Damaged { file, .. }) => {
                assert_eq!(file, "bets.csv.redo", "byte {byte}");
                assert_eq!(FILES.map(|file| damaged.cache(file)), before, "nothing is modified");
            }
            other => panic!("byte {byte}: {other:?}"),
        }
    }
}

#[test]
fn a_sealed_store_is_not_mended_from_its_log() {
    let (disk, mut store) = played(3);
    store.seal().unwrap();
    drop(store);
    disk.kill();
    let bytes = disk.cache(File::Rows).len();
    for byte in [0, bytes / 2, bytes - 1] {
        let damaged = disk.fork();
        damaged.tamper(File::Rows, |rows| rows[byte] ^= 1);
        let before = FILES.map(|file| damaged.cache(file));
        assert!(matches!(found(&damaged), Err(OpenError::Damaged { file, .. }) if file == "bets.csv"));
        assert_eq!(FILES.map(|file| damaged.cache(file)), before);
    }
    for byte in 0..disk.cache(File::Redo).len() {
        let other = disk.fork();
        other.tamper(File::Redo, |log| log[byte] ^= 0xff);
        assert_eq!(found(&other).unwrap(), 3);
    }
}

#[test]
fn older_copies_of_rows_and_journal_are_refused_or_brought_up_to_date() {
    let (disk, _store) = played(10);
    for end in 0..10 {
        let (older, mut store) = played(end);
        store.seal().unwrap();
        let mixed = disk.fork();
        mixed.kill();
        for file in [File::Rows, File::Journal] {
            mixed.tamper(file, |bytes| *bytes = older.cache(file));
        }
        // The log has all later turns, if it has the next one.
        assert!(matches!(found(&mixed), Ok(10) | Err(OpenError::Damaged { .. })), "{end} turns");
    }
}

#[test]
fn a_log_of_another_store_is_none() {
    let (other, _store) = played(10);
    let disk = SimDisk::new(7);
    let (mut store, _) = open(&disk).unwrap();
    play(&mut store, 0, 4);
    store.seal().unwrap();
    drop(store);
    disk.kill();
    disk.tamper(File::Redo, |log| *log = other.cache(File::Redo));
    assert_eq!(found(&disk).unwrap(), 4);
    let (mut store, _) = open(&disk).unwrap();
    assert_eq!(play(&mut store, 4, 10).0, 10);
    assert_eq!(found(&after_the_worst(&disk)).unwrap(), 10);
}

#[test]
fn a_log_whose_journal_is_gone_is_kept_apart() {
    let (disk, _store) = played(3);
    let log = disk.cache(File::Redo);
    for (rows, adopt) in [(false, false), (true, true)] {
        let left = disk.fork();
        left.kill();
        left.tamper(File::Journal, Vec::clear);
        if !rows {
            left.tamper(File::Rows, Vec::clear);
        }
        drop(Store::open(left.mount(), Options { adopt, ..options(SMALL) }).unwrap());
        let kept = left.cache(File::Quarantine);
        assert!(kept.windows(log.len()).any(|part| part == log), "{} bytes are kept", kept.len());
        assert_eq!(left.cache(File::Redo).len(), 0);
    }
}

#[test]
fn a_log_whose_journal_is_gone_stays_where_there_is_no_room_to_keep_it() {
    let (disk, _store) = played(3);
    for (rows, adopt) in [(false, false), (true, true)] {
        let left = disk.fork();
        left.kill();
        left.tamper(File::Journal, |journal| if adopt { journal[..8192].fill(0) } else { journal.clear() });
        if !rows {
            left.tamper(File::Rows, Vec::clear);
        }
        left.set_space(Some(left.used() + 100));
        let before = FILES.map(|file| left.cache(file));
        match Store::open(left.mount(), Options { adopt, ..options(SMALL) }) {
            Err(OpenError::Io { file, doing, .. }) => assert!(file.starts_with("bets.csv.") && doing.contains("keep")),
            other => panic!("{other:?}"),
        }
        assert_eq!(FILES.map(|file| left.cache(file)), before, "nothing is modified");
        assert_eq!(left.cache(File::Quarantine).len(), 0);
        left.set_space(None);
        drop(Store::open(left.mount(), Options { adopt, ..options(SMALL) }).unwrap());
        assert!(left.cache(File::Quarantine).len() > before[2].len());
    }
}

#[test]
fn a_disk_that_has_no_room_for_a_log_stores_without_one() {
    let (complete, _store) = played(10);
    let rows_and_journal = complete.used() - SMALL;
    for more in [0, 4096, 100_000] {
        let disk = SimDisk::new(0);
        let (mut store, _) = Store::open(disk.mount(), options(1 << 20)).unwrap();
        disk.set_space(Some(rows_and_journal + more));
        assert_eq!(play(&mut store, 0, 10).0, 10, "{more} bytes more");
        assert_eq!(disk.cache(File::Redo).len(), 0);
        drop(store);
        assert_eq!(found(&after_the_worst(&disk)).unwrap(), 10);
    }
}

#[test]
fn without_fsync_there_is_no_log_and_one_that_is_there_is_applied() {
    let (disk, _store) = played(9);
    let left = after_the_worst(&disk);
    let (mut store, _) = Store::open(left.mount(), Options { sync: false, ..options(SMALL) }).unwrap();
    assert_eq!(store.next_sequence(AgencyId(2)), 5);
    assert_eq!(play(&mut store, 9, 10).0, 10);
    assert_eq!(left.cache(File::Redo).len(), 0);
    drop(store);
    left.kill();
    assert_eq!(found(&left).unwrap(), 10);
}

#[test]
fn what_the_log_made_durable_stays_so_when_a_start_promises_less() {
    let (disk, _store) = played(9);
    let left = after_the_worst(&disk);
    drop(Store::open(left.mount(), Options { sync: false, ..options(SMALL) }).unwrap());
    let worst = after_the_worst(&left);
    // Without a sync, the system may have written that the log is empty before anything else.
    worst.tamper(File::Redo, Vec::clear);
    assert_eq!(found(&worst).unwrap(), 9);
}

#[test]
fn room_that_the_journal_got_at_a_start_is_there_after_a_power_cut() {
    let room = |agencies, journal_step| Options { agencies, journal_step, ..options(1 << 20) };
    let disk = SimDisk::new(0);
    drop(Store::open(disk.mount(), room(2, 0)).unwrap());
    // A draw of more agencies reserves more slots; the start grows the journal for them.
    let (mut store, _) = Store::open(disk.mount(), room(40, 1000)).unwrap();
    for turn in 0..200u32 {
        store.stage_batch(AgencyId(1), turn.into(), &batch(1 + turn, 1)).unwrap();
        store.commit().unwrap();
    }
    let left = after_the_worst(&disk);
    let (store, _) = Store::open(left.mount(), room(40, 1000)).unwrap();
    assert_eq!(store.next_sequence(AgencyId(1)), 200);
}

#[test]
fn a_log_that_others_have_gone_on_without_is_refused() {
    let (disk, _store) = played(3);
    let log = disk.cache(File::Redo);
    // Without its log the store has lost turns, and stores others in the same slots.
    let left = after_the_worst(&disk);
    left.tamper(File::Redo, Vec::clear);
    assert_eq!(found(&left).unwrap(), 0);
    left.kill();
    let (mut store, _) = open(&left).unwrap();
    for turn in 0..4u32 {
        store.stage_batch(AgencyId(2), turn.into(), &batch(5000 + turn, 1)).unwrap();
        store.commit().unwrap();
    }
    drop(store);
    left.kill();
    left.tamper(File::Redo, |bytes| bytes.clone_from(&log));
    let before = FILES.map(|file| left.cache(file));
    match found(&left) {
        Err(OpenError::Damaged { file, what, .. }) => assert!(file == "bets.csv.journal" && what.contains("redo")),
        other => panic!("{other:?}"),
    }
    assert_eq!(FILES.map(|file| left.cache(file)), before, "nothing is modified");
}
