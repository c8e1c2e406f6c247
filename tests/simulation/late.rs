//! A keeper that settles turns later than it is asked to, and takes some back: as one does whose disk is another machine's.
//!
//! Turns in flight are kept here, and reach the store when the hub is told what became of them. What is told is stored, and
//! nothing else is, so that the model can go by the rows.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use loteria::lottery::{AgencyId, BatchError, Bet, BetError, BetSink, BetSource};
use loteria::storage::{
    CommitError, Keep, Load, Match, MatchError, Place, Rows, Settled, StagedBatch, Store, TurnNumber,
};

use crate::rng::Rng;
use crate::storage_kit::disk::Mounted;

/// How late a keeper is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Turns in flight, at most; 0: each is settled when it is submitted.
    pub in_flight: usize,
    /// How often nothing is told, in percent.
    pub silent: u32,
    /// How often a turn with batches is taken back, in percent.
    pub taken_back: u32,
}

/// A store that answers late.
#[derive(Debug)]
pub struct Late {
    store: Store<Mounted>,
    lateness: Rc<Cell<Lateness>>,
    rng: Rng,
    winning_number: u32,
    /// The turn in hand, where it does not go to the store at once.
    hand: Vec<Staged>,
    in_flight: VecDeque<(TurnNumber, Vec<Staged>)>,
}

#[derive(Debug)]
enum Staged {
    Batch { agency: AgencyId, sequence: u64, bets: Bets, rows: Vec<u8> },
    Finish(AgencyId),
    Exclusion(AgencyId),
    Draw(u32),
}

/// Bets without their frame.
#[derive(Debug)]
struct Bets(Vec<Bet>);

impl BetSource for Bets {
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        self.0.iter().for_each(|bet| sink.put(&bet.as_raw()));
        Ok(u32::try_from(self.0.len()).expect("a batch of a simulated client is small"))
    }
}

impl Late {
    pub fn new(store: Store<Mounted>, winning_number: u32, lateness: Rc<Cell<Lateness>>, rng: Rng) -> Late {
        Late { store, lateness, rng, winning_number, hand: Vec::new(), in_flight: VecDeque::new() }
    }

    /// A store that settles each turn when it is submitted.
    pub fn prompt(store: Store<Mounted>, winning_number: u32) -> Late {
        Late::new(store, winning_number, Rc::default(), Rng::new(0))
    }

    /// Whether what is staged waits here.
    fn is_late(&self) -> bool {
        self.lateness.get().in_flight > 0 || !self.in_flight.is_empty() || !self.hand.is_empty()
    }

    fn encode(&self, agency: AgencyId, bets: &impl BetSource) -> Result<(Vec<u8>, StagedBatch), BatchError> {
        let mut rows = Rows::default();
        let appended = rows.append(agency, self.winning_number, bets)?;
        let staged = StagedBatch { bets: appended.bets, winners: appended.winners, checksum: 0 };
        Ok((rows.bytes().to_vec(), staged))
    }

    /// The rows of a batch that waits here.
    fn waiting(&self, agency: AgencyId, sequence: u64) -> Option<&[u8]> {
        self.in_flight.iter().map(|(_, turn)| turn).chain([&self.hand]).flatten().find_map(|staged| match staged {
            Staged::Batch { agency: own, sequence: number, rows, .. } => {
                (*own == agency && *number == sequence).then_some(&rows[..])
            }
            Staged::Finish(_) | Staged::Exclusion(_) | Staged::Draw(_) => None,
        })
    }

    /// The store gets a turn.
    fn store(&mut self, turn: TurnNumber, staged: Vec<Staged>) -> Option<Settled> {
        for staged in staged {
            match staged {
                Staged::Batch { agency, sequence, bets, .. } => {
                    self.store.stage_batch(agency, sequence, &bets).expect("its bets were valid");
                }
                Staged::Finish(agency) => self.store.stage_finish(agency),
                Staged::Exclusion(agency) => self.store.stage_exclusion(agency),
                Staged::Draw(number) => self.store.stage_draw(number),
            }
        }
        self.store.submit(turn);
        self.store.settled()
    }
}

impl Keep for Late {
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        place: Place,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        if !self.is_late() {
            return Keep::stage_batch(&mut self.store, agency, place, bets);
        }
        let sequence = place.expected();
        let (rows, staged) = self.encode(agency, bets)?;
        if staged.bets > 0 {
            let mut checked: Vec<Result<Bet, BetError>> = Vec::new();
            bets.feed(&mut checked)?;
            let bets = Bets(checked.into_iter().map(|bet| bet.expect("they were encoded")).collect());
            self.hand.push(Staged::Batch { agency, sequence, bets, rows });
        }
        Ok(staged)
    }

    fn stage_finish(&mut self, agency: AgencyId) {
        if self.is_late() {
            self.hand.push(Staged::Finish(agency));
        } else {
            self.store.stage_finish(agency);
        }
    }

    fn stage_exclusion(&mut self, agency: AgencyId) {
        if self.is_late() {
            self.hand.push(Staged::Exclusion(agency));
        } else {
            self.store.stage_exclusion(agency);
        }
    }

    fn stage_draw(&mut self, winning_number: u32) {
        if self.is_late() {
            self.hand.push(Staged::Draw(winning_number));
        } else {
            self.store.stage_draw(winning_number);
        }
    }

    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError> {
        let (rows, _) = self.encode(agency, bets)?;
        match self.waiting(agency, sequence) {
            Some(waiting) if waiting == rows => Ok(Match::Same),
            Some(_) => Ok(Match::Other),
            None => Keep::matches(&mut self.store, agency, sequence, bets),
        }
    }

    fn submit(&mut self, turn: TurnNumber) {
        if self.is_late() {
            self.in_flight.push_back((turn, std::mem::take(&mut self.hand)));
        } else {
            self.store.submit(turn);
        }
    }

    fn settled(&mut self) -> Option<Settled> {
        if let Some(settled) = self.store.settled() {
            return Some(settled);
        }
        let Lateness { silent, taken_back, .. } = self.lateness.get();
        if self.in_flight.is_empty() || self.rng.percent(silent) {
            return None;
        }
        let (turn, staged) = self.in_flight.pop_front()?;
        let has_batch = staged.iter().any(|staged| matches!(staged, Staged::Batch { .. }));
        let settled = if has_batch && self.rng.percent(taken_back) {
            Some(Settled::TakenBack { turn, error: io::Error::from(io::ErrorKind::StorageFull) })
        } else {
            self.store(turn, staged)
        };
        if let Some(Settled::TakenBack { .. }) = settled {
            self.in_flight.clear();
            self.hand.clear();
        }
        settled
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.lateness.get().in_flight.max(1)
    }

    fn load(&self) -> Load {
        let waiting = self.hand.iter().map(|staged| match staged {
            Staged::Batch { rows, .. } => rows.len(),
            Staged::Finish(_) | Staged::Exclusion(_) | Staged::Draw(_) => 0,
        });
        let load = self.store.load();
        Load { staged_bytes: load.staged_bytes + waiting.sum::<usize>(), ..load }
    }

    fn waits(&self) -> bool {
        self.store.waits()
    }

    fn group(&self) -> u64 {
        Keep::group(&self.store)
    }

    fn check(&mut self) -> Result<(), CommitError> {
        self.store.check()
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        Keep::seal(&mut self.store)
    }

    fn close(&mut self) -> Result<(), CommitError> {
        Keep::close(&mut self.store)
    }
}
