//! The store alone, on a simulated disk with all faults at once.
//!
//! Everything follows from the seed: what is stored, which faults happen, and when. After every restart the store
//! must have exactly what was acknowledged, with or without the one group that was being committed, never a part of it.
//! `STORE_SEEDS=200000 cargo test --profile soak --test store_simulation` runs more of them, `STORE_SEED=42` one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // As helpers of tests may.

mod environment;
mod storage_kit;

use loteria::lottery::AgencyId;
use loteria::mutants::{self, Mutant};
use loteria::storage::{CommitError, File, OpenError, Options, Store};
use storage_kit::bets::{Bets, batch};
use storage_kit::disk::{Faults, Mounted, SimDisk};
use storage_kit::model::{Change, Expected};
use storage_kit::random::Random;

const AGENCIES: u32 = 3;
const STEPS: usize = 60;
/// About the bytes of an empty store. A disk that fills up has little more space.
const EMPTY_STORE_BYTES: u64 = 13_000;

/// One run.
struct Simulation {
    random: Random,
    disk: SimDisk,
    options: Options,
    faults: Faults,
    power_cuts: bool,
    store: Option<Store<Mounted>>,
    /// What was acknowledged.
    expected: Expected,
    /// What is expected if the turn that was being committed when the process died is there.
    uncertain: Option<Expected>,
    next_document: u32,
    /// The largest batch. Many bets fill whole sectors with rows, so that a torn entry of the redo log can lack rows
    /// only.
    most_bets: u64,
}

type Outcome = Result<(), String>;

fn run(seed: u64, mutant: Option<Mutant>) -> Result<u64, String> {
    #[cfg(debug_assertions)]
    let _introduced = mutants::introduce(mutant);
    let mut simulation = Simulation::new(seed);
    let outcome = simulation.steps().and_then(|()| simulation.heal());
    outcome.map(|()| simulation.disk.trace()).map_err(|what| format!("seed {seed}: {what}"))
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = Random::new(seed);
        let mut some = |permille: u64| if random.chance(500) { permille } else { 0 };
        let faults = Faults {
            crash: some(8),
            sync_error: some(60),
            write_error: some(10),
            read_error: 0,
            short: some(300),
            interrupt: some(100),
            keep_cache: some(500),
            write_back: some(200),
            late_full: some(250),
        };
        // Without syncs the store promises to survive only the end of the process.
        let sync = random.chance(850);
        let options = Options {
            sync,
            winning_number: 7574,
            adopt: false,
            agencies: AGENCIES as usize,
            journal_step: if random.below(4) == 0 { 200 } else { random.below(12) },
            redo_bytes: [0, 4096, 8192, 16 * 1024, 64 * 1024][random.index(5)],
        };
        let faults = if sync { faults } else { Faults { sync_error: 0, ..faults } };
        let disk = SimDisk::new(random.next());
        let most_bets = [8, 8, 40][random.index(3)];
        Simulation {
            random,
            disk,
            options,
            faults,
            power_cuts: sync,
            store: None,
            expected: Expected::default(),
            uncertain: None,
            next_document: 0,
            most_bets,
        }
    }

    fn steps(&mut self) -> Outcome {
        self.disk.set_faults(self.faults);
        let tight = self.random.chance(400);
        for _ in 0..STEPS {
            if tight && self.random.chance(150) {
                let space = EMPTY_STORE_BYTES + self.random.below(3000);
                let space = self.random.chance(600).then_some(self.disk.used().max(space) + self.random.below(300));
                self.disk.set_space(space);
            }
            match self.random.below(100) {
                0..10 => self.die(),
                10..15 => self.seal()?,
                15..20 => self.damage()?,
                20..30 => self.compare()?,
                _ => self.turn()?,
            }
        }
        Ok(())
    }

    /// Stops all faults: what is acknowledged from then on survives a power cut.
    fn heal(&mut self) -> Outcome {
        self.die();
        self.disk.set_faults(Faults::default());
        self.disk.set_space(None);
        for _ in 0..2 {
            self.turn()?;
            if self.uncertain.is_some() {
                return Err("a commit without faults failed".to_owned());
            }
            self.die();
        }
        self.opened().map(|_| ())
    }

    /// The process ends, or the whole machine.
    fn die(&mut self) {
        if self.random.chance(200)
            && let Some(store) = &mut self.store
        {
            let _ = store.close();
        }
        self.store = None;
        if self.power_cuts && self.random.chance(600) {
            self.disk.power_cut()
        } else {
            self.disk.kill()
        }
        if self.expected.drawn.is_some() || self.random.chance(100) {
            self.options.winning_number = [7574, 1, 8][self.random.index(3)];
        }
    }

    /// Opens the store, where it is not open. A start that a fault ends is repeated.
    fn opened(&mut self) -> Result<bool, String> {
        for _ in 0..40 {
            if self.store.is_some() {
                return Ok(true);
            }
            match Store::open(self.disk.mount(), self.options.clone()) {
                Ok((store, recovered)) => {
                    let rows = self.disk.cache(File::Rows);
                    let number = self.options.winning_number;
                    if let Some(difference) = self.expected.differs(number, &recovered, &rows) {
                        match self.uncertain.take() {
                            Some(expected) if expected.differs(number, &recovered, &rows).is_none() => {
                                self.expected = expected
                            }
                            _ => return Err(format!("after a restart {difference}")),
                        }
                    }
                    self.uncertain = None;
                    self.store = Some(store);
                }
                Err(OpenError::Io { .. }) if self.disk.crashed() || self.disk_may_fail() => self.die(),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(false)
    }

    /// Whether a start may fail because of a fault.
    fn disk_may_fail(&self) -> bool {
        let Faults { sync_error, write_error, .. } = self.faults;
        sync_error + write_error > 0 || self.disk.has_limit()
    }

    fn batch(&mut self) -> Bets {
        let count = 1 + u32::try_from(self.random.below(self.most_bets)).unwrap();
        let first = self.next_document;
        self.next_document += count;
        batch(first, count)
    }

    /// What one turn stores.
    fn changes(&mut self) -> Vec<Change> {
        let mut after = self.expected.clone();
        let mut changes = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let agency = 1 + u32::try_from(self.random.below(u64::from(AGENCIES))).unwrap();
            let is_closed = |id| after.agencies.get(&id).is_some_and(|known| known.closed.is_some());
            let change = match self.random.below(100) {
                _ if after.drawn.is_some() => continue,
                _ if (1..=AGENCIES).all(is_closed) => Change::Draw(7574),
                _ if is_closed(agency) => continue,
                0..4 => Change::Finish(agency),
                4..5 => Change::Exclude(agency),
                _ => Change::Batch(agency, self.batch()),
            };
            after.apply(&change);
            changes.push(change);
        }
        changes
    }

    fn turn(&mut self) -> Outcome {
        if !self.opened()? {
            return Ok(());
        }
        let changes = self.changes();
        let full = self.commit(&changes)?;
        if !full {
            return Ok(());
        }
        if self.random.chance(300) {
            // A rejected turn must not come back.
            self.die();
            return Ok(());
        }
        // A full disk takes no bets, but finishes and the draw have reserved slots.
        let ends = |change: &&Change| !matches!(change, Change::Batch(..));
        let ends: Vec<_> = changes.iter().filter(ends).cloned().collect();
        if self.commit(&ends)? && self.faults.late_full == 0 {
            return Err("a full disk refused a finish, an exclusion or the draw".to_owned());
        }
        Ok(())
    }

    /// Commits `changes`; returns whether the disk was full.
    fn commit(&mut self, changes: &[Change]) -> Result<bool, String> {
        let mut after = self.expected.clone();
        let store = self.store.as_mut().unwrap();
        for change in changes {
            change.stage(&after, store);
            after.apply(change);
        }
        match store.commit() {
            Ok(_) => self.expected = after,
            Err(CommitError::Full(_)) => {
                let on_disk = self.disk.cache(File::Rows);
                return if on_disk == self.expected.rows {
                    Ok(true)
                } else {
                    Err("a rejected turn left rows".to_owned())
                };
            }
            Err(CommitError::Fatal(_)) => {
                if store.commit().is_ok() {
                    return Err("a store that failed went on".to_owned());
                }
                self.uncertain = Some(after);
                self.die();
            }
        }
        Ok(false)
    }

    fn seal(&mut self) -> Outcome {
        if self.opened()? && matches!(self.store.as_mut().unwrap().seal(), Err(CommitError::Fatal(_))) {
            self.die();
        }
        Ok(())
    }

    /// Checks that the store finds a stored batch again, and tells it from another one.
    fn compare(&mut self) -> Outcome {
        if !self.opened()? || self.expected.batches() == 0 {
            return Ok(());
        }
        let with_batches: Vec<_> =
            self.expected.agencies.iter().filter(|(_, known)| !known.batches.is_empty()).collect();
        let (id, known) = with_batches[self.random.index(with_batches.len())];
        let sequence = self.random.index(known.batches.len());
        let same = known.batches[sequence].clone();
        let other = Bets(same.0[..same.0.len() - 1].into());
        let store = self.store.as_mut().unwrap();
        for (bets, expected) in [(same, true), (other, false)] {
            match store.matches(AgencyId(*id), sequence as u64, &bets) {
                Ok(matches) if matches == expected => {}
                Ok(_) => return Err(format!("batch {sequence} of agency {id} was taken for another")),
                Err(_) if self.disk.crashed() => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.disk.crashed() {
            self.die();
        }
        Ok(())
    }

    /// A bit flips before a seal: the next start must report it, and modify nothing.
    fn damage(&mut self) -> Outcome {
        if !self.opened()? || self.expected.rows.is_empty() {
            return Ok(());
        }
        let store = self.store.as_mut().unwrap();
        if store.close().is_err() || !store.sealed() {
            self.die();
            return Ok(());
        }
        self.store = None;
        let rows = self.expected.rows.len();
        let bit = self.random.index(rows * 8);
        let fork = self.disk.fork();
        fork.tamper(File::Rows, |bytes| {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        });
        let before = [File::Rows, File::Journal].map(|file| fork.cache(file));
        match Store::open(fork.mount(), self.options.clone()) {
            Err(OpenError::Damaged { .. }) => {}
            other => return Err(format!("bit {bit} of the rows flipped: {:?}", other.map(|(_, recovered)| recovered))),
        }
        if before == [File::Rows, File::Journal].map(|file| fork.cache(file)) {
            return Ok(());
        }
        Err("a damaged store was modified".to_owned())
    }
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    match environment::number("STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..environment::number("STORE_SEEDS").unwrap_or(default),
    }
}

#[test]
fn what_is_acknowledged_is_there_after_every_restart_and_nothing_else() {
    let started = std::time::Instant::now();
    let seeds = seeds(2_000);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        run(seed, None).unwrap();
    }
    println!("{count} seeds in {:.1?}", started.elapsed());
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None));
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "mutants exist only in builds with debug assertions")]
fn every_mutant_is_caught() {
    let mut missed = Vec::new();
    for mutant in Mutant::OF_STORE {
        match (0..8_000).find_map(|seed| run(seed, Some(mutant)).err()) {
            Some(what) => println!("{mutant:?}: {what:.150}"),
            None => missed.push(mutant),
        }
    }
    assert_eq!(missed, [], "mutants that were not caught");
}
