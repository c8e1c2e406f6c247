//! The whole hub in a made-up world: sockets, disk, clock and agencies of every dialect, all from one seed.
//!
//! One run is: faults for a while, then none, and then every agency must have its winners. After every commit and
//! every restart the hub is compared with a small twin of it (`model`), and every answer with what may be answered.
//! A seed that fails says so; `make simulate SEED=…` replays it with everything that happened in it, and
//! `make soak` runs as many seeds as there is time for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test that panics has failed; a trace is printed; what is simulated is small"
)]

mod answers;
mod bets;
mod clients;
mod counters;
mod desk;
#[path = "../environment/mod.rs"]
mod environment;
#[path = "../core_kit/frames.rs"]
mod frames;
mod full_disk;
mod late;
mod lockstep;
mod model;
mod native;
mod net;
mod parked;
mod plan;
mod reactor;
mod real;
mod rng;
mod run;
#[path = "../storage_kit/mod.rs"]
mod storage_kit;
mod sweep;
mod trace;
mod turns;
mod untrusted;

use loteria::mutants::Mutant;

use run::{Defect, run};
use sweep::{attempt, sweep};

/// Seeds of the short run.
const SEEDS: u64 = 10_000;
/// Seeds that may pass before a mutant is caught.
const MUTANT_SEEDS: u64 = 100_000;
/// Seeds of `make soak`, where `SOAK_SEEDS` does not say otherwise.
const SOAK_SEEDS: u64 = 200_000;

#[test]
fn no_seed_breaks_a_promise() {
    sweep(environment::number("FIRST_SEED").unwrap_or(0), environment::number("SEEDS").unwrap_or(SEEDS), 1);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..100 {
        let [first, second] = [attempt(seed, Defect::None), attempt(seed, Defect::None)];
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "mutants exist only in builds with debug assertions")]
fn every_mutant_is_caught() {
    // A torn entry of the redo log that passes shows in a whole hub once in tens of thousands of runs; the store's own
    // simulation looks for that one (tests/store_simulation.rs).
    let stores = Mutant::OF_STORE.into_iter().filter(|mutant| *mutant != Mutant::SkipRedoChecksum);
    let mut missed = Vec::new();
    let loops = [Defect::CountPauses, Defect::JudgeAfterPoll];
    for defect in stores.chain(Mutant::OF_HUB).map(Defect::Mutant).chain(loops) {
        let caught = (0..MUTANT_SEEDS).find_map(|seed| attempt(seed, defect).err().map(|said| (seed, said)));
        match caught {
            Some((seed, said)) => println!("{defect:?}: seed {seed}: {said:.150}"),
            None => missed.push(defect),
        }
    }
    assert_eq!(missed, [], "mutants that no seed catches");
}

#[test]
#[ignore = "make simulate SEED=…"]
fn replay() {
    let seed = environment::number("SEED").expect("SEED says which");
    sweep::prepare();
    println!("{:?}", run(seed, Defect::None, true));
}

#[test]
#[ignore = "make soak"]
fn soak() {
    let seeds = environment::number("SOAK_SEEDS").unwrap_or(SOAK_SEEDS);
    // New seeds each time, unless somebody wants the same ones again.
    let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let first = environment::number("FIRST_SEED").unwrap_or(since_1970 * 1_000_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    sweep(first, seeds, environment::number("SOAK_THREADS").unwrap_or(threads));
}
