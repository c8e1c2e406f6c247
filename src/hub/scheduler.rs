//! Which connections a turn reads, in which order, and how much of each.
//!
//! Trusted connections first. Of all others a turn reads a few, so that thousands of them cost an agency a fraction of a
//! millisecond; where trusted connections fill the turn, the others begin the next one. Each class is first come, first
//! served, and its bytes are divided by those that the turn reads.

use super::Hub;
use super::budgets::Budgets;
use super::connections::ConnectionId;
use super::deferred::Deferred;
use super::queue::{Class, ClassQueue, Deficit};
use super::watermark::InputWatermark;
use crate::mutants::{self, Mutant};
use crate::storage::Keep;
use crate::timers::Moment;

/// Leave to read one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadGrant {
    /// Whose.
    pub id: ConnectionId,
    /// How many bytes, at most.
    pub bytes: usize,
    class: Class,
}

/// The read queue, and how far the turn in hand is through it.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) budgets: Budgets,
    /// Sockets that may have something to read.
    reads: ClassQueue,
    deficit: Deficit,
    /// The last turn was full before it came to read.
    reads_first: bool,
    pub(super) deferred: Deferred,
    round: Round,
    /// Deadlines are judged by it.
    pub(super) watermark: InputWatermark,
}

/// One turn's reads.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    stage: Stage,
    /// Deferred work runs behind the reads.
    work_behind: bool,
    /// Sockets of each class that may still be read.
    left: [usize; 2],
    /// Bytes that one socket of each class may have read.
    budget: [usize; 2],
    /// Bytes that were read of each class.
    read: [usize; 2],
    /// Bytes after which no more of the untrusted class is read.
    untrusted_bytes_max: usize,
}

/// Which class is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The untrusted class, which is owed the turn's start.
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
    fn begin(&mut self, turn_is_full: bool) {
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
    fn next(&mut self, turn: TurnState, may_be_read: impl Fn(ConnectionId) -> bool) -> Option<ReadGrant> {
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
struct TurnState {
    is_full: bool,
    /// It has enough of untrusted connections' requests.
    untrusted_spent: bool,
    /// Bytes of untrusted connections that it has decoded, whenever they came.
    untrusted_decoded: usize,
}

impl<K: Keep> Hub<K> {
    /// Takes other budgets than `limits.rs` has.
    pub fn set_budgets(&mut self, budgets: Budgets) {
        self.scheduler.budgets = budgets;
    }

    /// A poll told everything that had arrived by `before`, the moment at which it began: see [`InputWatermark`].
    pub fn polled(&mut self, before: Moment) {
        self.scheduler.watermark.polled(before);
    }

    /// Everything that had arrived by then was accepted and read. [`tick`](Self::tick) judges deadlines by it.
    pub fn watermark(&mut self) -> &mut InputWatermark {
        &mut self.scheduler.watermark
    }

    /// How many connections the turn in hand may accept.
    pub fn accepts(&self) -> usize {
        self.scheduler.budgets.accepts.max(self.scheduler.reads.len_of(Class::Trusted))
    }

    /// The connection's socket may have something to read.
    pub fn readable(&mut self, id: ConnectionId) {
        let Some(slot) = self.connections.slot(id) else { return };
        self.connections[slot].flags.readable = true;
        self.queue_read(slot);
    }

    /// Whether sockets wait to be read.
    pub fn has_reads(&self) -> bool {
        !self.scheduler.reads.is_empty() && !self.is_stalled()
    }

    /// Begins a turn: deferred work runs, unless it left the last turn no room to read. Then [`next_read`](Self::next_read)
    /// says which connection to read, and [`end_reads`](Self::end_reads) ends that.
    pub fn begin_reads(&mut self, now: Moment) {
        self.scheduler.round.work_behind = std::mem::take(&mut self.scheduler.reads_first);
        if !self.scheduler.round.work_behind {
            self.run_deferred(now);
            self.scheduler.reads_first = self.turn_is_full();
        }
        let full = self.turn_is_full();
        self.scheduler.begin(full);
    }

    /// The next socket that the turn reads, and how much of it; `None`: it has read enough. `handshakes`: sockets whose
    /// bytes may be a step of a handshake may be read, too.
    pub fn next_read(&mut self, handshakes: bool) -> Option<ReadGrant> {
        loop {
            let turn = TurnState {
                is_full: self.turn_is_full(),
                untrusted_spent: self.untrusted_are_served(),
                untrusted_decoded: self.untrusted_bytes(),
            };
            let connections = &self.connections;
            let grant = self.scheduler.next(turn, |id| {
                handshakes || connections.by_id(id).is_none_or(|connection| !connection.flags.handshaking)
            })?;
            if let Some(slot) = self.connections.slot(grant.id) {
                self.connections[slot].flags.read = false;
                return Some(grant);
            }
        }
    }

    /// Whether what the connection's socket has next may be a step of a handshake.
    pub fn set_handshaking(&mut self, id: ConnectionId, handshaking: bool) {
        if let Some(slot) = self.connections.slot(id) {
            self.connections[slot].flags.handshaking = handshaking;
        }
    }

    /// A granted socket was read, `bytes` of it. `more`: there may be more to read now.
    pub fn read(&mut self, grant: ReadGrant, bytes: usize, more: bool) {
        self.scheduler.round.read[grant.class as usize] += bytes;
        let Some(slot) = self.connections.slot(grant.id) else { return };
        let connection = &mut self.connections[slot];
        if std::mem::replace(&mut connection.flags.readable, more) && !more {
            // A frame of which no more is there can be timed out.
            self.schedule(slot);
        }
        self.queue_read(slot);
    }

    /// Ends a turn's reads: deferred work that waited for them runs.
    pub fn end_reads(&mut self, now: Moment) {
        if std::mem::take(&mut self.scheduler.round.work_behind) {
            self.run_deferred(now);
        }
    }

    /// Puts a socket into the read queue that may be read and whose bytes are wanted.
    pub(super) fn queue_read(&mut self, slot: usize) {
        let id = self.connections.id(slot);
        let connection = &self.connections[slot];
        if connection.flags.readable && !connection.flags.read && self.wants_read(id) {
            let class = Class::of(connection.is_agency());
            self.connections[slot].flags.read = true;
            self.scheduler.reads.push(id, class);
        }
    }
}
