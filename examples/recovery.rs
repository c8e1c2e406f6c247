//! How long a start takes and how much memory, by the size of the store.
//!
//! `cargo run --release --example recovery -- [--bets N] [--batch N] [--folder DIR]` stores N bets (10 million) in
//! batches of N (150), then opens the store in a process of its own, once with everything in the system's memory
//! written to the disk before. The files (some 45 bytes a bet) are removed at the end.

#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use lexopt::prelude::*;
use loteria::lottery::{AgencyId, BatchError, Bet, BetSink, BetSource};
use loteria::storage::{File, Options, OsDisk, Store};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

const AGENCIES: u32 = 5;
/// One bet of so many is on the winning number, as with numbers of four digits.
const WINNERS_ONE_IN: u64 = 10_000;

/// A batch of different bets, made on the way.
struct Batch {
    from: u64,
    bets: u64,
}

impl BetSource for Batch {
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        const NAMES: [(&str, &str); 4] =
            [("Santiago Lionel", "Lorca"), ("Tiago Nicolás", "Rivera"), ("Ana", "Ñandú"), ("Martina Pilar", "Mamani")];
        for index in self.from..self.from + self.bets {
            let (first, last) = NAMES[usize::try_from(index % 4).unwrap_or(0)];
            let document = format!("{:08}", index % 100_000_000);
            let number = (7574 + index * 7 % WINNERS_ONE_IN).to_string();
            let bet = Bet::from_text(
                first.as_bytes(),
                last.as_bytes(),
                document.as_bytes(),
                b"1999-03-17",
                number.as_bytes(),
            );
            sink.put(&bet.map_err(|error| BatchError::BadBet { index: 0, error })?.as_raw());
        }
        u32::try_from(self.bets).map_err(|_| BatchError::Malformed)
    }
}

struct Arguments {
    bets: u64,
    batch: u64,
    folder: Option<PathBuf>,
    open: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let mut arguments = Arguments { bets: 10_000_000, batch: 150, folder: None, open: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bets") => arguments.bets = parser.value()?.parse()?,
            Long("batch") => arguments.batch = parser.value()?.parse::<u64>()?.max(1),
            Long("folder") => arguments.folder = Some(parser.value()?.into()),
            Long("open") => arguments.open = Some(parser.value()?.into()),
            Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
        }
    }
    Ok(arguments)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    if let Some(rows) = &arguments.open {
        return open(rows);
    }
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let rows = folder.path().join("bets.csv");
    store(&rows, arguments.bets, arguments.batch)?;
    // The first start writes to the disk what memory still holds; only the second is a start like any other.
    Store::open(OsDisk::new(&rows), Options::default())?;
    println!("{} bets in batches of {}", arguments.bets, arguments.batch);
    let child = std::process::Command::new(std::env::current_exe()?).arg("--open").arg(&rows).status()?;
    if child.success() { Ok(()) } else { Err("the store could not be opened".into()) }
}

/// Stores the bets, a turn to every hundred thousand.
fn store(rows: &Path, bets: u64, batch: u64) -> Result<(), Box<dyn Error>> {
    let (mut store, _) = Store::open(OsDisk::new(rows), Options { sync: false, ..Options::default() })?;
    let mut from = 0;
    while from < bets {
        let agency = AgencyId(1 + u32::try_from(from / batch % u64::from(AGENCIES))?);
        let sequence = store.next_sequence(agency);
        store.stage_batch(agency, sequence, &Batch { from, bets: batch.min(bets - from) })?;
        from += batch;
        if from % 100_000 < batch {
            store.commit()?;
        }
    }
    store.commit()?;
    store.close()?;
    Ok(())
}

fn open(rows: &Path) -> Result<(), Box<dyn Error>> {
    let disk = OsDisk::new(rows);
    let bytes = |file| std::fs::metadata(disk.path(file)).map(|metadata| metadata.len());
    let (rows_bytes, journal_bytes) = (bytes(File::Rows)?, bytes(File::Journal)?);
    let before = peak_kib()?;
    let started = Instant::now();
    let (_store, recovered) = Store::open(disk, Options::default())?;
    let seconds = started.elapsed().as_secs_f64();
    let bets: u64 = recovered.agencies.iter().map(|(_, agency)| agency.bets).sum();
    let winners: usize = recovered.agencies.iter().map(|(_, agency)| agency.winners.len()).sum();
    let mib = |bytes: u64| bytes >> 20;
    println!("rows {} MiB, journal {} MiB", mib(rows_bytes), mib(journal_bytes));
    println!("opened in {seconds:.2} s: {bets} bets, {winners} winners kept");
    println!("peak memory {} KiB, of which {before} KiB before the start", peak_kib()?);
    Ok(())
}

/// The most memory that this process has had, as the system counts it.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
