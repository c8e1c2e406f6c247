//! The parts of the simulations of several hubs.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod client;
#[cfg(debug_assertions)]
pub mod mutants;
pub mod world;

use loteria::lottery::{AgencyId, BatchError, Bet, BetSink, BetSource};
use loteria::storage::Rows;

pub const WINNING_NUMBER: u32 = 7574;

/// Bets without their frame.
pub struct Bets(pub Vec<Bet>);

impl BetSource for Bets {
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        self.0.iter().for_each(|bet| sink.put(&bet.as_raw()));
        Ok(u32::try_from(self.0.len()).unwrap())
    }
}

/// The rows of a batch.
fn rows(agency: AgencyId, bets: &[Bet]) -> Vec<u8> {
    let mut rows = Rows::default();
    rows.append(agency, WINNING_NUMBER, &Bets(bets.to_vec())).unwrap();
    rows.bytes().to_vec()
}
