//! Which connections a turn reads, in which order, and how much of each.
//!
//! Trusted connections first. Of all others a turn reads a few, so that thousands of them cost an agency a fraction of a
//! millisecond; where trusted connections fill the turn, the others begin the next one. Each class is first come, first
//! served, and its bytes are divided by those that the turn reads.

use super::budgets::Budgets;
use super::connections::ConnectionId;
use super::deferred::Deferred;
use super::queue::{Class, ClassQueue, Deficit};
use super::watermark::InputWatermark;
use crate::mutants::{self, Mutant};
use crate::timers::Moment;

/// Leave to read one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadGrant {
    /// Whose.
    pub id: ConnectionId,
    /// How many bytes, at most.
    pub bytes: usize,
    pub(super) class: Class,
}

/// The read queue, and how far the turn in hand is through it.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) budgets: Budgets,
    /// Sockets that may have something to read.
    pub(super) reads: ClassQueue,
    deficit: Deficit,
    /// The last turn was full before it came to read.
    pub(super) reads_first: bool,
    pub(super) deferred: Deferred,
    pub(super) round: Round,
    /// Deadlines are judged by it.
    pub(super) watermark: InputWatermark,
}

/// One turn's reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    stage: Stage,
    /// Deferred work runs behind the reads.
    pub(super) work_behind: bool,
    /// Sockets of each class that may still be read.
    left: [usize; 2],
    /// Bytes that one socket of each class may have read.
    budget: [usize; 2],
    /// Bytes that were read of each class.
    pub(super) read: [usize; 2],
    /// Bytes after which no more of the untrusted class is read.
    untrusted_bytes_max: usize,
}

/// Which class is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The untrusted class, at the turn's start.
    Owed,
    /// The trusted class; `last`: the untrusted one was read before it.
    Trusted { last: bool },
    /// The untrusted class, behind the trusted one.
    Untrusted,
    /// The turn has read enough.
    #[default]
    Over,
}

impl Scheduler {
    pub(super) fn new(now: Moment) -> Scheduler {
        Scheduler {
            budgets: Budgets::default(),
            reads: ClassQueue::default(),
            deficit: Deficit::default(),
            reads_first: false,
            deferred: Deferred::default(),
            round: Round::default(),
            watermark: InputWatermark::new(0, now),
        }
    }

    /// Begins a turn's reads.
    pub(super) fn begin(&mut self, turn_is_full: bool) {
        self.watermark.queued(self.reads.lens());
        let [trusted, untrusted] = self.reads.lens();
        let few = self.untrusted_read(untrusted, trusted);
        let Budgets { turn_bytes, connection_bytes, connection_bytes_min, untrusted_bytes, .. } = self.budgets;
        let share = (turn_bytes / (trusted + few).max(1)).clamp(connection_bytes_min, connection_bytes);
        let untrusted_share = (untrusted_bytes / few.max(1)).max(connection_bytes_min);
        let owed = self.deficit.settle(turn_is_full) && !mutants::is(Mutant::ForgetDeficit);
        self.round = Round {
            stage: if owed { Stage::Owed } else { Stage::Trusted { last: false } },
            work_behind: self.round.work_behind,
            left: [trusted, few],
            budget: [share, untrusted_share],
            read: [0, 0],
            untrusted_bytes_max: untrusted_bytes,
        };
    }

    /// How many untrusted sockets a turn reads: a few. But trusted ones that are many at once came as many at once:
    /// newcomers, which may be agencies too, get half of such a turn.
    fn untrusted_read(&self, untrusted: usize, trusted: usize) -> usize {
        untrusted.min(self.budgets.untrusted.max(trusted))
    }

    /// The next socket to read, of those that `may_be_read`: one at the head of its queue that may not ends the turn for
    /// its class.
    pub(super) fn next(&mut self, turn: TurnState, may_be_read: impl Fn(ConnectionId) -> bool) -> Option<ReadGrant> {
        loop {
            let class = match self.round.stage {
                Stage::Owed | Stage::Untrusted => Class::Untrusted,
                Stage::Trusted { .. } => Class::Trusted,
                Stage::Over => return None,
            };
            let spent = match class {
                Class::Trusted => self.round.read[0] >= self.budgets.turn_bytes,
                Class::Untrusted => {
                    let bytes = self.round.read[1].max(turn.untrusted_decoded);
                    turn.untrusted_spent || bytes >= self.round.untrusted_bytes_max
                }
            };
            let left = &mut self.round.left[class as usize];
            let first =
                self.reads.first_of(class).filter(|id| *left > 0 && !spent && !turn.is_full && may_be_read(*id));
            if let Some(id) = first {
                *left -= 1;
                self.reads.pop_of(class);
                self.watermark.read(class as usize);
                return Some(ReadGrant { id, bytes: self.round.budget[class as usize], class });
            }
            self.next_stage(turn.is_full);
        }
    }

    fn next_stage(&mut self, turn_is_full: bool) {
        self.round.stage = match self.round.stage {
            Stage::Owed => Stage::Trusted { last: true },
            Stage::Trusted { last: false } => {
                let waiting = self.reads.len_of(Class::Untrusted) > 0;
                self.deficit.note(waiting && turn_is_full);
                self.round.untrusted_bytes_max = self.round.untrusted_bytes_max.max(self.round.read[0]);
                Stage::Untrusted
            }
            Stage::Trusted { last: true } | Stage::Untrusted | Stage::Over => Stage::Over,
        };
    }
}

/// How far the turn in hand is filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnState {
    pub(super) is_full: bool,
    /// It has enough of untrusted connections' requests.
    pub(super) untrusted_spent: bool,
    /// Bytes of untrusted connections that it has decoded, whenever they came.
    pub(super) untrusted_decoded: usize,
}
