//! Several whole hubs over the simulated PostgreSQL: bytes on both sides. Agencies' connections lead to any hub, are cut and
//! moved; hubs die; leaders die, restart and pause, standbys stall, waits are cancelled, disks fill up. The oracle is that of
//! `hubs.rs`. `HUBS_LEDGER_SEEDS=100000 cargo test --profile soak --test hubs_ledger` runs more seeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use loteria::lottery::{AgencyId, Lottery, Roster};
use loteria::storage::{Ledger, LedgerOptions, Replicas};
use loteria::timers::Moment;

mod engine_model;
mod environment;
#[path = "ledger_simulation/faults.rs"]
mod faults;
mod hubs_kit;
#[path = "ledger_simulation/network.rs"]
mod network;

/// The model has it already.
mod storage_kit {
    pub mod random {
        pub use crate::engine_model::Random;
    }
}

use engine_model::{Cluster, Delays, Standing};
use faults::Trouble;
use hubs_kit::WINNING_NUMBER;
use hubs_kit::world::{Backend, World, run_seeds};
use network::SimNetwork;
use storage_kit::random::Random;

/// PostgreSQL and what goes wrong with it.
struct Engine {
    cluster: Rc<RefCell<Cluster>>,
    faults: Trouble,
    /// Whether anything breaks.
    breaks: bool,
    /// How often in a step.
    density: u64,
    trouble: u64,
    random: Random,
    instances: u8,
    networks: Vec<SimNetwork>,
}

impl Engine {
    fn new(random: &mut Random, _agencies: u32) -> Engine {
        let delays = Delays { flush: random.below(3000), replication: random.below(20_000) };
        let mut cluster = Cluster::new(random.next(), true, delays);
        cluster.set_eager(random.below(2) == 0);
        Engine {
            cluster: Rc::new(RefCell::new(cluster)),
            faults: Trouble::new(random.next()),
            breaks: random.below(4) > 0,
            density: 1 + random.below(6),
            trouble: random.below(6),
            random: Random::new(random.next()),
            instances: 0,
            networks: Vec::new(),
        }
    }
}

impl Backend for Engine {
    type Keeper = Ledger<SimNetwork>;

    fn start(&mut self, roster: &Roster) -> Ledger<SimNetwork> {
        self.instances += 1;
        let network = SimNetwork::new(Rc::clone(&self.cluster), self.random.next());
        self.networks.push(network.clone());
        let options = LedgerOptions {
            hosts: ["one", "two", "three"].map(str::to_owned).to_vec(),
            database: "loteria".to_owned(),
            user: "loteria".to_owned(),
            password: None,
            draw: 1,
            winning_number: WINNING_NUMBER,
            roster: roster.clone(),
            instance: [self.instances; 16],
            name: format!("hub {}", self.instances),
            replicas: Replicas::Required,
            in_flight: 1 + self.random.index(4),
            exclude_after: Some(Duration::from_secs(60)),
        };
        Ledger::new(options, network, self.now())
    }

    fn opened(&mut self, keeper: &mut Ledger<SimNetwork>, roster: &Roster) -> Option<Lottery> {
        let learned = keeper.opened()?.unwrap();
        let mut lottery = Lottery::new(roster.clone(), WINNING_NUMBER);
        for known in learned.agencies {
            lottery.learn(known.agency, known.standing, known.batches, known.bets).unwrap();
        }
        if let Some(winners) = learned.drawn {
            lottery.learn_draw(winners);
        }
        Some(lottery)
    }

    fn die(&mut self, keeper: &mut Ledger<SimNetwork>) {
        // What it had sent may still arrive.
        let network = keeper.network();
        network.abandon(self.random.below(2) == 0);
    }

    fn step(&mut self) {
        if self.breaks {
            for _ in 0..self.density {
                self.faults.maybe(&self.cluster, &mut BTreeMap::new());
            }
        }
        let mut cluster = self.cluster.borrow_mut();
        let next = cluster.now() + 1 + self.random.below(20_000);
        let next = cluster.next_event().filter(|at| *at > cluster.now()).unwrap_or(next).min(next);
        cluster.advance(next);
    }

    fn heal(&mut self) {
        self.breaks = false;
        self.faults.heal(&self.cluster);
    }

    fn now(&self) -> Moment {
        Moment::after_origin(Duration::from_micros(self.cluster.borrow().now()))
    }

    fn trouble(&self) -> u64 {
        self.trouble
    }

    fn fills(&self) -> bool {
        true
    }

    fn stored(&self, agency: AgencyId) -> Vec<Vec<u8>> {
        let cluster = self.cluster.borrow();
        let agency = i32::try_from(agency.0).unwrap();
        let batches = cluster.visible().batches.iter().filter(|((_, of, _), _)| *of == agency);
        batches.map(|(_, batch)| batch.rows.to_vec()).collect()
    }

    fn has_finished(&self, agency: AgencyId) -> bool {
        let agency = i32::try_from(agency.0).unwrap();
        self.cluster.borrow().visible().agencies[&(1, agency)].standing == Standing::Finished
    }

    fn is_excluded(&self, agency: AgencyId) -> bool {
        let agency = i32::try_from(agency.0).unwrap();
        self.cluster.borrow().visible().agencies[&(1, agency)].standing == Standing::Excluded
    }

    fn draws(&self) -> usize {
        self.cluster.borrow().draws_made().len()
    }

    fn check_end(&self) {
        let cluster = self.cluster.borrow();
        let draw = &cluster.visible().draws[&1];
        let takes_part = |agency| cluster.visible().agencies[&(1, agency)].standing == Standing::Finished;
        let stored = cluster.visible().batches.iter().filter(|((_, agency, _), _)| takes_part(*agency));
        let stored = stored.map(|(_, batch)| i64::from(batch.bets)).sum();
        assert_eq!(draw.bets, Some(stored), "the bets of the draw");
        assert_eq!(draw.held, None, "no alarm");
    }
}

#[test]
fn several_hubs_over_a_failing_postgresql_lose_nothing_and_draw_once() {
    run_seeds("HUBS_LEDGER", 100, |seed| World::new(seed, Engine::new).run());
}

#[test]
fn clients_that_speak_for_one_agency_are_told_the_truth() {
    run_seeds("HUBS_LEDGER_RIVALS", 50, |seed| World::new(seed, Engine::new).run_with_rivals());
}

#[test]
fn an_agency_that_leaves_for_good_is_excluded_and_no_other() {
    run_seeds("HUBS_LOSS", 20, |seed| World::new(seed, Engine::new).run_with_a_loss());
}

#[test]
#[cfg(debug_assertions)]
fn every_mutant_is_caught() {
    use loteria::mutants::Mutant;
    let mutants = [Mutant::DrawEarly, Mutant::ReadWithoutCommit];
    hubs_kit::mutants::catch_all(&mutants, 3_000, |seed| World::new(seed, Engine::new).run());
}
