//! The interface between a batch's frame and the store.

use super::bet::{BetError, RawBet};

/// Receives the bets of one batch, in order. The store implements it, and a list in tests.
pub trait BetSink {
    /// Receives one unchecked bet.
    fn put(&mut self, bet: &RawBet<'_>);
}

/// Yields the bets of one batch, in order, any number of times. Every dialect's batch implements it.
pub trait BetSource {
    /// Puts every bet into `sink` and returns their number.
    ///
    /// # Errors
    /// At the first bet that its dialect cannot decode. The caller must discard the bets before it.
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError>;
}

/// Why a batch is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Bet `index` breaks a rule.
    #[error("bet {}: {error}", u64::from(*.index) + 1)]
    BadBet {
        /// The bet's index in the batch, from 0. The message counts from one.
        index: u32,
        /// The rule.
        error: BetError,
    },
    /// A batch without bets, in a dialect that does not allow it.
    #[error("the batch has no bets")]
    Empty,
    /// The number of bets differs from the number that the batch declares. The message omits the declared number,
    /// which can be more than any frame holds.
    #[error("the batch declares {} bets than it has ({present})", if .declared > .present { "more" } else { "fewer" })]
    Count {
        /// The declared number.
        declared: u32,
        /// The counted number.
        present: u32,
    },
    /// Fields that do not fill the frame: the start of the next frame is unknown.
    #[error("the bets do not fill their frame exactly")]
    Malformed,
}

impl BetSink for Vec<Result<super::Bet, BetError>> {
    fn put(&mut self, bet: &RawBet<'_>) {
        self.push(super::Bet::check(bet));
    }
}
