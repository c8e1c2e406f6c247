//! Where turns become durable: what a hub needs of its store.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::error::{CommitError, MatchError};
use crate::lottery::{AgencyId, BatchError, Bet, BetSource, Standing};
use crate::timers::Moment;

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
    /// There was no space: this turn, and all that were submitted or staged behind it, have not happened. What
    /// [`Keep::matches`] has asked in them is not answered.
    TakenBack {
        /// The oldest that was in flight.
        turn: TurnNumber,
        /// What the disk says.
        error: io::Error,
    },
    /// Of a keeper that several hubs share: other hubs have stored what these turns did not expect. This turn, and all that
    /// were submitted or staged behind it, have not happened. The batches among them are taken up again, or dropped, with
    /// [`Keep::stage_again`].
    Moved {
        /// The oldest that was in flight.
        turn: TurnNumber,
        /// What is stored of every agency of these turns, and of every numbered batch in them.
        learned: Box<Learned>,
    },
    /// Of a keeper that several hubs share: what a committed transaction has read. Where a turn read it, it is told behind the
    /// [`Committed`](Settled::Committed) of that turn, and before any other.
    Learned(Box<Learned>),
    /// Whether the turn happened is not known: nothing may be acknowledged any more.
    Failed(io::Error),
}

/// What is stored by all hubs that share a keeper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Agencies as they stand after all turns that are told as committed, whether or not they have changed.
    pub agencies: Vec<Known>,
    /// For batches that [`Keep::matches`] could not tell at once, in the order in which it was asked, and for those of turns
    /// that were taken back: whether the same bets are stored under that number. Numbers that are not stored are missing.
    pub compared: Vec<Compared>,
    /// The draw has been made: the winners of every agency, in the order in which they were stored. Told once.
    pub drawn: Option<Vec<(AgencyId, Vec<Bet>)>>,
}

/// What is stored of an agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub agency: AgencyId,
    /// How it stands.
    pub standing: Standing,
    /// Batches, which is also the number of its next one.
    pub batches: u64,
    /// Bets.
    pub bets: u64,
}

/// Whether the bets that came as a batch are those stored under its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Whose.
    pub agency: AgencyId,
    /// The batch's number.
    pub sequence: u64,
    /// The same bets are stored; `false`: others.
    pub same: bool,
}

/// What [`Keep::matches`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Exactly these bets are stored, staged or in flight under that number.
    Same,
    /// Others are, or none.
    Other,
    /// The turn in hand asks: [`Learned::compared`] has the answer when it is settled.
    Asked,
}

/// Where a batch goes among its agency's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its client has numbered it: nowhere else.
    Numbered(u64),
    /// Behind the others. The number is what this hub expects, and is another where several hubs store.
    Next(u64),
}

impl Place {
    /// The number that this hub expects.
    pub fn expected(self) -> u64 {
        let (Place::Numbered(number) | Place::Next(number)) = self;
        number
    }
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
    fn stage_batch(&mut self, agency: AgencyId, place: Place, bets: &impl BetSource)
    -> Result<StagedBatch, BatchError>;

    /// Stages that `agency` has finished.
    fn stage_finish(&mut self, agency: AgencyId);

    /// Stages that `agency` takes no part in the draw.
    fn stage_exclusion(&mut self, agency: AgencyId);

    /// Stages that the draw has been made on `winning_number`.
    fn stage_draw(&mut self, winning_number: u32);

    /// Whether `bets` are exactly what is stored, staged or in flight as batch `sequence` of `agency`.
    ///
    /// # Errors
    /// Bets that cannot be decoded or break a rule; a store that cannot be read.
    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError>;

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
    fn check(&mut self) -> Result<(), CommitError> {
        Ok(())
    }

    /// Nothing was stored for a while: what can be done for that time is done.
    ///
    /// # Errors
    /// As the disk says.
    fn seal(&mut self) -> Result<(), CommitError> {
        Ok(())
    }

    /// Has the turn in hand read what is stored of `agency`, for a reply that tells it. Says whether other hubs store, too, so
    /// that it has to be read.
    fn look(&mut self, _agency: AgencyId) -> bool {
        false
    }

    /// After [`Settled::Moved`]: the next batch of those that were taken back, in the order in which they were staged, is
    /// staged again at `place`; `None`: it is dropped. Returns it as [`stage_batch`](Self::stage_batch) did.
    fn stage_again(&mut self, _place: Option<Place>) -> Option<StagedBatch> {
        None
    }

    /// Whether this hub alone decides that the draw is due. Else the keeper makes it, and tells [`Learned::drawn`].
    fn draws_here(&self) -> bool {
        true
    }

    /// Whether nothing may be staged for now: the keeper is finding out what other hubs have stored.
    fn is_looking(&self) -> bool {
        false
    }

    /// Whether [`lease`](Self::lease) is wanted before [`go_on`](Self::go_on).
    fn wants_leases(&self, _now: Moment) -> bool {
        false
    }

    /// Of a keeper that several hubs share: the agencies that are at this hub and have not finished. Those that are at none may be
    /// excluded from the draw.
    fn lease(&mut self, _here: Vec<AgencyId>) {}

    /// Whether the keeper still has to store something by itself that is lost with this hub.
    fn owes(&self) -> bool {
        false
    }

    /// Goes on with what the keeper has to do by itself, after its descriptor was ready or its time has come.
    fn go_on(&mut self, _now: Moment) {}

    /// When to call [`go_on`](Self::go_on), if nothing happens before.
    fn next_wake(&self) -> Option<Moment> {
        None
    }

    /// A descriptor that is readable when [`go_on`](Self::go_on) has something to do; it stays the same.
    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    /// Why turns cannot be committed for now; `None`: they can, or nothing is known against it.
    fn trouble(&self) -> Option<Trouble> {
        None
    }

    /// The engine behind the keeper, for the status; `None`: it keeps files.
    fn engine(&self) -> Option<EngineView> {
        None
    }

    /// Ends the keeper's use. What is staged and was not submitted is dropped; a turn in flight, whose requests have no reply
    /// yet, may be durable or not.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    fn close(&mut self) -> Result<(), CommitError>;
}

/// Why a keeper cannot commit for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Moment,
    /// Why, for a person.
    pub why: String,
}

/// An engine that several hubs share, as this hub's keeper knows it. Numbers of turns and epochs are the engine's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineView {
    /// Which draw of the engine's.
    pub draw: i32,
    /// A connection stands on which turns are sent.
    pub connected: bool,
    /// The host of that connection, or of the one that is being tried, as the configuration has it.
    pub host: String,
    /// The connection's number among those of this instance, from 1; 0: there was none yet.
    pub epoch: i64,
    /// The last turn of this instance that is committed.
    pub turn: i64,
    /// Turns of the hub's that are not settled.
    pub turns_in_flight: usize,
    /// When the engine last answered; `None`: not yet.
    pub answered_at: Option<Moment>,
    /// Why the draw is held.
    pub held: Option<String>,
    /// The instances that the engine has seen within a day, the latest first; of many, the first ones.
    pub instances: Vec<InstanceView>,
}

/// A hub that stores in the same engine, this one among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// It is this hub.
    pub here: bool,
    /// Its name, as its configuration has it.
    pub name: String,
    /// Its last turn that is committed.
    pub turn: i64,
    /// How long before `read_at` the engine had last committed a turn of it, or begun a connection.
    pub seen_ago: Duration,
    /// When this was read.
    pub read_at: Moment,
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
