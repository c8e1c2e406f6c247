//! Many seeds, and what became of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Instant;

use crate::run::{Defect, Summary, run};
use crate::trace;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Failures that are told one by one.
const TOLD_MAX: usize = 10;

/// Keeps what a run says when it panics, and sends the hub's log to the trace.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if QUIET.get() {
                SAID.set(panic.to_string());
            } else {
                usual(panic);
            }
        }));
        log::set_logger(&trace::Logger).expect("nobody else logs here");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// Runs a seed; what was wrong, if anything was.
pub fn attempt(seed: u64, defect: Defect) -> Result<Summary, String> {
    prepare();
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, defect, false)));
    QUIET.set(false);
    trace::end();
    result.map_err(|_| SAID.take())
}

/// What some runs came to.
#[derive(Default)]
struct Tally {
    steps: usize,
    starts: usize,
    draws: usize,
    failures: BTreeMap<u64, String>,
}

impl Tally {
    fn of(seeds: impl Iterator<Item = u64>) -> Tally {
        let mut tally = Tally::default();
        for seed in seeds {
            match attempt(seed, Defect::None) {
                Ok(summary) => {
                    tally.steps += summary.steps;
                    tally.starts += summary.starts;
                    tally.draws += usize::from(summary.drawn);
                }
                Err(said) => {
                    println!("seed {seed} fails: make simulate SEED={seed}");
                    tally.failures.insert(seed, said);
                }
            }
        }
        tally
    }

    fn add(mut self, other: Tally) -> Tally {
        self.steps += other.steps;
        self.starts += other.starts;
        self.draws += other.draws;
        self.failures.extend(other.failures);
        self
    }
}

/// Runs `seeds` seeds from `first` on, on so many threads; panics where one fails.
pub fn sweep(first: u64, seeds: u64, threads: u64) {
    println!("{seeds} seeds from {first} on, on {threads} threads");
    let began = Instant::now();
    let part = |thread: u64| (first + thread..first + seeds).step_by(threads as usize);
    let tally = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || Tally::of(part(thread)))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a run's panic is caught"))
            .fold(Tally::default(), Tally::add)
    });
    let took = began.elapsed();
    let rate = seeds as f64 / took.as_secs_f64() * 60.0;
    let Tally { steps, starts, draws, failures } = tally;
    println!("{seeds} seeds in {took:.1?}: {rate:.0} a minute, {:.0} a minute and thread", rate / threads as f64);
    println!("{steps} steps, {starts} starts, {draws} draws, {} failures", failures.len());
    for (seed, said) in failures.iter().take(TOLD_MAX) {
        println!("seed {seed}: {said}");
    }
    let replay: Vec<String> = failures.keys().take(TOLD_MAX).map(|seed| format!("make simulate SEED={seed}")).collect();
    assert!(failures.is_empty(), "{} of {seeds} seeds fail; replay: {}", failures.len(), replay.join(", "));
}
