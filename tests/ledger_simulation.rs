//! Two ledgers on a simulated PostgreSQL with faults from a seed.
//!
//! Both take batches of the same agencies, as two hubs behind a balancer do, while leaders die, restart and pause, connections
//! end, standbys stall, waits are cancelled and disks fill up. Every batch of which a ledger has said that it is committed must
//! be stored once, with its bytes, in its place; one that was taken back for good must not be stored; there is one draw.
//! `LEDGER_SEEDS=100000 cargo test --profile soak --test ledger_simulation` runs more seeds, `LEDGER_SEED=42` one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // As helpers of tests may.

#[path = "storage_kit/bets.rs"]
mod bets;
mod engine_model;
mod environment;
#[path = "ledger_simulation/faults.rs"]
mod faults;
#[path = "ledger_simulation/forgetful.rs"]
mod forgetful;
#[path = "ledger_simulation/hub.rs"]
mod hub;
#[path = "ledger_simulation/leases.rs"]
mod leases;
#[cfg(debug_assertions)]
#[path = "hubs_kit/mutants.rs"]
mod mutants;
#[path = "ledger_simulation/network.rs"]
mod network;
#[path = "ledger_simulation/silence.rs"]
mod silence;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_model::{Cluster, Delays, Random};
use faults::Trouble;
use hub::{Hub, NUMBERED, content_of, last_batch};

const SEEDS: u64 = 150;
/// Microseconds of the model's time.
const WITH_FAULTS: u64 = 30_000_000;
const AT_MOST: u64 = 600_000_000;

/// What agencies were told, and which contents they will never hand in again.
#[derive(Debug, Default)]
pub struct Told {
    /// Agency and content.
    pub stored: BTreeSet<(u32, u32)>,
    /// Taken back, and not handed in again.
    pub rejected: BTreeSet<(u32, u32)>,
    /// Of those without numbers.
    pub next_content: u32,
}

/// A cluster whose flushes and replication take any time.
fn cluster(random: &mut Random) -> Rc<RefCell<Cluster>> {
    let delays = Delays { flush: random.below(3000), replication: random.below(20_000) };
    Rc::new(RefCell::new(Cluster::new(random.next(), true, delays)))
}

/// Lets time pass until something happens by itself: one of `wakes`, or in the cluster. `most` microseconds at most.
fn pass(cluster: &Rc<RefCell<Cluster>>, wakes: impl Iterator<Item = u64>, most: u64) {
    let mut cluster = cluster.borrow_mut();
    let now = cluster.now();
    let next = wakes.chain(cluster.next_event()).filter(|at| *at > now).min().unwrap_or(u64::MAX);
    cluster.advance(next.min(now + 1 + most));
}

fn run(seed: u64, counts: &mut BTreeMap<&'static str, u32>) {
    let mut random = Random::new(seed);
    let cluster = cluster(&mut random);
    let eager = random.chance(500);
    cluster.borrow_mut().set_eager(eager);
    cluster.borrow_mut().set_asks_for_vacuum(seed.is_multiple_of(8));
    let mut hubs = [1, 2].map(|number| Hub::new(number, Rc::clone(&cluster), random.next()));
    let (mut told, mut trouble) = (Told::default(), Trouble::new(random.next()));
    // Then the other one may have batches that come too late.
    let (finishes_early, mut finishes) = (random.chance(300), false);
    loop {
        let now = cluster.borrow().now();
        assert!(now < AT_MOST, "it never ends: {hubs:?}");
        if now < WITH_FAULTS {
            trouble.maybe(&cluster, counts);
        } else {
            trouble.heal(&cluster);
        }
        for hub in &mut hubs {
            hub.step(&mut told, &mut random, counts);
        }
        let may_finish = finishes_early || now >= WITH_FAULTS && hubs[1].is_done();
        if !finishes && may_finish && hubs[0].is_done() {
            finishes = true;
            hubs[0].finish_all();
        }
        if hubs.iter().all(Hub::knows_draw) {
            break;
        }
        pass(&cluster, hubs.iter().filter_map(Hub::wake), random.below(20_000));
    }
    check(&cluster.borrow(), &told, &hubs);
}

/// The oracle.
fn check(cluster: &Cluster, told: &Told, hubs: &[Hub]) {
    let mut found: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for ((_, agency, number), batch) in &cluster.visible().batches {
        let agency = agency.cast_unsigned();
        let content = content_of(&batch.rows);
        assert_eq!(*batch.rows, *bets::rows_of(agency, &bets::batch(content, 3)), "its bytes");
        if NUMBERED.contains(&agency) {
            assert_eq!(content, hub::numbered_content(agency, u64::try_from(*number).unwrap()), "its place");
        }
        *found.entry((agency, content)).or_default() += 1;
    }
    assert!(found.values().all(|times| *times == 1), "stored twice: {found:?}");
    for told in &told.stored {
        assert!(found.contains_key(told), "told that it is stored, and lost: {told:?}");
    }
    for told in &told.rejected {
        assert!(!found.contains_key(told), "rejected, and stored: {told:?}");
    }
    assert_eq!(cluster.draws_made().len(), 1, "one draw");
    let stored = i64::try_from(3 * found.len()).unwrap();
    assert_eq!(cluster.visible().draws[&1].bets, Some(stored));
    let winners: usize = found.keys().map(|(_, first)| bets::batch(*first, 3)).map(|batch| hub::winners(&batch)).sum();
    for hub in hubs {
        assert_eq!(hub.drawn(), Some(winners), "the same winners at all");
    }
    assert!(cluster.visible().draws[&1].held.is_none(), "no alarm");
    for agency in NUMBERED {
        assert!(found.keys().filter(|(of, _)| *of == agency).count() as u64 == last_batch(), "all of agency {agency}");
    }
}

#[test]
fn what_is_told_is_stored_once_whatever_fails() {
    let first = environment::number("LEDGER_FIRST_SEED").unwrap_or(0);
    let seeds = match environment::number("LEDGER_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + environment::number("LEDGER_SEEDS").unwrap_or(SEEDS),
    };
    let mut counts = BTreeMap::new();
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed, &mut counts)));
        assert!(outcome.is_ok(), "LEDGER_SEED={seed}");
    }
    println!("{counts:?}");
    for what in ["committed", "moved", "no space", "failover", "restart", "pause", "cut", "late bytes", "cancelled"] {
        assert!(seeds.end - seeds.start < SEEDS || counts.contains_key(what), "never happened: {what}");
    }
}

#[test]
fn a_failover_that_forgets_is_noticed_and_holds_the_draw() {
    let forgot = (0..40).filter(|seed| forgetful::run(*seed)).count();
    assert!((1..40).contains(&forgot), "{forgot} of 40 forgot something");
}

#[test]
fn a_hub_leaves_a_leader_that_is_silent_for_the_one_that_has_replaced_it() {
    (0..100).for_each(silence::run);
}

#[test]
fn an_agency_is_excluded_that_is_at_no_hub_and_no_other_however_long_the_engine_was_away() {
    (0..200).for_each(leases::run);
}

#[test]
#[cfg(debug_assertions)]
fn every_mutant_is_caught() {
    use loteria::mutants::Mutant;
    let run = |seed| {
        run(seed, &mut BTreeMap::new());
        forgetful::run(seed);
        leases::run(seed);
    };
    // These two need hellos, which `hubs_ledger` has.
    let greets =
        |mutant: &Mutant| matches!(mutant, Mutant::ReadWithoutCommit | Mutant::HelloFromCache | Mutant::DrawEarly);
    let mutants: Vec<Mutant> = Mutant::OF_LEDGER.into_iter().filter(|mutant| !greets(mutant)).collect();
    mutants::catch_all(&mutants, 300, run);
}
