//! The expected contents of a store, in plain collections.

use std::collections::BTreeMap;

use loteria::lottery::{AgencyId, Standing};
use loteria::storage::{Recovered, Store};

use super::bets::{Bets, rows_of};

/// Everything that was committed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expected {
    pub agencies: BTreeMap<u32, Known>,
    pub drawn: Option<u32>,
    pub rows: Vec<u8>,
}

/// What was committed of one agency.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Known {
    pub closed: Option<Closed>,
    pub batches: Vec<Bets>,
}

/// How an agency stopped betting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Finished,
    Excluded,
}

/// One thing to stage.
#[derive(Clone, Debug)]
pub enum Change {
    Batch(u32, Bets),
    Finish(u32),
    Exclude(u32),
    Draw(u32),
}

impl Change {
    /// Stages it as the next change after `expected`.
    pub fn stage<D: loteria::storage::Disk>(&self, expected: &Expected, store: &mut Store<D>) {
        match self {
            Change::Batch(agency, bets) => {
                let sequence = expected.agencies.get(agency).map_or(0, |known| known.batches.len()) as u64;
                let staged = store.stage_batch(AgencyId(*agency), sequence, bets).unwrap();
                assert_eq!(staged.checksum, crc32c::crc32c(&rows_of(*agency, bets)));
            }
            Change::Finish(agency) => store.stage_finish(AgencyId(*agency)),
            Change::Exclude(agency) => store.stage_exclusion(AgencyId(*agency)),
            Change::Draw(number) => store.stage_draw(*number),
        }
    }
}

impl Expected {
    /// What is committed before the first turn, and after each.
    pub fn after_each(turns: &[Vec<Change>]) -> Vec<Expected> {
        let mut expected = vec![Expected::default()];
        for turn in turns {
            let mut next = expected[expected.len() - 1].clone();
            turn.iter().for_each(|change| next.apply(change));
            expected.push(next);
        }
        expected
    }

    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Batch(agency, bets) => {
                self.rows.extend(rows_of(*agency, bets));
                self.agencies.entry(*agency).or_default().batches.push(bets.clone());
            }
            Change::Finish(agency) => self.agencies.entry(*agency).or_default().closed = Some(Closed::Finished),
            Change::Exclude(agency) => self.agencies.entry(*agency).or_default().closed = Some(Closed::Excluded),
            Change::Draw(number) => self.drawn = Some(*number),
        }
    }

    /// How many batches there are.
    pub fn batches(&self) -> usize {
        self.agencies.values().map(|known| known.batches.len()).sum()
    }

    /// The difference of `recovered` and `rows` to what is expected, as a message; `None` if there is none.
    pub fn differs(&self, winning_number: u32, recovered: &Recovered, rows: &[u8]) -> Option<String> {
        if self.rows != rows {
            let (all, there) = (self.rows.len(), rows.len());
            return Some(format!("the rows differ: {all} bytes are committed, {there} are there"));
        }
        if self.drawn != recovered.drawn {
            return Some(format!("drawn {:?}, recovered {:?}", self.drawn, recovered.drawn));
        }
        if self.agencies.len() != recovered.agencies.len() {
            return Some("not the same agencies".to_owned());
        }
        let number = self.drawn.unwrap_or(winning_number);
        for ((id, known), (recovered_id, agency)) in self.agencies.iter().zip(&recovered.agencies) {
            let bets = || known.batches.iter().flat_map(|batch| batch.0.iter());
            let winners = bets().filter(|bet| bet.number() == number);
            let standing = match known.closed {
                None => Standing::Betting,
                Some(Closed::Finished) => Standing::Finished,
                Some(Closed::Excluded) => Standing::Excluded,
            };
            let same = *id == recovered_id.0
                && standing == agency.standing
                && known.batches.len() as u64 == agency.batches
                && bets().count() as u64 == agency.bets
                && winners.eq(&agency.winners);
            if !same {
                return Some(format!("agency {id}: {known:?} is committed, {agency:?} recovered"));
            }
        }
        None
    }
}
