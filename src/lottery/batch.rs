//! A batch on its way from a frame to the store, without either knowing the other.

use super::bet::{BetError, RawBet};

/// Takes the bets of one batch, in order. The store is one; a test's list is another.
pub trait BetSink {
    /// Takes one bet, unchecked.
    fn put(&mut self, bet: &RawBet<'_>);
}

/// Gives the bets of one batch, in order, as often as it is asked. Every dialect's batch is one.
pub trait BetSource {
    /// Puts every bet into `sink` and returns how many there were.
    ///
    /// # Errors
    /// At the first bet that its dialect cannot decode. What reached the sink before it is of no use then.
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError>;
}

/// Why a batch was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Bet `index` (from 0) breaks a rule; the batch is rejected and its connection goes on.
    #[error("bet {index}: {error}")]
    BadBet {
        /// The bet's place in the batch, from 0.
        index: u32,
        /// The rule.
        error: BetError,
    },
    /// A batch of no bets, in a dialect that does not allow it.
    #[error("the batch has no bets")]
    Empty,
    /// The number of bets differs from the number that the batch declares. The words leave out what is declared:
    /// it can be more than any frame holds.
    #[error("the batch declares {} bets than it has ({present})", if .declared > .present { "more" } else { "fewer" })]
    Count {
        /// As the frame says.
        declared: u32,
        /// As counted.
        present: u32,
    },
    /// Fields that overrun the frame: nothing after it on this stream can be trusted.
    #[error("the bets do not fill their frame exactly")]
    Malformed,
}

impl BetSink for Vec<Result<super::Bet, BetError>> {
    fn put(&mut self, bet: &RawBet<'_>) {
        self.push(super::Bet::check(bet));
    }
}
