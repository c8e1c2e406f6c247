//! The store on real files.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod storage_kit;

use std::path::Path;

use loteria::lottery::{AgencyId, Standing};
use loteria::storage::{OpenError, Options, OsDisk, Recovered, Store};
use storage_kit::bets::{Bets, batch, rows_of};

const A: AgencyId = AgencyId(1);
const B: AgencyId = AgencyId(2);

fn open(folder: &Path, options: &Options) -> Result<(Store<OsDisk>, Recovered), OpenError> {
    Store::open(OsDisk::new(&folder.join("bets.csv")), options.clone())
}

fn options() -> Options {
    Options { journal_step: 16, redo_bytes: 0, agencies: 2, ..Options::default() }
}

/// A store of two agencies: A has finished, B has not.
fn two_agencies(folder: &Path) -> Store<OsDisk> {
    let (mut store, recovered) = open(folder, &options()).unwrap();
    assert!(recovered.agencies.is_empty() && recovered.drawn.is_none() && recovered.discarded.is_none());
    store.stage_batch(A, 0, &batch(0, 3)).unwrap();
    store.stage_batch(B, 0, &batch(100, 2)).unwrap();
    store.commit().unwrap();
    store.stage_batch(A, 1, &batch(3, 3)).unwrap();
    store.stage_finish(A);
    store.commit().unwrap();
    store
}

fn expected_rows() -> Vec<u8> {
    [rows_of(1, &batch(0, 3)), rows_of(2, &batch(100, 2)), rows_of(1, &batch(3, 3))].concat()
}

fn winners(bets: &Bets) -> Vec<&str> {
    bets.0.iter().filter(|bet| bet.number() == 7574).map(|bet| bet.document()).collect()
}

#[test]
fn a_restart_finds_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    drop(two_agencies(folder.path()));
    assert_eq!(std::fs::read(folder.path().join("bets.csv")).unwrap(), expected_rows());
    let (mut store, recovered) = open(folder.path(), &options()).unwrap();
    assert_eq!((recovered.drawn, recovered.discarded), (None, None));
    let [(a, first), (b, second)] = &recovered.agencies[..] else { panic!("{:?}", recovered.agencies) };
    assert_eq!((*a, *b), (A, B));
    assert_eq!((first.standing, first.batches, first.bets), (Standing::Finished, 2, 6));
    assert_eq!((second.standing, second.batches, second.bets), (Standing::Betting, 1, 2));
    let stored: Vec<_> = first.winners.iter().map(|bet| bet.document()).collect();
    assert_eq!(stored, [winners(&batch(0, 3)), winners(&batch(3, 3))].concat());
    assert!(store.matches(A, 1, &batch(3, 3)).unwrap());
    assert!(!store.matches(A, 1, &batch(3, 2)).unwrap());
    store.stage_batch(B, 1, &batch(102, 1)).unwrap();
    store.commit().unwrap();
    store.close().unwrap();
    let rows = [expected_rows(), rows_of(2, &batch(102, 1))].concat();
    assert_eq!(std::fs::read(folder.path().join("bets.csv")).unwrap(), rows);
}

#[test]
fn a_second_server_is_locked_out_and_a_third_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = two_agencies(folder.path());
    for _ in 0..2 {
        assert!(matches!(open(folder.path(), &options()), Err(OpenError::Locked { .. })));
    }
    drop(first);
    open(folder.path(), &options()).unwrap();
}

/// The store's files and their bytes, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(entry).collect();
    files.sort();
    files
}

fn put_back(folder: &Path, files: &[(String, Vec<u8>)]) {
    std::fs::remove_file(folder.join("bets.csv.quarantine")).ok();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Without syncs: nothing crashes here, and they cost time.
fn open_unsynced(folder: &Path) -> Result<(Store<OsDisk>, Recovered), OpenError> {
    open(folder, &Options { sync: false, ..options() })
}

fn bets(recovered: &Recovered) -> u64 {
    recovered.agencies.iter().map(|(_, agency)| agency.bets).sum()
}

#[test]
fn a_last_turn_torn_at_any_byte_of_real_files_is_gone_whole_and_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    drop(two_agencies(folder.path()));
    let whole = files(folder.path());
    let [(_, rows), (_, journal)] = &whole[..] else { panic!("{} files", whole.len()) };
    let rows_start = rows.len() - rows_of(1, &batch(3, 3)).len();
    // A seal, two batches, then the last turn's batch and finish.
    let (journal_start, journal_end) = (8192 + 3 * 64, 8192 + 5 * 64);
    let rows_torn = (rows_start..rows.len()).map(|len| (rows[..len].to_vec(), journal.clone()));
    let journal_torn = (journal_start..journal_end).map(|len| {
        let mut torn = journal.clone();
        torn[len..].fill(0);
        (rows.clone(), torn)
    });
    // The last bytes of a record are zeros, always or by chance.
    let journal_torn = journal_torn.filter(|(_, torn)| torn != journal);
    for (torn_rows, torn_journal) in rows_torn.chain(journal_torn) {
        let torn = [("bets.csv".to_owned(), torn_rows), ("bets.csv.journal".to_owned(), torn_journal)];
        put_back(folder.path(), &torn);
        let (_, recovered) = open_unsynced(folder.path()).unwrap();
        assert_eq!((bets(&recovered), recovered.agencies[0].1.standing), (5, Standing::Betting));
        assert_eq!(std::fs::read(folder.path().join("bets.csv")).unwrap(), &rows[..rows_start]);
        let kept_in = recovered.discarded.unwrap().kept_in.unwrap();
        assert_eq!(kept_in, folder.path().join("bets.csv.quarantine").to_str().unwrap());
        let tail = &torn[0].1[rows_start..];
        let quarantine = std::fs::read(kept_in).unwrap();
        assert!(tail.is_empty() || quarantine.windows(tail.len()).any(|window| window == tail));
    }
    put_back(folder.path(), &whole);
    assert_eq!(bets(&open_unsynced(folder.path()).unwrap().1), 8);
}

#[test]
fn any_flipped_bit_of_a_sealed_store_is_named_and_its_files_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    two_agencies(folder.path()).close().unwrap();
    let whole = files(folder.path());
    for (file, from, to) in [(0, 0, whole[0].1.len()), (1, 8192, 8192 + 5 * 64)] {
        for byte in from..to {
            let mut flipped = whole.clone();
            flipped[file].1[byte] ^= 1 << (byte % 8);
            put_back(folder.path(), &flipped);
            let Err(OpenError::Damaged { file: name, offset, .. }) = open_unsynced(folder.path()) else {
                panic!("byte {byte} of {}", whole[file].0);
            };
            assert_eq!(name, folder.path().join(&whole[file].0).to_str().unwrap());
            assert!(offset <= byte as u64);
            assert!(files(folder.path()) == flipped, "byte {byte}: the files were modified");
        }
    }
}

#[test]
fn a_deleted_file_is_missed_and_rows_without_a_journal_can_be_adopted() {
    let folder = tempfile::tempdir().unwrap();
    two_agencies(folder.path()).close().unwrap();
    let whole = files(folder.path());
    std::fs::remove_file(folder.path().join("bets.csv")).unwrap();
    assert!(matches!(open(folder.path(), &options()), Err(OpenError::Damaged { .. })));
    assert_eq!(files(folder.path()), whole[1..], "not even an empty file was made");
    put_back(folder.path(), &whole);
    std::fs::remove_file(folder.path().join("bets.csv.journal")).unwrap();
    assert!(matches!(open(folder.path(), &options()), Err(OpenError::Damaged { .. })));
    assert_eq!(files(folder.path()), whole[..1]);
    let adopting = Options { adopt: true, ..options() };
    let (store, recovered) = open(folder.path(), &adopting).unwrap();
    assert_eq!((bets(&recovered), recovered.adopted_bytes), (8, whole[0].1.len() as u64));
    drop(store);
    assert_eq!(bets(&open(folder.path(), &options()).unwrap().1), 8);
}

#[test]
fn a_store_whose_rows_were_removed_while_it_runs_is_still_locked() {
    let folder = tempfile::tempdir().unwrap();
    let running = two_agencies(folder.path());
    std::fs::remove_file(folder.path().join("bets.csv")).unwrap();
    assert!(matches!(open(folder.path(), &options()), Err(OpenError::Locked { .. })));
    drop(running);
}

#[test]
fn a_file_that_was_cut_is_noticed_before_it_is_written_to_as_long_as_it_was() {
    let cut = |folder: &Path, file: &str| {
        std::fs::OpenOptions::new().write(true).open(folder.join(file)).unwrap().set_len(0).unwrap();
    };
    for (file, redo_bytes) in [("bets.csv", 0), ("bets.csv.journal", 0), ("bets.csv.redo", 1 << 20)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = open(folder.path(), &Options { redo_bytes, ..options() }).unwrap();
        store.stage_batch(A, 0, &batch(0, 3)).unwrap();
        store.commit().unwrap();
        store.check_files().unwrap();
        cut(folder.path(), file);
        let failed = (1..200).find_map(|sequence| {
            store.stage_batch(A, sequence, &batch(3, 3)).unwrap();
            store.commit().err()
        });
        let error = failed.unwrap().to_string();
        assert!(error.contains(&format!("{file} was shortened")), "{error}");
        assert!(store.commit().is_err() && store.close().is_err(), "nothing more is written");
    }
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let error = open(&nowhere, &options()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot open {}/bets.csv: ", nowhere.display())), "{error}");
    std::fs::create_dir(folder.path().join("bets.csv")).unwrap();
    let error = open(folder.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("bets.csv: Is a directory"), "{error}");
}

#[test]
fn the_files_are_not_writable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(two_agencies(folder.path()));
    for (name, _) in files(folder.path()) {
        let mode = std::fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o644, 0, "{name}: {mode:o}");
    }
}

#[test]
fn the_same_bytes_are_a_sound_store_wherever_they_are_copied() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    two_agencies(folder.path()).close().unwrap();
    put_back(copy.path(), &files(folder.path()));
    assert_eq!(bets(&open(copy.path(), &options()).unwrap().1), 8);
}
