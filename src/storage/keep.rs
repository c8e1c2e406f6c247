//! Where turns become durable: what a hub needs of its store.

use std::io;

use super::error::{CommitError, MatchError};
use crate::lottery::{AgencyId, BatchError, Bet, BetSource};

/// Numbers turns in the order in which they were submitted. A turn that was taken back is submitted again under its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnNumber(pub u64);

impl TurnNumber {
    /// The number of the turn behind this one.
    #[must_use]
    pub fn next(self) -> TurnNumber {
        TurnNumber(self.0 + 1)
    }
}

/// Proof that a turn and all before it are as durable as configured. Only a keeper makes one, and writing a reply takes one.
///
/// ```compile_fail,E0451
/// use loteria::storage::{Committed, TurnNumber};
/// let forged = Committed { through: TurnNumber(7) };
/// ```
#[derive(Debug)]
pub struct Committed {
    through: TurnNumber,
}

impl Committed {
    /// Every turn up to `through` is durable.
    pub(super) fn new(through: TurnNumber) -> Committed {
        Committed { through }
    }

    /// The last turn that is durable.
    pub fn through(&self) -> TurnNumber {
        self.through
    }
}

/// What became of submitted turns.
#[derive(Debug)]
pub enum Settled {
    /// Every turn up to [`Committed::through`] is durable.
    Committed(Committed),
    /// There was no space: this turn, and all that were submitted or staged behind it, have not happened.
    TakenBack {
        /// The oldest that was in flight.
        turn: TurnNumber,
        /// What the disk says.
        error: io::Error,
    },
    /// Whether the turn happened is not known: nothing may be acknowledged any more.
    Failed(io::Error),
}

/// Where turns become durable. What is staged belongs to the turn in hand, until that is submitted.
///
/// Turns settle in their order. One that is taken back takes all along that were submitted behind it, before or after the
/// keeper knew, and what is staged: the hub submits what is left of them again. Only this layer can make [`Committed`], so
/// that a keeper elsewhere has to hand on that of a store.
pub trait Keep {
    /// Stages the rows of a batch. Nothing is staged on an error, nor for a batch of no bets.
    ///
    /// # Errors
    /// What is wrong with the batch.
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        sequence: u64,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError>;

    /// Stages that `agency` has finished.
    fn stage_finish(&mut self, agency: AgencyId);

    /// Stages that `agency` takes no part in the draw.
    fn stage_exclusion(&mut self, agency: AgencyId);

    /// Stages that the draw has been made on `winning_number`.
    fn stage_draw(&mut self, winning_number: u32);

    /// Whether `bets` are exactly what is stored, staged or in flight as batch `sequence` of `agency`; `false` where there is
    /// no such batch.
    ///
    /// # Errors
    /// Bets that cannot be decoded or break a rule; a store that cannot be read.
    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<bool, MatchError>;

    /// Ends the turn in hand, whose number is `turn`. A store of files has settled it when this returns.
    fn submit(&mut self, turn: TurnNumber);

    /// What became of turns, in their order; `None`: nothing that was not told before.
    fn settled(&mut self) -> Option<Settled>;

    /// Whether another turn may be submitted.
    fn has_room(&self) -> bool;

    /// How much of a turn's budget the turn in hand has used.
    fn load(&self) -> Load;

    /// Whether a commit waits for a disk or another machine, so that it is worth sharing between many requests.
    fn waits(&self) -> bool;

    /// Rises with every commit that wrote.
    fn group(&self) -> u64;

    /// Looks whether what was stored is still there.
    ///
    /// # Errors
    /// It is not: nothing may be acknowledged any more.
    fn check(&mut self) -> Result<(), CommitError>;

    /// Nothing was stored for a while: what can be done for that time is done.
    ///
    /// # Errors
    /// As the disk says.
    fn seal(&mut self) -> Result<(), CommitError>;

    /// Ends the keeper's use. What is staged and was not submitted is dropped; a turn in flight, whose requests have no reply
    /// yet, may be durable or not.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    fn close(&mut self) -> Result<(), CommitError>;
}

/// What a turn costs its keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes of rows staged.
    pub staged_bytes: usize,
    /// Bytes of the journal that were read for [`Keep::matches`].
    pub read_bytes: usize,
}

/// A batch whose rows wait for the turn's commit.
#[derive(Debug)]
pub struct StagedBatch {
    /// How many bets it has.
    pub bets: u32,
    /// Those on the winning number, in order.
    pub winners: Vec<Bet>,
    /// CRC-32C of its rows.
    pub checksum: u32,
}
