//! What several simulated hubs share: the draw's rows, and a keeper of them for each hub. It settles late, takes turns back
//! that did not expect what others have stored, and may die with turns in doubt.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use loteria::lottery::{AgencyId, BatchError, Bet, BetError, BetSource, Lottery, Roster, Standing};
use loteria::mutants::{self, Mutant};
use loteria::storage::{
    CommitError, Compared, Keep, Known, Learned, Load, Match, MatchError, MemoryDisk, Options, Place, Rows, Settled,
    StagedBatch, Store, TurnNumber,
};
use loteria::timers::Moment;

use crate::hubs_kit::WINNING_NUMBER;
use crate::hubs_kit::world::Backend;
use crate::storage_kit::random::Random;

/// A stored batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub bets: Vec<Bet>,
    pub rows: Vec<u8>,
}

/// One agency's rows.
#[derive(Clone, Debug, Default)]
pub struct Agency {
    pub batches: Vec<Batch>,
    pub finished: bool,
    pub excluded: bool,
}

/// The truth.
#[derive(Debug)]
pub struct Central {
    pub agencies: BTreeMap<AgencyId, Agency>,
    pub drawn: bool,
    /// How many times in a hundred something goes wrong.
    pub trouble: u64,
    /// Whether space runs out, too.
    pub fills: bool,
}

impl Central {
    pub fn new(agencies: u32, trouble: u64, fills: bool) -> Central {
        let agencies = (1..=agencies).map(|agency| (AgencyId(agency), Agency::default())).collect();
        Central { agencies, drawn: false, trouble, fills }
    }

    pub fn known(&self, agency: AgencyId) -> Option<Known> {
        let row = self.agencies.get(&agency)?;
        let bets = row.batches.iter().map(|batch| batch.bets.len() as u64).sum();
        let standing = match row {
            Agency { excluded: true, .. } => Standing::Excluded,
            Agency { finished: true, .. } => Standing::Finished,
            Agency { .. } => Standing::Betting,
        };
        Some(Known { agency, standing, batches: row.batches.len() as u64, bets })
    }

    fn draw_if_due(&mut self) {
        self.drawn |= self.agencies.values().all(|agency| agency.finished);
    }

    fn winners(&self) -> Vec<(AgencyId, Vec<Bet>)> {
        let won = |row: &Agency| {
            let bets = row.batches.iter().flat_map(|batch| &batch.bets);
            bets.filter(|bet| bet.number() == WINNING_NUMBER).cloned().collect()
        };
        self.agencies.iter().map(|(agency, row)| (*agency, won(row))).collect()
    }
}

/// The truth of one run.
pub struct Truth {
    central: Rc<RefCell<Central>>,
    random: Random,
    now: Moment,
}

impl Truth {
    pub fn new(random: &mut Random, agencies: u32) -> Truth {
        let central = Central::new(agencies, random.below(6), random.below(2) == 0);
        let now = Moment::after_origin(Duration::from_secs(1));
        Truth { central: Rc::new(RefCell::new(central)), random: Random::new(random.next()), now }
    }
}

impl Backend for Truth {
    type Keeper = Shared;

    fn start(&mut self, _roster: &Roster) -> Shared {
        Shared::new(Rc::clone(&self.central), Random::new(self.random.next()))
    }

    fn opened(&mut self, _keeper: &mut Shared, roster: &Roster) -> Option<Lottery> {
        let mut lottery = Lottery::new(roster.clone(), WINNING_NUMBER);
        let central = self.central.borrow();
        for known in central.agencies.keys().filter_map(|agency| central.known(*agency)) {
            lottery.learn(known.agency, known.standing, known.batches, known.bets).unwrap();
        }
        Some(lottery)
    }

    fn die(&mut self, keeper: &mut Shared) {
        keeper.die();
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_micros(500);
    }

    fn heal(&mut self) {
        self.central.borrow_mut().trouble = 0;
    }

    fn now(&self) -> Moment {
        self.now
    }

    fn trouble(&self) -> u64 {
        self.central.borrow().trouble
    }

    fn fills(&self) -> bool {
        self.central.borrow().fills
    }

    fn stored(&self, agency: AgencyId) -> Vec<Vec<u8>> {
        self.central.borrow().agencies[&agency].batches.iter().map(|batch| batch.rows.clone()).collect()
    }

    fn has_finished(&self, agency: AgencyId) -> bool {
        self.central.borrow().agencies[&agency].finished
    }

    fn draws(&self) -> usize {
        usize::from(self.central.borrow().drawn)
    }
}

/// What a turn does.
#[derive(Debug, Default)]
struct Turn {
    batches: Vec<(AgencyId, Place, Batch)>,
    finishes: Vec<AgencyId>,
    looks: Vec<AgencyId>,
    asks: Vec<(AgencyId, u64, Vec<u8>)>,
}

impl Turn {
    fn agencies(&self) -> impl Iterator<Item = AgencyId> {
        let batches = self.batches.iter().map(|(agency, ..)| *agency);
        batches.chain(self.finishes.iter().copied()).chain(self.looks.iter().copied())
    }

    /// Carries it out, whole or not at all.
    fn apply(&self, central: &mut Central) -> bool {
        let mut agencies = central.agencies.clone();
        for (agency, place, batch) in &self.batches {
            let row = agencies.get_mut(agency).unwrap();
            if row.finished || matches!(place, Place::Numbered(number) if *number != row.batches.len() as u64) {
                return false;
            }
            row.batches.push(batch.clone());
        }
        for agency in &self.finishes {
            if std::mem::replace(&mut agencies.get_mut(agency).unwrap().finished, true) {
                return false;
            }
        }
        central.agencies = agencies;
        true
    }

    /// What is stored under the numbers that it asks about.
    fn compared(&self, central: &Central) -> impl Iterator<Item = Compared> {
        let stored = |agency, number: u64| {
            central.agencies.get(&agency).and_then(|row| row.batches.get(usize::try_from(number).unwrap()))
        };
        self.asks.iter().filter_map(move |(agency, number, rows)| {
            let same = stored(*agency, *number)?.rows == *rows;
            Some(Compared { agency: *agency, sequence: *number, same })
        })
    }
}

/// One hub's keeper.
#[derive(Debug)]
pub struct Shared {
    central: Rc<RefCell<Central>>,
    random: Random,
    hand: Turn,
    in_flight: VecDeque<(TurnNumber, Turn)>,
    settled: VecDeque<Settled>,
    looking: bool,
    taken_back: VecDeque<(AgencyId, Batch)>,
    told_drawn: bool,
    /// The agencies that are at its hub, as it was last told.
    pub leased: Vec<AgencyId>,
    /// Makes proofs: only a store can.
    proofs: Store<MemoryDisk>,
}

impl Shared {
    pub fn new(central: Rc<RefCell<Central>>, random: Random) -> Shared {
        let (proofs, _) = Store::open(MemoryDisk::default(), Options::default()).unwrap();
        Shared {
            central,
            random,
            hand: Turn::default(),
            in_flight: VecDeque::new(),
            settled: VecDeque::new(),
            looking: false,
            taken_back: VecDeque::new(),
            told_drawn: false,
            leased: Vec::new(),
            proofs,
        }
    }

    /// The hub is gone: of its turns in flight the first ones happen, or none.
    pub fn die(&mut self) {
        let happen = self.random.index(self.in_flight.len() + 1);
        let central = &mut *self.central.borrow_mut();
        let _settled: Vec<bool> = self
            .in_flight
            .drain(..)
            .take(happen)
            .map(|(_, turn)| turn.apply(central))
            .take_while(|done| *done)
            .collect();
        central.draw_if_due();
    }

    fn encode(agency: AgencyId, bets: &impl BetSource) -> Result<(Batch, StagedBatch), BatchError> {
        let mut rows = Rows::default();
        let appended = rows.append(agency, WINNING_NUMBER, bets)?;
        let mut checked: Vec<Result<Bet, BetError>> = Vec::new();
        bets.feed(&mut checked)?;
        let batch = Batch { bets: checked.into_iter().map(Result::unwrap).collect(), rows: rows.bytes().to_vec() };
        Ok((batch, StagedBatch { bets: appended.bets, winners: appended.winners, checksum: 0 }))
    }

    /// One turn becomes what it becomes.
    fn settle_one(&mut self) {
        let central = &mut *self.central.borrow_mut();
        if self.looking {
            self.looking = false;
            let turns = self.in_flight.drain(..).map(|(number, turn)| (Some(number), turn));
            let turns: Vec<_> = turns.chain([(None, std::mem::take(&mut self.hand))]).collect();
            let mut learned = Learned::default();
            for (_, turn) in &turns {
                learned.agencies.extend(turn.agencies().filter_map(|agency| central.known(agency)));
                learned.compared.extend(turn.compared(central));
                let own = turn.batches.iter().filter_map(|(agency, place, batch)| match place {
                    Place::Numbered(number) => Some((*agency, *number, batch.rows.clone())),
                    Place::Next(_) => None,
                });
                let asks = Turn { asks: own.collect(), ..Turn::default() };
                learned.compared.extend(asks.compared(central));
            }
            let oldest = turns[0].0.unwrap();
            let batches = turns.into_iter().flat_map(|(_, turn)| turn.batches);
            self.taken_back = batches.map(|(agency, _, batch)| (agency, batch)).collect();
            self.settled.push_back(Settled::Moved { turn: oldest, learned: Box::new(learned) });
            return;
        }
        if !self.told_drawn && central.drawn && self.in_flight.is_empty() {
            self.told_drawn = true;
            let agencies = central.agencies.keys().filter_map(|agency| central.known(*agency)).collect();
            let learned = Learned { agencies, drawn: Some(central.winners()), ..Learned::default() };
            self.settled.push_back(Settled::Learned(Box::new(learned)));
            return;
        }
        let Some((number, turn)) = self.in_flight.front() else { return };
        if central.fills && !turn.batches.is_empty() && self.random.below(300) < central.trouble {
            let error = io::Error::from(io::ErrorKind::StorageFull);
            self.settled.push_back(Settled::TakenBack { turn: *number, error });
            // What was looked at is still looked at, as by the ledger.
            let turns = self.in_flight.drain(..).map(|(_, turn)| turn).chain([std::mem::take(&mut self.hand)]);
            self.hand.looks = turns.flat_map(|turn| turn.looks).collect();
            return;
        }
        if !turn.apply(central) {
            self.looking = true;
            return;
        }
        central.draw_if_due();
        self.proofs.submit(*number);
        self.settled.extend(self.proofs.settled());
        let agencies = turn.agencies().filter_map(|agency| central.known(agency)).collect();
        let learned = Learned { agencies, compared: turn.compared(central).collect(), drawn: None };
        self.settled.push_back(Settled::Learned(Box::new(learned)));
        self.in_flight.pop_front();
    }
}

impl Keep for Shared {
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        place: Place,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        assert!(!self.looking, "nothing is staged while the keeper looks");
        let (batch, staged) = Shared::encode(agency, bets)?;
        if staged.bets > 0 {
            self.hand.batches.push((agency, place, batch));
        }
        Ok(staged)
    }

    fn stage_finish(&mut self, agency: AgencyId) {
        assert!(!self.looking, "nothing is staged while the keeper looks");
        self.hand.finishes.push(agency);
    }

    fn stage_exclusion(&mut self, _agency: AgencyId) {}

    fn stage_draw(&mut self, _winning_number: u32) {
        panic!("the hubs together make the draw");
    }

    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError> {
        let (batch, _) = Shared::encode(agency, bets)?;
        let turns = self.in_flight.iter().map(|(_, turn)| turn).chain([&self.hand]);
        let own = turns.flat_map(|turn| &turn.batches).find(|(own, place, _)| {
            // A batch without a number may be stored under another one than expected.
            *own == agency && *place == Place::Numbered(sequence)
        });
        if let Some((.., own)) = own {
            return Ok(if own.rows == batch.rows { Match::Same } else { Match::Other });
        }
        self.hand.asks.push((agency, sequence, batch.rows));
        Ok(Match::Asked)
    }

    fn submit(&mut self, turn: TurnNumber) {
        assert!(self.taken_back.is_empty(), "each batch that was taken back is staged again, or dropped");
        self.in_flight.push_back((turn, std::mem::take(&mut self.hand)));
    }

    fn settled(&mut self) -> Option<Settled> {
        if self.settled.is_empty() && self.random.below(3) == 0 {
            self.settle_one();
        }
        self.settled.pop_front()
    }

    fn has_room(&self) -> bool {
        !self.looking && self.in_flight.len() < 4
    }

    fn load(&self) -> Load {
        Load { staged_bytes: self.hand.batches.iter().map(|(.., batch)| batch.rows.len()).sum(), read_bytes: 0 }
    }

    fn waits(&self) -> bool {
        true
    }

    fn group(&self) -> u64 {
        0
    }

    fn look(&mut self, agency: AgencyId) -> bool {
        self.hand.looks.push(agency);
        !mutants::is(Mutant::HelloFromCache)
    }

    fn stage_again(&mut self, place: Option<Place>) -> Option<StagedBatch> {
        let (agency, batch) = self.taken_back.pop_front()?;
        let winners = batch.bets.iter().filter(|bet| bet.number() == WINNING_NUMBER).cloned().collect();
        let bets = u32::try_from(batch.bets.len()).unwrap();
        self.hand.batches.push((agency, place?, batch));
        Some(StagedBatch { bets, winners, checksum: 0 })
    }

    fn draws_here(&self) -> bool {
        false
    }

    fn is_looking(&self) -> bool {
        self.looking
    }

    fn wants_leases(&self, _now: Moment) -> bool {
        true
    }

    fn lease(&mut self, here: Vec<AgencyId>) {
        self.leased = here;
    }

    fn close(&mut self) -> Result<(), CommitError> {
        Ok(())
    }
}
