//! The turn in hand, and the batches of turns that were taken back.

use std::collections::VecDeque;

use super::answers::parse_rows;
use super::work::{Ask, Work};
use crate::lottery::{AgencyId, BatchError, Bet, BetSink, BetSource};
use crate::storage::format::row::Rows;
use crate::storage::keep::{Place, StagedBatch};

/// Turns whose memory is kept for later ones.
const SPARE_MAX: usize = 4;

/// The turn in hand.
#[derive(Debug)]
pub(super) struct Staging {
    winning_number: u32,
    pub work: Work,
    /// Batches of turns that were taken back, which are still to be staged again or dropped.
    kept: VecDeque<Work>,
    /// The next of them, in the first turn.
    next_kept: usize,
    spare: Vec<Work>,
    /// The rows of one batch, and those of its winners.
    rows: Rows,
    won: Rows,
}

/// Bets that are checked already.
struct Winners<'a>(&'a [Bet]);

impl BetSource for Winners<'_> {
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        self.0.iter().for_each(|bet| sink.put(&bet.as_raw()));
        u32::try_from(self.0.len()).map_err(|_| BatchError::Malformed)
    }
}

impl Staging {
    pub fn new(winning_number: u32) -> Staging {
        Staging {
            winning_number,
            work: Work::default(),
            kept: VecDeque::new(),
            next_kept: 0,
            spare: Vec::new(),
            rows: Rows::default(),
            won: Rows::default(),
        }
    }

    pub fn stage(&mut self, agency: AgencyId, place: Place, bets: &impl BetSource) -> Result<StagedBatch, BatchError> {
        let staged = self.encode(agency, bets)?;
        if staged.bets > 0 {
            let (rows, won) = (self.rows.bytes(), self.won.bytes());
            self.work.add_batch((agency, place), staged.bets, staged.checksum, rows, won);
        }
        Ok(staged)
    }

    /// What would be stored of a batch.
    pub fn encode(&mut self, agency: AgencyId, bets: &impl BetSource) -> Result<StagedBatch, BatchError> {
        self.rows.truncate(0);
        self.won.truncate(0);
        let appended = self.rows.append(agency, self.winning_number, bets)?;
        if !appended.winners.is_empty() {
            self.won.append(agency, self.winning_number, &Winners(&appended.winners))?;
        }
        if i32::try_from(self.rows.len()).is_err() {
            // An array's element has 31 bits for its length. No dialect allows a frame with so many bets.
            return Err(BatchError::Malformed);
        }
        let checksum = crc32c::crc32c(self.rows.bytes());
        Ok(StagedBatch { bets: appended.bets, winners: appended.winners, checksum })
    }

    /// Ends the turn in hand.
    pub fn take(&mut self) -> Work {
        std::mem::replace(&mut self.work, self.spare.pop().unwrap_or_default())
    }

    /// Keeps the memory of a turn that is settled.
    pub fn recycle(&mut self, mut work: Work) {
        if self.spare.len() < SPARE_MAX {
            work.clear();
            self.spare.push(work);
        }
    }

    /// The turns were taken back because of what other instances have stored: their batches are kept, and those in hand.
    pub fn keep(&mut self, turns: impl Iterator<Item = Work>) {
        self.kept.extend(turns);
        let in_hand = self.take();
        self.kept.push_back(in_hand);
    }

    /// The turns were taken back because there is no space: their batches are dropped, and those in hand, and what was asked of
    /// batches that came again. What is looked at is still looked at.
    pub fn drop_batches(&mut self, turns: impl Iterator<Item = Work>) {
        let in_hand = self.take();
        for work in turns.chain([in_hand]) {
            work.looks.iter().for_each(|agency| self.work.add_look(*agency));
            self.recycle(work);
        }
    }

    /// The next batch that was kept, staged again or dropped.
    pub fn stage_again(&mut self, place: Option<Place>) -> Option<StagedBatch> {
        while let Some(work) = self.kept.front() {
            let Some(batch) = work.batches.get(self.next_kept) else {
                let work = self.kept.pop_front()?;
                self.next_kept = 0;
                self.recycle(work);
                continue;
            };
            self.next_kept += 1;
            let place = place?;
            let (agency, bets, checksum) = (batch.agency, batch.bets, batch.checksum);
            let (rows, won) = (Work::text(&work.rows, &batch.rows), Work::text(&work.winners, &batch.winners));
            self.work.add_batch((agency, place), bets, checksum, rows, won);
            let winners = parse_rows(won).expect("the rows were encoded here");
            return Some(StagedBatch { bets, winners, checksum });
        }
        None
    }

    pub fn ask(&mut self, ask: Ask) {
        self.work.asks.push(ask);
    }
}
