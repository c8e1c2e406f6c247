//! Starts with damaged files: torn, flipped, cut, edited, deleted.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod storage_kit;

use loteria::lottery::AgencyId;
use loteria::storage::{File, OpenError, Options, Recovered, Store};
use storage_kit::bets::{batch, rows_of};
use storage_kit::disk::{Mounted, SimDisk};
use storage_kit::model::{Change, Expected};

const NUMBER: u32 = 7574;
/// Where the journal's records start, and the length of one (`docs/DURABILITY.md`).
const RECORDS_START: usize = 8192;
const RECORD: usize = 64;

fn options() -> Options {
    Options { winning_number: NUMBER, agencies: 2, journal_step: 4, redo_bytes: 0, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<(Store<Mounted>, Recovered), OpenError> {
    Store::open(disk.mount(), options())
}

fn turns() -> Vec<Vec<Change>> {
    vec![
        vec![Change::Batch(1, batch(0, 2)), Change::Batch(2, batch(100, 1))],
        vec![Change::Finish(1)],
        vec![Change::Batch(2, batch(110, 2)), Change::Batch(2, batch(120, 1)), Change::Finish(2), Change::Draw(NUMBER)],
    ]
}

/// A store of all turns, with or without the seal behind them.
struct Stored {
    disk: SimDisk,
    /// After all turns, and after all but the last.
    expected: [Expected; 2],
    /// Bytes of the journal up to the end of the last turn's records, and up to their start.
    journal_end: [usize; 2],
}

fn stored(sealed: bool) -> Stored {
    let disk = SimDisk::new(7);
    let (mut store, _) = open(&disk).unwrap();
    let (mut expected, mut before) = (Expected::default(), Expected::default());
    for turn in turns() {
        before = expected.clone();
        for change in &turn {
            change.stage(&expected, &mut store);
            expected.apply(change);
        }
        store.commit().unwrap();
    }
    if sealed {
        store.close().unwrap();
    }
    // The first record is the seal of the empty store.
    let records: usize = 1 + turns().iter().map(Vec::len).sum::<usize>();
    let journal_end = [records, records - turns()[2].len()].map(|records| RECORDS_START + records * RECORD);
    Stored { disk, expected: [expected, before], journal_end }
}

/// The files on the disk, without the cache.
fn files(disk: &SimDisk) -> [Vec<u8>; 3] {
    [File::Rows, File::Journal, File::Quarantine].map(|file| disk.durable(file))
}

/// Opens the store, which must have exactly what is `expected`.
fn assert_has(disk: &SimDisk, expected: &Expected, context: &str) -> Recovered {
    let (_, recovered) = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(expected.differs(NUMBER, &recovered, &disk.cache(File::Rows)), None, "{context}");
    recovered
}

/// Opens the store, which must be refused as damaged, with nothing modified; returns file and offset.
fn assert_damaged(disk: &SimDisk, context: &str) -> (String, u64) {
    let before = files(disk);
    match open(disk) {
        Err(OpenError::Damaged { file, offset, .. }) => {
            assert!(files(disk) == before, "{context}: a damaged store was modified");
            (file, offset)
        }
        Err(error) => panic!("{context}: {error}"),
        Ok((_, recovered)) => panic!("{context}: {recovered:?}"),
    }
}

#[test]
fn a_turn_torn_at_any_byte_of_either_file_is_gone_whole() {
    let stored = stored(false);
    let [rows_end, rows_start] = [0, 1].map(|turn| stored.expected[turn].rows.len());
    let [journal_end, journal_start] = stored.journal_end;
    let journal = stored.disk.cache(File::Journal);
    for rows_len in rows_start..=rows_end {
        for journal_len in journal_start..=journal_end {
            let torn = stored.disk.fork();
            torn.tamper(File::Rows, |bytes| bytes.truncate(rows_len));
            torn.tamper(File::Journal, |bytes| bytes[journal_len..].fill(0));
            let whole = rows_len == rows_end && torn.cache(File::Journal) == journal;
            let context = format!("rows torn at {rows_len}, records at {journal_len}");
            let recovered = assert_has(&torn, &stored.expected[usize::from(!whole)], &context);
            let something_left = rows_len > rows_start || journal_len > journal_start;
            assert_eq!(recovered.discarded.is_some(), !whole && something_left, "{context}");
        }
    }
}

#[test]
fn a_turn_whose_records_came_in_another_order_is_gone_whole() {
    let stored = stored(false);
    let [journal_end, journal_start] = stored.journal_end;
    let records = (journal_end - journal_start) / RECORD;
    // Every subset of the records, except all of them.
    for there in 0..(1 << records) - 1 {
        let torn = stored.disk.fork();
        torn.tamper(File::Journal, |bytes| {
            for record in (0..records).filter(|record| there >> record & 1 == 0) {
                bytes[journal_start + record * RECORD..][..RECORD].fill(0);
            }
        });
        assert_has(&torn, &stored.expected[1], &format!("records {there:b}"));
    }
}

#[test]
fn a_draw_that_was_torn_does_not_choose_the_winners() {
    let stored = stored(false);
    stored.disk.tamper(File::Rows, |bytes| bytes.truncate(bytes.len() - 1));
    let (_, recovered) = Store::open(stored.disk.mount(), Options { winning_number: 1, ..options() }).unwrap();
    assert_eq!(recovered.drawn, None);
    assert_eq!(stored.expected[1].differs(1, &recovered, &stored.disk.cache(File::Rows)), None);
}

#[test]
fn what_is_cut_off_is_kept_in_quarantine() {
    let stored = stored(false);
    let [journal_end, journal_start] = stored.journal_end;
    stored.disk.tamper(File::Rows, |bytes| bytes.truncate(bytes.len() - 1));
    let cut_rows = stored.disk.cache(File::Rows)[stored.expected[1].rows.len()..].to_vec();
    let cut_records = stored.disk.cache(File::Journal)[journal_start..journal_end - 8].to_vec();
    let full = stored.disk.fork();
    let discarded = assert_has(&stored.disk, &stored.expected[1], "torn").discarded.unwrap();
    assert_eq!(discarded.kept_in.as_deref(), Some("bets.csv.quarantine"));
    assert_eq!(discarded.rows_bytes, cut_rows.len() as u64);
    let quarantine = stored.disk.durable(File::Quarantine);
    for part in [cut_rows, cut_records] {
        assert!(quarantine.windows(part.len()).any(|window| window == part));
    }
    // A second tail goes behind the first.
    stored.disk.tamper(File::Rows, |bytes| bytes.extend(b"2,half a r"));
    assert_has(&stored.disk, &stored.expected[1], "torn again");
    let both = stored.disk.durable(File::Quarantine);
    assert!(both.starts_with(&quarantine) && both.ends_with(b"2,half a r"));
    // The store opens also where the disk has no space for the tail.
    full.set_space(Some(full.used() + 30));
    assert_eq!(assert_has(&full, &stored.expected[1], "full").discarded.unwrap().kept_in, None);
    assert_eq!(full.cache(File::Quarantine), b"");
}

#[test]
fn a_flipped_bit_in_any_sealed_byte_is_found() {
    let stored = stored(true);
    for byte in 0..stored.expected[0].rows.len() {
        let flipped = stored.disk.fork();
        flipped.tamper(File::Rows, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let (file, offset) = assert_damaged(&flipped, &format!("byte {byte} of the rows"));
        assert_eq!(file, "bets.csv");
        assert!(offset <= byte as u64);
    }
    for byte in RECORDS_START..stored.journal_end[0] {
        let flipped = stored.disk.fork();
        flipped.tamper(File::Journal, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let (file, offset) = assert_damaged(&flipped, &format!("byte {byte} of the journal"));
        assert_eq!((file.as_str(), offset), ("bets.csv.journal", (byte / RECORD * RECORD) as u64));
    }
}

#[test]
fn a_flipped_bit_where_nothing_is_committed_harms_nothing() {
    let stored = stored(true);
    let journal_bytes = stored.disk.cache(File::Journal).len();
    for byte in (0..RECORDS_START).step_by(3).chain(stored.journal_end[0]..journal_bytes) {
        let flipped = stored.disk.fork();
        flipped.tamper(File::Journal, |bytes| bytes[byte] ^= 1 << (byte % 8));
        assert_has(&flipped, &stored.expected[0], &format!("byte {byte} of the journal"));
    }
}

#[test]
fn a_flipped_bit_before_an_unsealed_turn_is_found_and_in_it_the_turn_is_gone() {
    let stored = stored(false);
    let rows_start = stored.expected[1].rows.len();
    for byte in 0..stored.expected[0].rows.len() {
        let flipped = stored.disk.fork();
        flipped.tamper(File::Rows, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let context = format!("byte {byte} of the rows");
        if byte < rows_start {
            assert_damaged(&flipped, &context);
        } else {
            assert_has(&flipped, &stored.expected[1], &context);
        }
    }
    for byte in RECORDS_START..stored.journal_end[0] {
        let flipped = stored.disk.fork();
        flipped.tamper(File::Journal, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let context = format!("byte {byte} of the journal");
        if byte < stored.journal_end[1] {
            assert_damaged(&flipped, &context);
        } else {
            assert_has(&flipped, &stored.expected[1], &context);
        }
    }
}

#[test]
fn either_copy_of_the_header_does_and_a_start_mends_the_other() {
    let stored = stored(true);
    for lost in [0, 4096, 0] {
        stored.disk.tamper(File::Journal, |bytes| bytes[lost..lost + 512].fill(0xff));
        assert_has(&stored.disk, &stored.expected[0], "one header lost");
    }
    stored.disk.tamper(File::Journal, |bytes| bytes[..RECORDS_START].fill(0));
    assert_eq!(assert_damaged(&stored.disk, "both headers lost"), ("bets.csv.journal".to_owned(), 0));
}

#[test]
fn a_format_of_the_future_is_refused_untouched() {
    let stored = stored(true);
    stored.disk.tamper(File::Journal, |bytes| {
        for copy in [0, 4096] {
            bytes[copy + 8] = 2;
            let crc = crc32c::crc32c(&bytes[copy..copy + 20]);
            bytes[copy + 20..copy + 24].copy_from_slice(&crc.to_le_bytes());
        }
    });
    assert_damaged(&stored.disk, "version 2");
}

#[test]
fn a_journal_cut_at_any_byte_is_found() {
    for sealed in [false, true] {
        let stored = stored(sealed);
        let records_end = stored.journal_end[0] + usize::from(sealed) * RECORD;
        for len in 0..=records_end + 7 * RECORD {
            let cut = stored.disk.fork();
            cut.tamper(File::Journal, |bytes| bytes.truncate(len));
            assert_damaged(&cut, &format!("journal cut at {len}"));
        }
    }
}

#[test]
fn rows_changed_by_hand_are_found() {
    let stored = stored(true);
    let rows = stored.expected[0].rows.clone();
    let first_row = rows.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    type Edit<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;
    let edits: [(&str, Edit); 7] = [
        ("deleted", Box::new(|bytes| bytes.clear())),
        ("a byte shorter", Box::new(|bytes| bytes.truncate(rows.len() - 1))),
        ("the first row gone", Box::new(|bytes| drop(bytes.drain(..first_row)))),
        ("a row put in", Box::new(|bytes| drop(bytes.splice(0..0, rows[..first_row].to_vec())))),
        ("a row twice in another's place", Box::new(|bytes| bytes.copy_within(..first_row, first_row))),
        ("line ends changed", Box::new(|bytes| bytes.retain(|&byte| byte != b'\r'))),
        ("a winner made", Box::new(|bytes| bytes[first_row - 5..first_row - 2].copy_from_slice(b"574"))),
    ];
    for (what, edit) in edits {
        let edited = stored.disk.fork();
        edited.tamper(File::Rows, edit);
        if edited.cache(File::Rows) != rows {
            assert_eq!(assert_damaged(&edited, what).0, "bets.csv");
        }
    }
}

#[test]
fn rows_put_behind_the_last_by_hand_were_never_bets() {
    let stored = stored(true);
    stored.disk.tamper(File::Rows, |bytes| bytes.extend(rows_of(1, &batch(900, 3))));
    let recovered = assert_has(&stored.disk, &stored.expected[0], "rows put behind");
    assert!(recovered.discarded.is_some_and(|discarded| discarded.kept_in.is_some()));
}

#[test]
fn another_store_s_files_are_found() {
    let (stored, other) = (stored(true), SimDisk::new(99));
    let (mut store, _) = open(&other).unwrap();
    store.stage_batch(AgencyId(1), 0, &batch(50, 9)).unwrap();
    store.commit().unwrap();
    store.close().unwrap();
    drop(store);
    let (journal, rows) = (other.cache(File::Journal), other.cache(File::Rows));
    let mixed = stored.disk.fork();
    mixed.tamper(File::Journal, |bytes| *bytes = journal.clone());
    assert_damaged(&mixed, "another store's journal");
    let mixed = stored.disk.fork();
    mixed.tamper(File::Rows, |bytes| *bytes = rows.clone());
    assert_damaged(&mixed, "another store's rows");
    let mixed = stored.disk.fork();
    mixed.tamper(File::Journal, |bytes| bytes[4096..4608].copy_from_slice(&journal[4096..4608]));
    assert_damaged(&mixed, "two headers");
    let mixed = stored.disk.fork();
    mixed.tamper(File::Journal, |bytes| bytes[..RECORDS_START].copy_from_slice(&journal[..RECORDS_START]));
    assert_damaged(&mixed, "another store's header");
}

/// The checksum that a record's bytes should have, in a journal that starts with this header.
fn record_crc(journal: &[u8], record: &[u8]) -> u32 {
    crc32c::crc32c(&[&journal[12..20], &record[4..]].concat())
}

/// Makes every record's checksum right again, and lets each follow the one before it.
fn mend_checksums(journal: &mut [u8], records_end: usize, keep_previous_of: Option<usize>) {
    let mut previous = crc32c::crc32c(&journal[12..20]);
    for at in (RECORDS_START..records_end).step_by(RECORD) {
        if keep_previous_of != Some(at) {
            journal[at + 56..at + 60].copy_from_slice(&previous.to_le_bytes());
        }
        let crc = record_crc(journal, &journal[at..at + RECORD]);
        journal[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        previous = crc;
    }
}

#[test]
fn records_that_are_valid_but_do_not_follow_one_another_are_found() {
    let stored = stored(true);
    let end = stored.journal_end[0] + RECORD;
    // The record after the first turn's two batches, and the second of the two batches.
    let (finish, batch) = (RECORDS_START + 3 * RECORD, RECORDS_START + 2 * RECORD);
    for (what, at, byte, keep_previous_of) in [
        ("nothing", 0, 0, None),
        ("a group left out", finish, 16, None),
        ("rows left out", finish, 32, None),
        ("rows counted otherwise", batch, 12, None),
        ("a batch left out", batch, 48, None),
        ("another record before it", finish, 56, Some(finish)),
        ("rows of a record that has none", finish, 40, None),
    ] {
        let edited = stored.disk.fork();
        edited.tamper(File::Journal, |bytes| {
            bytes[at + byte] += u8::from(at > 0);
            mend_checksums(bytes, end, keep_previous_of);
        });
        if at == 0 {
            assert_has(&edited, &stored.expected[0], what);
        } else {
            let (_, offset) = assert_damaged(&edited, what);
            assert!(offset <= at as u64, "{what}");
        }
    }
}

#[test]
fn two_draws_on_different_numbers_are_found() {
    let stored = stored(true);
    let (mut store, _) = open(&stored.disk).unwrap();
    store.stage_draw(NUMBER + 1);
    store.commit().unwrap();
    drop(store);
    assert_damaged(&stored.disk, "a second draw");
}

#[test]
fn both_files_deleted_is_a_fresh_store() {
    let stored = stored(true);
    for file in [File::Rows, File::Journal] {
        stored.disk.tamper(file, Vec::clear);
    }
    assert_has(&stored.disk, &Expected::default(), "both deleted");
}
