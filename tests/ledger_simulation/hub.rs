//! What stands for a hub: it stages batches of agencies, and takes note of what becomes of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use loteria::lottery::{AgencyId, Roster, Standing};
use loteria::storage::{Keep, Known, Learned, Ledger, LedgerOptions, Place, Replicas, Settled, TurnNumber};
use loteria::timers::Moment;

use crate::Told;
use crate::bets::{self, Bets};
use crate::engine_model::{Cluster, Random};
use crate::network::SimNetwork;

/// Agencies whose clients number their batches. They hand the same ones in at both hubs, as after a reconnection.
pub const NUMBERED: [u32; 2] = [1, 2];
/// One whose clients do not: each hub has others of its batches.
const UNNUMBERED: u32 = 3;
const BATCHES: u64 = 40;
/// How long an agency is at no hub before it is excluded.
pub const EXCLUDE_AFTER: Duration = Duration::from_secs(60);

/// How many batches a numbered agency has.
pub fn last_batch() -> u64 {
    BATCHES
}

/// The first document of a numbered batch, which is its content.
pub fn numbered_content(agency: u32, number: u64) -> u32 {
    agency * 1_000_000 + u32::try_from(number).unwrap() * 10
}

/// The content that rows have.
pub fn content_of(rows: &[u8]) -> u32 {
    String::from_utf8_lossy(rows).split(',').nth(3).unwrap().parse().unwrap()
}

/// How many of a batch have won.
pub fn winners(batch: &Bets) -> usize {
    batch.0.iter().filter(|bet| bet.as_raw().number == Some(7574)).count()
}

#[derive(Clone, Copy, Debug)]
struct Item {
    agency: u32,
    place: Place,
    content: u32,
}

#[derive(Debug)]
pub struct Hub {
    ledger: Ledger<SimNetwork>,
    network: SimNetwork,
    is_open: bool,
    next_turn: u64,
    in_flight: VecDeque<(u64, Vec<Item>)>,
    /// The next number of each numbered agency, as far as this hub knows.
    next: BTreeMap<u32, u64>,
    unnumbered_left: u64,
    drawn: Option<usize>,
    /// The agencies that have a connection here.
    pub here: Vec<AgencyId>,
    excluded: BTreeSet<AgencyId>,
}

impl Hub {
    pub fn new(number: u8, cluster: Rc<RefCell<Cluster>>, seed: u64) -> Hub {
        let network = SimNetwork::new(cluster, seed);
        let options = LedgerOptions {
            hosts: ["one", "two", "three"].map(str::to_owned).to_vec(),
            database: "loteria".to_owned(),
            user: "loteria".to_owned(),
            password: None,
            draw: 1,
            winning_number: 7574,
            roster: Roster::parse("1-3").unwrap(),
            instance: [number; 16],
            name: format!("hub {number}"),
            replicas: Replicas::Required,
            in_flight: 4,
            exclude_after: Some(EXCLUDE_AFTER),
        };
        let ledger = Ledger::new(options, network.clone(), Moment::after_origin(Duration::ZERO));
        let next = NUMBERED.iter().map(|agency| (*agency, 0)).collect();
        Hub {
            ledger,
            network,
            is_open: false,
            next_turn: 1,
            in_flight: VecDeque::new(),
            next,
            unnumbered_left: BATCHES,
            drawn: None,
            here: [1, 2, UNNUMBERED].map(AgencyId).to_vec(),
            excluded: BTreeSet::new(),
        }
    }

    fn now(&self) -> Moment {
        Moment::after_origin(Duration::from_micros(self.network.cluster.borrow().now()))
    }

    /// When it has something to do by itself, in microseconds.
    pub fn wake(&self) -> Option<u64> {
        let wake = self.ledger.next_wake()?;
        Some(u64::try_from(Moment::after_origin(Duration::ZERO).until(wake).as_micros()).unwrap())
    }

    /// Whether all of its batches are stored.
    pub fn is_done(&self) -> bool {
        self.in_flight.is_empty() && self.unnumbered_left == 0 && self.next.values().all(|next| *next == BATCHES)
    }

    pub fn knows_draw(&self) -> bool {
        self.drawn.is_some()
    }

    pub fn drawn(&self) -> Option<usize> {
        self.drawn
    }

    /// Whether it has learned that an agency is excluded.
    pub fn knows_excluded(&self, agency: u32) -> bool {
        self.excluded.contains(&AgencyId(agency))
    }

    /// Whether it may stage something.
    pub fn can_stage(&self) -> bool {
        self.is_open && self.ledger.has_room() && !self.ledger.is_looking()
    }

    pub fn step(&mut self, told: &mut Told, random: &mut Random, counts: &mut BTreeMap<&'static str, u32>) {
        self.watch(told, counts);
        if self.can_stage() && random.chance(400) {
            self.stage(told, random);
        }
    }

    /// Takes note of what the ledger says.
    pub fn watch(&mut self, told: &mut Told, counts: &mut BTreeMap<&'static str, u32>) {
        if self.ledger.wants_leases(self.now()) {
            self.ledger.lease(self.here.clone());
        }
        self.ledger.go_on(self.now());
        if !self.is_open {
            let Some(opened) = self.ledger.opened() else { return };
            self.learn(&opened.expect("nothing for a person to mend"));
            self.is_open = true;
        }
        while let Some(settled) = self.ledger.settled() {
            self.note(settled, told, counts);
        }
    }

    /// The first batch of these agencies.
    pub fn stage_first_of(&mut self, agencies: [u32; 2]) {
        let items = agencies.map(|agency| {
            let (place, content) = (Place::Numbered(0), numbered_content(agency, 0));
            self.ledger.stage_batch(AgencyId(agency), place, &bets::batch(content, 3)).unwrap();
            Item { agency, place, content }
        });
        self.submit(items.to_vec());
    }

    fn stage(&mut self, told: &mut Told, random: &mut Random) {
        let mut items = Vec::new();
        for _ in 0..=random.below(3) {
            let agency = [1, 2, UNNUMBERED][random.index(3)];
            let (place, content) = if agency == UNNUMBERED && self.unnumbered_left > 0 {
                self.unnumbered_left -= 1;
                told.next_content += 10;
                (Place::Next(0), UNNUMBERED * 1_000_000 + told.next_content)
            } else if let Some(next) = self.next.get_mut(&agency).filter(|next| **next < BATCHES) {
                *next += 1;
                (Place::Numbered(*next - 1), numbered_content(agency, *next - 1))
            } else {
                continue;
            };
            self.ledger.stage_batch(AgencyId(agency), place, &bets::batch(content, 3)).unwrap();
            items.push(Item { agency, place, content });
        }
        if !items.is_empty() {
            self.submit(items);
        }
    }

    fn submit(&mut self, items: Vec<Item>) {
        self.ledger.submit(TurnNumber(self.next_turn));
        self.in_flight.push_back((self.next_turn, items));
        self.next_turn += 1;
    }

    /// All agencies finish.
    pub fn finish_all(&mut self) {
        self.finish(&[1, 2, UNNUMBERED]);
    }

    pub fn finish(&mut self, agencies: &[u32]) {
        agencies.iter().for_each(|agency| self.ledger.stage_finish(AgencyId(*agency)));
        self.submit(Vec::new());
    }

    fn learn(&mut self, learned: &Learned) {
        let excluded = learned.agencies.iter().filter(|known| known.standing == Standing::Excluded);
        self.excluded.extend(excluded.map(|known| known.agency));
        if let Some(drawn) = &learned.drawn {
            assert!(self.drawn.is_none(), "told once");
            self.drawn = Some(drawn.iter().map(|(_, bets)| bets.len()).sum());
        }
    }

    fn note(&mut self, settled: Settled, told: &mut Told, counts: &mut BTreeMap<&'static str, u32>) {
        let mut count = |what| *counts.entry(what).or_default() += 1;
        match settled {
            Settled::Committed(proof) => {
                while let Some((_, items)) = self.in_flight.pop_front_if(|(turn, _)| *turn <= proof.through().0) {
                    count("committed");
                    told.stored.extend(items.iter().map(|item| (item.agency, item.content)));
                }
            }
            Settled::Learned(learned) => self.learn(&learned),
            Settled::Moved { turn, learned } => {
                count("moved");
                self.learn(&learned);
                self.moved(turn.0, &learned, told);
            }
            Settled::TakenBack { turn, .. } => {
                count("no space");
                let items = self.drain(turn.0);
                for item in items {
                    match item.place {
                        Place::Numbered(number) => {
                            let next = self.next.get_mut(&item.agency).unwrap();
                            *next = number.min(*next);
                        }
                        Place::Next(_) => drop(told.rejected.insert((item.agency, item.content))),
                    }
                }
            }
            Settled::Failed(error) => panic!("{error}"),
        }
    }

    /// Takes back all that is in flight, which begins with this turn.
    fn drain(&mut self, turn: u64) -> Vec<Item> {
        assert_eq!(self.in_flight.front().map(|(first, _)| *first), Some(turn), "the oldest in flight");
        self.next_turn = turn;
        self.in_flight.drain(..).flat_map(|(_, items)| items).collect()
    }

    fn moved(&mut self, turn: u64, learned: &Learned, told: &mut Told) {
        let mut next: BTreeMap<u32, u64> =
            learned.agencies.iter().map(|known| (known.agency.0, known.batches)).collect();
        let mut kept = Vec::new();
        for item in self.drain(turn) {
            let expected = *next.get(&item.agency).expect("every agency of these turns is told");
            let is_betting = |known: &Known| known.agency.0 == item.agency && known.standing == Standing::Betting;
            let keeps = match item.place {
                Place::Next(_) if !learned.agencies.iter().any(is_betting) => {
                    told.rejected.insert((item.agency, item.content));
                    self.unnumbered_left = 0;
                    false
                }
                Place::Next(_) => true,
                Place::Numbered(number) => {
                    let is_it = |c: &&loteria::storage::Compared| (c.agency.0, c.sequence) == (item.agency, number);
                    let compared = learned.compared.iter().find(is_it);
                    let known = learned.agencies.iter().find(|known| known.agency.0 == item.agency).unwrap();
                    if number < known.batches {
                        assert!(compared.expect("every numbered batch is told").same, "both hubs have the same bets");
                        told.stored.insert((item.agency, item.content));
                    }
                    number == expected
                }
            };
            let place = match item.place {
                Place::Next(_) => Place::Next(expected),
                Place::Numbered(_) => Place::Numbered(expected),
            };
            let staged = self.ledger.stage_again(keeps.then_some(place));
            assert_eq!(staged.is_some(), keeps);
            if keeps {
                *next.get_mut(&item.agency).unwrap() += 1;
                kept.push(Item { place, ..item });
            }
        }
        for (agency, next) in next {
            self.next.entry(agency).and_modify(|mine| *mine = next);
        }
        if !kept.is_empty() {
            self.submit(kept);
        }
    }
}
