//! A start on any files: they are refused and left alone, or recovered, and then recovered again to the same. The
//! body of the fuzz target `recovery`, and of its short run in the tests.
//!
//! The input is either the files' bytes, or what a hub has stored and then how its files are changed: bytes behind
//! the store's back, and records that say something else under a right checksum.

use loteria::lottery::AgencyId;
use loteria::storage::{File, OpenError, Options, Recovered, Store};

use crate::storage_kit::bets::batch;
use crate::storage_kit::disk::{Mounted, SimDisk};
use crate::storage_kit::model::{Change, Expected};

/// Where the journal's records start, and the length of one (`docs/DURABILITY.md`).
const RECORDS_START: usize = 8192;
const RECORD: usize = 64;
/// Where entries of the redo log start, and how long their headers are.
const BLOCK: usize = 4096;
const HEADER: usize = 64;
/// Turns and changes that one input makes.
const STEPS_MAX: usize = 200;

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let choices = input.byte();
    let disk = SimDisk::new(u64::from(choices));
    if choices & 1 == 0 {
        let journal_bytes = input.number();
        let journal = input.bytes(journal_bytes).to_vec();
        disk.tamper(File::Journal, |bytes| bytes.clone_from(&journal));
        disk.tamper(File::Rows, |bytes| *bytes = input.0.to_vec());
    } else {
        store(&disk, &mut input);
        // What is changed is what a power cut has left, at worst, or all that was written.
        let left = |file| if choices & 4 == 0 { disk.cache(file) } else { disk.durable(file) };
        for (file, bytes) in [File::Rows, File::Journal, File::Redo].map(|file| (file, left(file))) {
            disk.tamper(file, |there| there.clone_from(&bytes));
        }
        change(&disk, &mut input);
    }
    start(&disk, choices & 2 != 0);
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn bytes(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn options(adopt: bool) -> Options {
    Options { winning_number: 7574, agencies: 2, journal_step: 4, redo_bytes: 16 * 1024, adopt, ..Options::default() }
}

fn open(disk: &SimDisk, adopt: bool) -> Result<(Store<Mounted>, Recovered), OpenError> {
    Store::open(disk.mount(), options(adopt))
}

/// Turns of a hub, up to a byte that is none.
fn store(disk: &SimDisk, input: &mut Input<'_>) {
    let (mut store, _) = open(disk, false).expect("an empty disk");
    let (mut expected, mut document) = (Expected::default(), 0);
    for _ in 0..STEPS_MAX {
        let step = input.byte();
        let agency = u32::from(step >> 4) + 1;
        let change = match step & 0x0f {
            0 => break,
            1..=4 => Change::Batch(agency, batch(document, u32::from(step & 0x0f))),
            5 => Change::Finish(agency),
            6 => Change::Exclude(agency),
            7 => Change::Draw([7574, 1, 8][agency as usize % 3]),
            8..=15 => {
                store.commit().expect("the disk works");
                if step & 0x0f == 8 {
                    store.seal().expect("the disk works");
                }
                continue;
            }
            _ => unreachable!("half a byte"),
        };
        document += 5;
        change.stage(&expected, &mut store);
        expected.apply(&change);
    }
    // A turn that is not committed is gone.
}

/// Changes of the files, to the input's end.
fn change(disk: &SimDisk, input: &mut Input<'_>) {
    for _ in 0..STEPS_MAX {
        if input.0.is_empty() {
            return;
        }
        let (step, place, value) = (input.byte(), input.number(), input.byte());
        let file = match step & 0xc0 {
            0 => File::Journal,
            0x40 => File::Redo,
            _ => File::Rows,
        };
        if file == File::Redo && matches!(step & 0x0f, 3 | 4) {
            forge(disk, step & 0x0f == 3, place, value);
            continue;
        }
        let slot = |place: usize| RECORDS_START + place % 64 * RECORD;
        let record = slot(place)..slot(place) + RECORD;
        let records_are = |journal: &[u8]| journal.len() >= record.end;
        disk.tamper(file, |bytes| match step & 0x0f {
            0 => bytes.truncate(place),
            1 => bytes.extend(std::iter::repeat_n(value, place % 4096)),
            2 => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
            }
            // A header's field, under a right checksum.
            3 if file == File::Journal && bytes.len() >= RECORDS_START => {
                let copy = place / 32 % 2 * 4096;
                bytes[copy + place % 20] = value;
                let crc = crc32c::crc32c(&bytes[copy..copy + 20]);
                bytes[copy + 20..copy + 24].copy_from_slice(&crc.to_le_bytes());
            }
            // A record's field.
            4 if records_are(bytes) => {
                bytes[record.start + 4 + place / 64 % 60] = value;
                chain(bytes, record.start);
            }
            5 if records_are(bytes) => {
                let from = slot(usize::from(value));
                if bytes.len() >= from + RECORD {
                    bytes.copy_within(from..from + RECORD, record.start);
                    chain(bytes, record.start);
                }
            }
            6 if records_are(bytes) => bytes[record.clone()].fill(0),
            _ => {
                let from = place.min(bytes.len());
                let to = (from + usize::from(value)).min(bytes.len());
                bytes.drain(from..to);
            }
        });
    }
}

/// Changes a byte of an entry's header, or of one of its records, and gives it the checksums that it should have.
fn forge(disk: &SimDisk, header: bool, place: usize, value: u8) {
    let seed = disk.peek(File::Journal, |journal| journal.get(12..20).map(crc32c::crc32c));
    let (Some(seed), entry) = (seed, place % 4 * BLOCK) else { return };
    disk.tamper(File::Redo, |log| {
        if header && log.len() >= entry + HEADER {
            let header = &mut log[entry..entry + HEADER];
            header[4 + place / 4 % 60] = value;
            let crc = crc32c::crc32c_append(seed, &header[4..]).to_le_bytes();
            header[..4].copy_from_slice(&crc);
        } else if !header && log.len() >= entry + HEADER + RECORD {
            let count = usize::from(log[entry + 8]);
            let rows_bytes = usize::from(log[entry + 40]) | usize::from(log[entry + 41]) << 8;
            let first = entry + HEADER + rows_bytes;
            let end = log.len().min(first + count * RECORD);
            let record = (first + place / 4 % 4 * RECORD).min(end.saturating_sub(RECORD));
            if record >= first {
                log[record + 4 + place / 16 % 60] = value;
                let previous = if record == first {
                    log[first + 56..first + 60].to_vec()
                } else {
                    log[record - RECORD..record - RECORD + 4].to_vec()
                };
                chain_from(&mut log[record..end], seed, previous);
            }
        }
    });
}

/// Gives the record at `start` and those behind it the checksums that they should have.
fn chain(journal: &mut [u8], start: usize) {
    let seed = crc32c::crc32c(&journal[12..20]);
    let previous = match start.checked_sub(RECORD).filter(|before| *before >= RECORDS_START) {
        Some(before) => journal[before..before + 4].to_vec(),
        None => seed.to_le_bytes().to_vec(),
    };
    chain_from(&mut journal[start..], seed, previous);
}

fn chain_from(records: &mut [u8], seed: u32, mut previous: Vec<u8>) {
    for record in records.chunks_exact_mut(RECORD) {
        if record.iter().all(|byte| *byte == 0) {
            return;
        }
        record[56..60].copy_from_slice(&previous);
        let crc = crc32c::crc32c_append(seed, &record[4..]).to_le_bytes();
        record[..4].copy_from_slice(&crc);
        previous = crc.to_vec();
    }
}

fn files(disk: &SimDisk) -> [Vec<u8>; 4] {
    [File::Rows, File::Journal, File::Quarantine, File::Redo].map(|file| disk.cache(file))
}

/// What a store remembers, to compare.
fn told(recovered: &Recovered) -> String {
    format!("{:?} {:?}", recovered.agencies, recovered.drawn)
}

fn start(disk: &SimDisk, adopt: bool) {
    let before = files(disk);
    let first = match open(disk, adopt) {
        Ok((_, recovered)) => recovered,
        Err(OpenError::Damaged { what, .. }) => {
            assert!(files(disk) == before, "a store was refused ({what}), and modified");
            return;
        }
        Err(error) => panic!("a disk that works: {error}"),
    };
    let bets: u64 = first.agencies.iter().map(|(_, agency)| agency.bets).sum();
    let rows = disk.cache(File::Rows);
    assert_eq!(rows.iter().filter(|byte| **byte == b'\n').count() as u64, bets, "a row for each bet");
    let (mut store, second) = open(disk, false).expect("what was recovered once is recovered again");
    assert_eq!(told(&first), told(&second), "recovered twice");
    assert_eq!((second.discarded, second.adopted_bytes), (None, 0), "there is nothing left to repair");
    // It takes a turn, too.
    let sequence = store.next_sequence(AgencyId(1));
    store.stage_batch(AgencyId(1), sequence, &batch(9000, 2)).expect("good bets");
    store.commit().expect("the disk works");
    drop(store);
    let (_, third) = open(disk, false).expect("what was stored is recovered");
    assert_eq!(third.agencies.iter().map(|(_, agency)| agency.bets).sum::<u64>(), bets + 2, "with the new bets");
    assert!(disk.durable(File::Rows).starts_with(&rows), "and the old ones");
}
