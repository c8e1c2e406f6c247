//! The store on a simulated disk that fails in one call, for every call.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod storage_kit;

use loteria::lottery::AgencyId;
use loteria::storage::{CommitError, File, OpenError, Options, Recovered, Store};
use storage_kit::bets::{batch, rows_of};
use storage_kit::disk::{Faults, Mounted, SimDisk};
use storage_kit::model::{Change, Expected};

const NUMBER: u32 = 7574;

fn options() -> Options {
    Options { winning_number: NUMBER, agencies: 2, journal_step: 4, redo_bytes: 0, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<(Store<Mounted>, Recovered), OpenError> {
    Store::open(disk.mount(), options())
}

/// The turns of a small draw, from its first bets to its end.
fn turns() -> Vec<Vec<Change>> {
    vec![
        vec![Change::Batch(1, batch(0, 3)), Change::Batch(2, batch(100, 4))],
        vec![Change::Batch(1, batch(10, 9)), Change::Batch(1, batch(20, 2)), Change::Finish(1)],
        vec![Change::Batch(2, batch(110, 12))],
        vec![Change::Batch(2, batch(130, 1)), Change::Finish(2), Change::Draw(NUMBER)],
    ]
}

/// What is committed before the first turn, and after each.
fn expected_by_turn() -> Vec<Expected> {
    Expected::after_each(&turns())
}

/// Opens a store and stores one turn after another until a call fails. Returns how many were acknowledged, and the
/// error.
fn play(disk: &SimDisk) -> (usize, Option<CommitError>) {
    let Ok((mut store, _)) = open(disk) else { return (0, None) };
    for (done, turn) in turns().iter().enumerate() {
        let mut before = expected_by_turn()[done].clone();
        for change in turn {
            change.stage(&before, &mut store);
            before.apply(change);
        }
        if let Err(error) = store.commit() {
            return (done, Some(error));
        }
    }
    (turns().len(), store.seal().err())
}

/// Opens the store, which must have `done` turns or one more; returns how many.
fn assert_whole(disk: &SimDisk, done: usize, context: &str) -> usize {
    let (_store, recovered) = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let rows = disk.cache(File::Rows);
    let expected = expected_by_turn();
    let mut possible = [done, done + 1].into_iter().filter(|turn| *turn < expected.len());
    let found = possible.find(|turn| expected[*turn].differs(NUMBER, &recovered, &rows).is_none());
    found.unwrap_or_else(|| panic!("{context}: {:?}", expected[done].differs(NUMBER, &recovered, &rows)))
}

#[test]
fn a_crash_in_any_call_leaves_whole_turns() {
    let complete = SimDisk::new(0);
    assert_eq!(play(&complete).0, turns().len());
    let calls = complete.calls();
    for call in 0..calls {
        for seed in 0..6 {
            let disk = SimDisk::new(seed);
            disk.crash_at_call(Some(call));
            let (done, _) = play(&disk);
            assert!(disk.crashed());
            if seed < 2 {
                disk.kill()
            } else {
                disk.power_cut()
            }
            let found = assert_whole(&disk, done, &format!("crash in call {call}, seed {seed}"));
            // The next start finds the same.
            disk.power_cut();
            assert_eq!(assert_whole(&disk, found, "again"), found);
        }
    }
}

#[test]
fn a_crash_in_any_call_of_a_recovery_changes_nothing_about_its_end() {
    let complete = SimDisk::new(0);
    play(&complete);
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        disk.set_faults(Faults { write_back: 300, ..Faults::default() });
        // Somewhere in the last turns.
        disk.crash_at_call(Some(complete.calls() - 20 + seed));
        let (done, _) = play(&disk);
        let killed = seed % 3 == 0;
        if killed {
            disk.kill()
        } else {
            disk.power_cut()
        }
        disk.set_faults(Faults::default());
        let undisturbed = disk.fork();
        let found = assert_whole(&undisturbed, done, "undisturbed");
        let calls = undisturbed.calls();
        for call in 0..calls {
            let disturbed = disk.fork();
            disturbed.crash_at_call(Some(call));
            assert!(matches!(open(&disturbed), Err(OpenError::Io { .. })) || disturbed.crashed());
            let power_cut = call % 2 == 0;
            if power_cut {
                disturbed.power_cut()
            } else {
                disturbed.kill()
            }
            let context = format!("seed {seed}, crash in call {call} of the recovery");
            let found_now = assert_whole(&disturbed, done, &context);
            // The first process was only killed: a turn that is only in the cache may be lost with the power.
            assert!(found_now == found || (killed && power_cut), "{context}: {found_now} turns, {found} undisturbed");
        }
    }
}

#[test]
fn a_sync_that_fails_is_the_last_and_no_acknowledged_turn_is_lost() {
    let complete = SimDisk::new(0);
    play(&complete);
    for sync in 0..complete.syncs() {
        for seed in 0..8 {
            let disk = SimDisk::new(seed);
            disk.fail_sync(Some(sync));
            // The next start may read cached bytes that the disk does not have.
            disk.set_faults(Faults { keep_cache: 500, ..Faults::default() });
            let (done, error) = play(&disk);
            assert!(matches!(error, None | Some(CommitError::Fatal(_))), "{error:?}");
            disk.fail_sync(None);
            disk.kill();
            let found = assert_whole(&disk, done, &format!("sync {sync} failed, seed {seed}"));
            disk.power_cut();
            assert_eq!(assert_whole(&disk, found, "after a power cut"), found);
        }
    }
}

#[test]
fn after_a_failed_sync_the_store_touches_the_disk_no_more() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    disk.fail_sync(Some(0));
    store.stage_batch(AgencyId(1), 0, &batch(0, 1)).unwrap();
    assert!(matches!(store.commit(), Err(CommitError::Fatal(_))));
    let calls = disk.calls();
    for _ in 0..2 {
        store.stage_finish(AgencyId(1));
        assert!(matches!(store.commit(), Err(CommitError::Fatal(_))));
        assert!(matches!(store.commit(), Err(CommitError::Fatal(_))), "with nothing staged, too");
        assert!(matches!(store.close(), Err(CommitError::Fatal(_))));
    }
    assert_eq!(disk.calls(), calls);
}

#[test]
fn a_disk_that_fills_up_at_any_byte_refuses_bets_but_not_the_draw() {
    let empty = SimDisk::new(0);
    drop(open(&empty).unwrap());
    let complete = SimDisk::new(0);
    assert_eq!(play(&complete).0, turns().len());
    let mut rejected_somewhere = 0;
    for space in empty.used()..=complete.used() {
        let disk = SimDisk::new(0);
        let (mut store, _) = open(&disk).unwrap();
        disk.set_space(Some(space));
        let mut expected = Expected::default();
        for turn in turns() {
            let ends: Vec<_> = turn.iter().filter(|change| !matches!(change, Change::Batch(..))).cloned().collect();
            let mut attempt = |changes: &[Change]| {
                let mut after = expected.clone();
                for change in changes {
                    change.stage(&after, &mut store);
                    after.apply(change);
                }
                match store.commit() {
                    Ok(_) => expected = after,
                    Err(CommitError::Full(_)) => return false,
                    Err(error) => panic!("{error}"),
                }
                true
            };
            if !attempt(&turn) {
                rejected_somewhere += 1;
                assert!(attempt(&ends), "{space} bytes: {ends:?} had no room");
            }
        }
        assert_eq!(disk.cache(File::Rows), expected.rows, "{space} bytes");
        assert_eq!(disk.durable(File::Rows), expected.rows, "what was rejected is gone from the disk itself");
        drop(store);
        disk.power_cut();
        // The disk is still full.
        let (mut store, recovered) = open(&disk).unwrap();
        assert_eq!(expected.differs(NUMBER, &recovered, &disk.cache(File::Rows)), None, "{space} bytes");
        disk.set_space(None);
        let next = store.next_sequence(AgencyId(1));
        store.stage_batch(AgencyId(1), next, &batch(500, 40)).unwrap();
        store.commit().unwrap();
    }
    assert!(rejected_somewhere > 100);
}

#[test]
fn a_turn_is_one_write_and_one_sync_for_each_file_and_nothing_is_nothing() {
    let disk = SimDisk::new(0);
    let (mut store, _) = Store::open(disk.mount(), Options { journal_step: 100, ..options() }).unwrap();
    let calls = |store: &mut Store<Mounted>| {
        let before = (disk.calls(), disk.syncs());
        store.commit().unwrap();
        (disk.calls() - before.0, disk.syncs() - before.1)
    };
    assert_eq!(calls(&mut store), (0, 0));
    for sequence in 0..3 {
        store.stage_batch(AgencyId(1), sequence, &batch(0, 3)).unwrap();
        store.stage_batch(AgencyId(2), sequence, &batch(0, 3)).unwrap();
    }
    assert_eq!(calls(&mut store), (4, 2));
    store.stage_finish(AgencyId(1));
    store.stage_exclusion(AgencyId(2));
    assert_eq!(calls(&mut store), (2, 1), "no rows: the journal only");
    store.stage_batch(AgencyId(3), 0, &batch(0, 0)).unwrap();
    assert_eq!(calls(&mut store), (0, 0), "a batch of no bets is nothing");
    store.seal().unwrap();
    let sealed = disk.calls();
    store.seal().unwrap();
    assert_eq!(disk.calls(), sealed, "once is enough");
}

#[test]
fn a_disk_without_room_even_for_a_seal_stops_nobody() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    disk.set_space(Some(disk.used()));
    // Both agencies have finished and the draw is made. A hub writes no more than that.
    store.stage_finish(AgencyId(2));
    store.stage_draw(NUMBER);
    store.commit().unwrap();
    let mut finishes = 0;
    let refused = loop {
        store.stage_finish(AgencyId(1));
        match store.commit() {
            Ok(_) => finishes += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::Full(_)));
    assert!(finishes >= 2 * 2 + 2, "room for each agency's finish and its seal, and the draw's: {finishes}");
    store.seal().unwrap();
    store.close().unwrap();
    drop(store);
    let (mut store, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.agencies.len(), 2);
    disk.set_space(None);
    store.seal().unwrap();
    store.stage_finish(AgencyId(2));
    store.commit().unwrap();
}

#[test]
fn a_store_that_has_no_room_to_begin_with_is_not_made() {
    // Two agencies' finishes, their seals and 64 records more.
    let least = 8192 + 64 * (2 * 2 + 64);
    for space in 0..least + 200 {
        let disk = SimDisk::new(0);
        disk.set_space(Some(space));
        match open(&disk) {
            Err(OpenError::Io { .. }) => assert!(space < least, "{space} bytes"),
            Ok(_) => assert!(space >= least, "{space} bytes"),
            Err(error) => panic!("{space} bytes: {error}"),
        }
        disk.set_space(None);
        assert_whole(&disk, 0, "with room");
    }
}

#[test]
fn without_fsync_nothing_is_ever_synced_and_a_killed_process_loses_nothing() {
    let disk = SimDisk::new(0);
    let options = Options { sync: false, ..options() };
    let (mut store, _) = Store::open(disk.mount(), options.clone()).unwrap();
    let mut expected = Expected::default();
    for change in turns().concat() {
        change.stage(&expected, &mut store);
        expected.apply(&change);
        store.commit().unwrap();
    }
    drop(store);
    let (mut store, recovered) = Store::open(disk.mount(), options).unwrap();
    assert_eq!(expected.differs(NUMBER, &recovered, &disk.cache(File::Rows)), None);
    store.close().unwrap();
    assert_eq!(disk.syncs(), 0);
}

#[test]
fn short_and_interrupted_calls_are_resumed() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { short: 900, interrupt: 300, ..Faults::default() });
    assert_eq!(play(&disk).0, turns().len());
    disk.kill();
    assert_eq!(assert_whole(&disk, turns().len(), "short"), turns().len());
}

#[test]
fn a_batch_is_known_again_staged_stored_long_ago_or_not_at_all() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    let bets = |sequence: u64| batch(u32::try_from(sequence).unwrap() * 10, 2);
    for sequence in 0..1000 {
        for agency in [1, 2] {
            store.stage_batch(AgencyId(agency), sequence, &bets(sequence + u64::from(agency))).unwrap();
        }
        store.commit().unwrap();
    }
    store.stage_batch(AgencyId(1), 1000, &bets(1001)).unwrap();
    for again in 0..2 {
        for sequence in (0..1000).step_by(37).chain([63, 64, 65, 998, 999]) {
            assert!(store.matches(AgencyId(1), sequence, &bets(sequence + 1)).unwrap(), "{sequence}");
            assert!(!store.matches(AgencyId(1), sequence, &bets(sequence + 2)).unwrap(), "{sequence}");
            assert!(!store.matches(AgencyId(2), sequence, &bets(sequence + 1)).unwrap(), "{sequence}");
        }
        assert_eq!(store.matches(AgencyId(1), 1000, &bets(1001)).unwrap(), again == 0, "staged, then not");
        assert!(!store.matches(AgencyId(1), 1001, &bets(1002)).unwrap(), "no such batch");
        assert!(!store.matches(AgencyId(3), 0, &bets(1)).unwrap(), "no such agency");
        drop(store);
        store = open(&disk).unwrap().0;
    }
}

#[test]
fn comparing_leaves_what_is_staged_as_it_is() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    store.stage_batch(AgencyId(1), 0, &batch(0, 2)).unwrap();
    assert!(!store.matches(AgencyId(1), 0, &batch(50, 9)).unwrap());
    store.stage_batch(AgencyId(1), 1, &batch(10, 2)).unwrap();
    store.commit().unwrap();
    assert_eq!(disk.cache(File::Rows), [rows_of(1, &batch(0, 2)), rows_of(1, &batch(10, 2))].concat());
}

#[test]
fn the_number_that_was_drawn_stays_whatever_is_configured_later() {
    let disk = SimDisk::new(0);
    assert_eq!(play(&disk).0, turns().len());
    for number in [1, 8, 7575] {
        let (mut store, recovered) =
            Store::open(disk.mount(), Options { winning_number: number, ..options() }).unwrap();
        assert_eq!(recovered.drawn, Some(NUMBER));
        let last = &expected_by_turn()[turns().len()];
        assert_eq!(last.differs(number, &recovered, &disk.cache(File::Rows)), None);
        let winners = store.stage_batch(AgencyId(3), 0, &batch(0, 3)).unwrap().winners;
        assert_eq!(winners[..], batch(0, 1).0[..]);
        assert!(recovered.agencies.iter().any(|(_, agency)| !agency.winners.is_empty()));
    }
}

#[test]
fn a_start_reads_the_disk_and_not_what_memory_has_kept_of_it() {
    let disk = SimDisk::new(0);
    assert_eq!(play(&disk).0, turns().len());
    disk.tamper_behind_memory(File::Rows, |bytes| bytes[3] ^= 1);
    assert!(matches!(open(&disk), Err(OpenError::Damaged { .. })));
}

#[test]
fn what_was_stored_without_syncs_is_durable_after_a_start_with_them() {
    let disk = SimDisk::new(3);
    let (mut store, _) = Store::open(disk.mount(), Options { sync: false, ..options() }).unwrap();
    let mut expected = Expected::default();
    for change in turns().concat() {
        change.stage(&expected, &mut store);
        expected.apply(&change);
        store.commit().unwrap();
    }
    drop(store);
    drop(open(&disk).unwrap());
    disk.power_cut();
    assert_eq!(assert_whole(&disk, turns().len(), "after a power cut"), turns().len());
}

#[test]
fn batches_leave_room_for_every_finish_wherever_the_disk_fills_up() {
    // For every capacity of the journal at which the disk fills up, the agencies finish one by one, with a seal after
    // each.
    for batches in 0..200 {
        let disk = SimDisk::new(0);
        let (mut store, _) = open(&disk).unwrap();
        for sequence in 0..batches {
            store.stage_batch(AgencyId(1), sequence, &batch(0, 1)).unwrap();
            store.commit().unwrap();
        }
        store.seal().unwrap();
        disk.set_space(Some(disk.used()));
        for end in [Change::Finish(1), Change::Exclude(2), Change::Draw(NUMBER)] {
            end.stage(&Expected::default(), &mut store);
            store.commit().unwrap_or_else(|error| panic!("after {batches} batches: {error}"));
            store.seal().unwrap();
            assert!(store.sealed(), "after {batches} batches");
        }
    }
}

#[test]
fn a_full_disk_without_room_for_the_finishes_of_more_agencies_is_refused() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    store.stage_batch(AgencyId(1), 0, &batch(0, 1)).unwrap();
    store.commit().unwrap();
    store.close().unwrap();
    drop(store);
    // Every number of agencies with which a start on a full disk succeeds can finish, one by one.
    disk.set_space(Some(disk.used()));
    let (mut most, mut refused) = (0, 0);
    for agencies in 1..100 {
        let options = Options { agencies, ..options() };
        match Store::open(disk.fork().mount(), options) {
            Ok((mut store, _)) => {
                most = agencies;
                for agency in 1..=agencies {
                    store.stage_finish(AgencyId(u32::try_from(agency).unwrap()));
                    store.commit().unwrap_or_else(|error| panic!("finish {agency} of {agencies}: {error}"));
                    store.seal().unwrap();
                }
                store.stage_draw(NUMBER);
                store.commit().unwrap_or_else(|error| panic!("the draw among {agencies}: {error}"));
            }
            Err(OpenError::Io { file, doing, error }) => {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
                assert_eq!((file.as_str(), doing), ("bets.csv.journal", "keep room for every agency's finish in"));
                refused += 1;
            }
            Err(error) => panic!("{agencies} agencies: {error}"),
        }
    }
    assert!(most >= 2 && refused > 0, "{most} agencies at most, {refused} refused");
    // With space it starts, and grows the journal.
    disk.set_space(None);
    let options = Options { agencies: 99, ..options() };
    drop(Store::open(disk.mount(), options.clone()).unwrap());
    disk.set_space(Some(disk.used()));
    drop(Store::open(disk.mount(), options).unwrap());
}

#[test]
fn a_journal_that_cannot_grow_by_a_whole_step_grows_by_what_there_is() {
    let disk = SimDisk::new(0);
    drop(open(&disk).unwrap());
    let options = Options { journal_step: 1000, ..options() };
    disk.set_space(Some(disk.used() + 4000));
    let (mut store, _) = Store::open(disk.mount(), options).unwrap();
    let mut stored = 0;
    loop {
        // Few rows: the journal needs the space.
        store.stage_batch(AgencyId(1), stored, &batch(0, 1)).unwrap();
        match store.commit() {
            Ok(_) => stored += 1,
            Err(CommitError::Full(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stored >= 20, "{stored} batches were stored in 4000 bytes");
}

#[test]
fn before_the_draw_the_configured_number_wins() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk).unwrap();
    let staged = store.stage_batch(AgencyId(1), 0, &batch(0, 3)).unwrap();
    assert_eq!(staged.winners[..], batch(0, 1).0[..]);
    store.commit().unwrap();
    drop(store);
    let (mut store, recovered) = Store::open(disk.mount(), Options { winning_number: 1, ..options() }).unwrap();
    assert_eq!(recovered.agencies[0].1.winners[..], batch(1, 1).0[..]);
    assert_eq!(store.stage_batch(AgencyId(1), 1, &batch(0, 3)).unwrap().winners[..], batch(1, 1).0[..]);
}

#[test]
#[should_panic(expected = "batches of agency 1 are staged in order")]
fn a_caller_that_has_lost_count_is_stopped() {
    let (mut store, _) = open(&SimDisk::new(0)).unwrap();
    let _ = store.stage_batch(AgencyId(1), 1, &batch(0, 1));
}
