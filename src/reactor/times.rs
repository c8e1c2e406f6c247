//! How long the parts of a turn take, with as few looks at the clock as possible.

use std::time::Duration;

use super::status::Traffic;
use crate::status::facts::TurnTimes;

/// The turn under way: when its parts began, since the start of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TurnMarks {
    waited_from: Duration,
    began: Duration,
    commit_from: Duration,
    release_from: Duration,
    /// Whether decoding is measured.
    traced: bool,
    decode: Duration,
    /// As of the turn's beginning.
    traffic: Traffic,
    group: u64,
}

impl TurnMarks {
    /// Before the first turn; `group` is the last committed one.
    pub(super) fn before_all(group: u64) -> TurnMarks {
        TurnMarks { group, ..TurnMarks::default() }
    }

    /// A poll that began at `waited_from` has returned at `now`.
    pub(super) fn begin(&mut self, waited_from: Duration, now: Duration) {
        (self.waited_from, self.began, self.decode) = (waited_from, now, Duration::ZERO);
    }

    /// Whether decoding is measured from here on.
    pub(super) fn set_traced(&mut self, traced: bool) {
        self.traced = traced;
    }

    /// Whether decoding is measured.
    pub(super) fn is_traced(&self) -> bool {
        self.traced
    }

    /// Decoding took so long.
    pub(super) fn decoded(&mut self, took: Duration) {
        self.decode += took;
    }

    /// Everything is read that this turn reads.
    pub(super) fn commits(&mut self, now: Duration) {
        self.commit_from = now;
    }

    /// The commit has ended.
    pub(super) fn releases(&mut self, now: Duration) {
        self.release_from = now;
    }

    /// The turn has ended: `traffic` and the last committed `group` are as they say. Whether it did anything for agencies.
    pub(super) fn did_something(&self, traffic: Traffic, group: u64) -> bool {
        traffic != self.traffic || group != self.group
    }

    /// What the turn took, which has ended `now`.
    pub(super) fn end(&mut self, traffic: Traffic, group: u64, now: Duration) -> TurnTimes {
        let times = TurnTimes {
            began: self.began,
            poll: self.began.saturating_sub(self.waited_from),
            read: self.commit_from.saturating_sub(self.began),
            decode: self.decode,
            commit: self.release_from.saturating_sub(self.commit_from),
            release: now.saturating_sub(self.release_from),
            committed: group != self.group,
        };
        (self.traffic, self.group) = (traffic, group);
        times
    }
}
