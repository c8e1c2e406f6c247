//! Until when everything that had arrived was accepted and read, and every socket that had room was written to. Deadlines
//! are judged by that moment, not by the clock: a peer whose bytes wait in the kernel has not been silent, and a peer that
//! has made room has read.

use crate::mutants::{self, Mutant};
use crate::timers::Moment;

/// The input watermark: everything that had arrived by it was accepted and read, and room that peers had made was used.
///
/// It rises by rounds. A round begins with a poll, which notes all that had arrived by the moment before it. The round then
/// writes to every socket that takes more, accepts as many connections as the kernel can have had in its queue, reads every
/// socket in the read queue, and raises the watermark to the moment at which it began. A quiet hub does all of that
/// in one turn.
#[derive(Debug)]
pub struct InputWatermark {
    at: Moment,
    round: Option<Round>,
    /// How many connections wait to be accepted, at most.
    backlog: usize,
}

/// A round under way.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Moment,
    /// Connections that may have waited to be accepted when it began.
    unaccepted: usize,
    /// Sockets at the head of each read queue that are still to be read; `None` until all connections are accepted.
    unread: Option<[usize; 2]>,
    /// Sockets that take more may not have been written to.
    unwritten: bool,
}

impl InputWatermark {
    /// Nothing has arrived before `now`. The kernel queues `backlog` connections at most.
    pub fn new(backlog: usize, now: Moment) -> InputWatermark {
        InputWatermark { at: now, round: None, backlog }
    }

    /// The kernel queues `backlog` connections at most.
    pub fn set_backlog(&mut self, backlog: usize) {
        self.backlog = backlog;
    }

    /// The moment by which deadlines are judged.
    pub fn at(&self) -> Moment {
        self.at
    }

    /// A poll reported everything that had arrived by `before`, the moment at which it began. That holds for one that was
    /// interrupted, too (a program that is stopped and continued): it returns so only where nothing was ready when it
    /// began. What arrived while it waited, and while the program was stopped, is reported by the next poll.
    pub fn polled(&mut self, before: Moment) {
        let unaccepted = if mutants::is(Mutant::JudgeUnaccepted) { 0 } else { self.backlog };
        let unwritten = !mutants::is(Mutant::JudgeUnwritten);
        self.round.get_or_insert(Round { began: before, unaccepted, unread: None, unwritten });
    }

    /// Every socket was written to that takes more, as the last poll reported.
    pub fn writes_tried(&mut self) {
        if let Some(round) = &mut self.round {
            round.unwritten = false;
        }
        self.settle();
    }

    /// A connection was taken from the kernel's queue.
    pub fn accepted(&mut self) {
        if let Some(round) = &mut self.round {
            round.unaccepted = round.unaccepted.saturating_sub(1);
        }
    }

    /// No connection waits to be accepted, or none can be.
    pub fn none_to_accept(&mut self) {
        if let Some(round) = &mut self.round {
            round.unaccepted = 0;
        }
    }

    /// So many sockets are in each read queue before a turn reads.
    pub fn queued(&mut self, sockets: [usize; 2]) {
        if let Some(round) = &mut self.round
            && round.unaccepted == 0
            && (round.unread.is_none() || mutants::is(Mutant::JudgeUnread))
        {
            round.unread = Some(sockets);
        }
        self.settle();
    }

    /// The socket at the head of read queue `queue` was read.
    pub fn read(&mut self, queue: usize) {
        if let Some(Round { unread: Some(unread), .. }) = &mut self.round {
            unread[queue] = unread[queue].saturating_sub(1);
        }
        self.settle();
    }

    fn settle(&mut self) {
        let judged_early = mutants::is(Mutant::JudgeUnread);
        if let Some(Round { began, unread: Some(unread), unwritten: false, .. }) = self.round
            && (unread == [0, 0] || judged_early)
        {
            self.at = began;
            self.round = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn a_quiet_turn_raises_it_to_the_moment_before_its_poll() {
        let mut watermark = InputWatermark::new(6, at(0));
        watermark.polled(at(1));
        watermark.none_to_accept();
        watermark.queued([0, 0]);
        assert_eq!(watermark.at(), at(0), "a peer may have made room");
        watermark.writes_tried();
        assert_eq!(watermark.at(), at(1));
        watermark.polled(at(2));
        watermark.writes_tried();
        watermark.none_to_accept();
        watermark.queued([0, 0]);
        assert_eq!(watermark.at(), at(2));
    }

    #[test]
    fn a_connection_that_waits_is_accepted_and_read_first() {
        let mut watermark = InputWatermark::new(2, at(0));
        watermark.polled(at(1));
        watermark.writes_tried();
        watermark.accepted();
        watermark.queued([0, 1]);
        watermark.read(1);
        assert_eq!(watermark.at(), at(0), "a second connection may wait");
        watermark.polled(at(2));
        watermark.accepted();
        watermark.queued([1, 1]);
        watermark.read(0);
        assert_eq!(watermark.at(), at(0), "the second connection is still to be read");
        watermark.read(1);
        assert_eq!(watermark.at(), at(1), "what came after the first poll is the next round's");
        watermark.polled(at(3));
        watermark.writes_tried();
        watermark.none_to_accept();
        watermark.queued([0, 0]);
        assert_eq!(watermark.at(), at(3));
    }
}
