//! Copies of a store that is in use: each of them opens, and has everything that was committed before it was begun.
//!
//! No test here starts a program: until a new process executes its program, it holds the locks of this one, also of stores that
//! are closed by then. `hub_copy` starts them.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod storage_kit;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use loteria::lottery::{AgencyId, Standing};
use loteria::storage::{OpenError, Options, OsDisk, Store, copy};
use storage_kit::bets::{batch, rows_of};

const A: AgencyId = AgencyId(1);
const B: AgencyId = AgencyId(2);

fn options() -> Options {
    Options { sync: false, journal_step: 16, agencies: 2, ..Options::default() }
}

fn open(folder: &Path, options: Options) -> Store<OsDisk> {
    Store::open(OsDisk::new(&folder.join("bets.csv")), options).unwrap().0
}

/// Stops the writer when the test ends, also where it fails.
struct End<'a>(&'a AtomicU64);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[test]
fn every_copy_of_a_store_that_is_written_to_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), options());
    // The writer runs during each copy, but not beyond the next one: otherwise the store could grow faster than it is
    // copied.
    let (allowed, committed) = (AtomicU64::new(200), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sequence = 0;
            while sequence < allowed.load(Ordering::Relaxed) {
                // Two records in a group: a copy never has only one of them.
                for agency in [A, B] {
                    store.stage_batch(agency, sequence, &batch(u32::try_from(sequence % 50).unwrap(), 3)).unwrap();
                }
                store.commit().unwrap();
                sequence += 1;
                committed.store(6 * sequence, Ordering::Release);
                while sequence == allowed.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
        });
        let _end = End(&allowed);
        for round in 0..40 {
            allowed.fetch_add(200, Ordering::Relaxed);
            let target = tempfile::tempdir().unwrap();
            let before = committed.load(Ordering::Acquire);
            let copied = copy(&folder.path().join("bets.csv"), &target.path().join("bets.csv"));
            let copied = copied.unwrap_or_else(|error| panic!("copy {round}: {error}"));
            // The turn that was being committed when the copy ended may be in it.
            let after = committed.load(Ordering::Acquire) + 6;
            assert!((before..=after).contains(&copied.bets), "{before} to {after} bets, not {}", copied.bets);
            assert_eq!(copied.bets % 6, 0, "whole turns");
            let rows = std::fs::read(target.path().join("bets.csv")).unwrap();
            assert_eq!(rows.len() as u64, copied.rows_bytes);
            assert!(std::fs::read(folder.path().join("bets.csv")).unwrap().starts_with(&rows));
            let (_, recovered) = Store::open(OsDisk::new(&target.path().join("bets.csv")), options()).unwrap();
            assert_eq!(recovered.agencies.iter().map(|(_, agency)| agency.bets).sum::<u64>(), copied.bets);
            assert!(recovered.discarded.is_none());
        }
    });
}

#[test]
fn a_copy_of_a_store_that_was_not_closed_has_its_last_turn() {
    let (folder, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = open(folder.path(), Options { sync: true, ..options() });
    store.stage_batch(A, 0, &batch(0, 3)).unwrap();
    store.stage_finish(A);
    store.commit().unwrap();
    drop(store);
    // As a power cut leaves it: only the redo log has the turn.
    std::fs::write(folder.path().join("bets.csv"), "").unwrap();
    let copied = copy(&folder.path().join("bets.csv"), &target.path().join("bets.csv")).unwrap();
    assert_eq!(copied.bets, 3);
    assert_eq!(std::fs::read(target.path().join("bets.csv")).unwrap(), rows_of(1, &batch(0, 3)));
    let (_, recovered) = Store::open(OsDisk::new(&target.path().join("bets.csv")), options()).unwrap();
    assert_eq!(recovered.agencies[0].1.standing, Standing::Finished);
    assert_eq!(std::fs::read(folder.path().join("bets.csv")).unwrap(), b"", "what is copied is not modified");
}

#[test]
fn damage_is_not_copied_as_if_it_were_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), options());
    for sequence in 0..5 {
        store.stage_batch(A, sequence, &batch(0, 3)).unwrap();
        store.commit().unwrap();
    }
    let journal = folder.path().join("bets.csv.journal");
    let whole = std::fs::read(&journal).unwrap();
    for running in [Some(store), None] {
        for (byte, file) in [(8192 + 3 * 64, "bets.csv.journal"), (10, "bets.csv.journal"), (40, "bets.csv")] {
            let path = folder.path().join(file);
            let sound = std::fs::read(&path).unwrap();
            let mut flipped = sound.clone();
            flipped[byte] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let target = tempfile::tempdir().unwrap();
            let copied = copy(&folder.path().join("bets.csv"), &target.path().join("bets.csv"));
            // The header has two copies.
            let is_harmless = byte == 10;
            assert_eq!(copied.is_ok(), is_harmless, "{byte} of {file}, in use: {}", running.is_some());
            assert!(is_harmless || matches!(copied, Err(OpenError::Damaged { .. })));
            std::fs::write(&path, &sound).unwrap();
        }
    }
    assert_eq!(std::fs::read(&journal).unwrap(), whole);
}
