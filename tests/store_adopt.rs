//! Adoption of rows that have no journal.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod storage_kit;

use loteria::lottery::{AgencyId, Standing};
use loteria::storage::{File, OpenError, Options, Recovered, Store};
use storage_kit::bets::{Bets, batch, rows_of};
use storage_kit::disk::{Mounted, SimDisk};

fn open(disk: &SimDisk, adopt: bool) -> Result<(Store<Mounted>, Recovered), OpenError> {
    Store::open(disk.mount(), Options { adopt, agencies: 2, journal_step: 4, redo_bytes: 0, ..Options::default() })
}

/// A disk that has nothing but these rows.
fn disk_with(rows: &[u8]) -> SimDisk {
    let disk = SimDisk::new(3);
    disk.tamper(File::Rows, |bytes| *bytes = rows.to_vec());
    disk
}

fn winners(bets: &Bets) -> Vec<loteria::lottery::Bet> {
    bets.0.iter().filter(|bet| bet.number() == 7574).cloned().collect()
}

/// Rows of two agencies, turn by turn, a quoted name among them.
fn rows() -> Vec<u8> {
    let quoted = b"2,\"Paz, \"\"la\"\"\",Ana,12,1999-03-17,7574\r\n";
    [rows_of(1, &batch(0, 5)), rows_of(2, &batch(100, 2)), quoted.to_vec(), rows_of(1, &batch(10, 1))].concat()
}

fn assert_adopted(recovered: &Recovered) {
    let [(first_id, first), (second_id, second)] = &recovered.agencies[..] else { panic!("{recovered:?}") };
    assert_eq!((first_id.0, first.bets, first.batches, first.standing), (1, 6, 0, Standing::Betting));
    assert_eq!((second_id.0, second.bets, second.batches, second.standing), (2, 3, 0, Standing::Betting));
    assert_eq!(first.winners, [winners(&batch(0, 5)), winners(&batch(10, 1))].concat());
    assert_eq!(second.winners.iter().map(|bet| bet.document()).collect::<Vec<_>>(), ["00000102", "12"][1..]);
    assert_eq!(recovered.drawn, None);
}

#[test]
fn rows_without_a_journal_are_refused_with_a_hint_and_adopted_on_demand() {
    let disk = disk_with(&rows());
    let Err(error) = open(&disk, false) else { panic!("opened") };
    assert_eq!(
        error.to_string(),
        "bets.csv.journal: damaged at byte 0: there is no journal, so nothing says which rows of bets.csv count; \
         put it back, or take them with --adopt"
    );
    assert_eq!(disk.cache(File::Journal), b"");
    let (mut store, recovered) = open(&disk, true).unwrap();
    assert_adopted(&recovered);
    assert_eq!(recovered.adopted_bytes, rows().len() as u64);
    // The store works like any other; its sequence numbers start from 0.
    store.stage_batch(AgencyId(2), 0, &batch(200, 1)).unwrap();
    store.commit().unwrap();
    store.close().unwrap();
    drop(store);
    disk.power_cut();
    let (mut store, recovered) = open(&disk, false).unwrap();
    assert_eq!((recovered.agencies[1].1.bets, recovered.agencies[1].1.batches), (4, 1));
    assert_eq!(recovered.agencies[0].1.bets, 6);
    assert!(store.matches(AgencyId(2), 0, &batch(200, 1)).unwrap());
    assert_eq!(disk.cache(File::Rows), [rows(), rows_of(2, &batch(200, 1))].concat());
}

#[test]
fn a_sound_store_is_not_adopted_and_a_damaged_one_stays_refused() {
    let disk = SimDisk::new(0);
    let (mut store, _) = open(&disk, true).unwrap();
    store.stage_batch(AgencyId(1), 0, &batch(0, 3)).unwrap();
    store.stage_finish(AgencyId(1));
    store.commit().unwrap();
    store.close().unwrap();
    drop(store);
    let (store, recovered) = open(&disk, true).unwrap();
    assert_eq!((recovered.agencies[0].1.standing, recovered.adopted_bytes), (Standing::Finished, 0));
    drop(store);
    disk.tamper(File::Rows, |bytes| bytes[3] ^= 1);
    assert!(matches!(open(&disk, true), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_row_that_the_hub_would_not_write_is_named_and_nothing_is_touched() {
    let good = rows();
    let first = rows_of(1, &batch(0, 1)).len();
    for (bad, offset) in [
        ([&good[..first], b"1,Ana,Paz,12,1999-03-17,7574\n", &good[first..]].concat(), first),
        ([&good[..first], b"1,Ana,Paz,12,1999-02-30,7574\r\n"].concat(), first),
        ([&good[..first], b"\r\n"].concat(), first),
        (good[..good.len() - 1].to_vec(), good.len() - rows_of(1, &batch(10, 1)).len()),
        (good[..good.len() - 2].to_vec(), good.len() - rows_of(1, &batch(10, 1)).len()),
        ([&good[..], &vec![b'x'; 5000]].concat(), good.len()),
        ([&good[..], &vec![b'x'; 3 << 20]].concat(), good.len()),
    ] {
        let disk = disk_with(&bad);
        match open(&disk, true) {
            Err(OpenError::Damaged { file, offset: at, .. }) => {
                assert_eq!((file.as_str(), at), ("bets.csv", offset as u64));
            }
            other => panic!("{:?}", other.map(|(_, recovered)| recovered)),
        }
        assert_eq!((disk.cache(File::Rows), disk.cache(File::Journal)), (bad, Vec::new()));
    }
}

#[test]
fn a_file_of_many_pieces_is_adopted_and_opened_again() {
    let batches: Vec<_> = (0..400).map(|batch| (1 + batch % 3, storage_kit::bets::batch(batch * 1000, 150))).collect();
    let rows: Vec<u8> = batches.iter().flat_map(|(agency, bets)| rows_of(*agency, bets)).collect();
    assert!(rows.len() > 2 << 20);
    let disk = disk_with(&rows);
    for adopt in [true, false] {
        let (_, recovered) = open(&disk, adopt).unwrap();
        assert_eq!(recovered.agencies.len(), 3);
        for (id, agency) in &recovered.agencies {
            let own: Vec<_> = batches.iter().filter(|(agency, _)| *agency == id.0).collect();
            assert_eq!(agency.bets, own.len() as u64 * 150);
            assert_eq!(agency.winners, own.iter().flat_map(|(_, bets)| winners(bets)).collect::<Vec<_>>());
        }
    }
    disk.tamper(File::Rows, |bytes| bytes[1 << 20] ^= 1);
    assert!(matches!(open(&disk, false), Err(OpenError::Damaged { .. })), "adopted rows are watched like any others");
}

#[test]
fn a_journal_without_a_header_is_kept_in_quarantine_when_its_rows_are_adopted() {
    let disk = disk_with(&rows());
    disk.tamper(File::Journal, |bytes| *bytes = b"what was a journal".repeat(1000));
    assert!(matches!(open(&disk, false), Err(OpenError::Damaged { .. })));
    assert_adopted(&open(&disk, true).unwrap().1);
    let quarantine = disk.durable(File::Quarantine);
    assert!(quarantine.windows(18_000).any(|window| window == b"what was a journal".repeat(1000)));
}

#[test]
fn adopting_that_a_crash_cuts_off_is_done_again() {
    let complete = disk_with(&rows());
    open(&complete, true).unwrap();
    for call in 0..complete.calls() {
        for power_cut in [false, true] {
            let disk = disk_with(&rows());
            disk.crash_at_call(Some(call));
            let _ = open(&disk, true);
            if power_cut {
                disk.power_cut();
            } else {
                disk.kill();
            }
            // Either there is no journal yet, or all rows are adopted.
            match open(&disk, false) {
                Ok((_, recovered)) => assert_adopted(&recovered),
                Err(OpenError::Damaged { .. }) => assert_adopted(&open(&disk, true).unwrap().1),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(disk.cache(File::Rows), rows());
        }
    }
}
