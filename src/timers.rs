//! Monotonic time as a value, and one heap of deadlines.
//!
//! Nothing here reads a clock: whoever runs the loop says what time it is, which a simulation can do too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::time::Duration;

/// A point in monotonic time: nanoseconds since an origin that the loop chose, which is its default.
///
/// Counted from one, so that an `Option` of it takes no more room, in each of ten thousand connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// So long after the origin.
    pub fn after_origin(elapsed: Duration) -> Moment {
        Moment::default() + elapsed
    }

    /// From here to `later`; zero where that is not later.
    pub fn until(self, later: Moment) -> Duration {
        Duration::from_nanos(later.0.get().saturating_sub(self.0.get()))
    }
}

impl Default for Moment {
    fn default() -> Moment {
        Moment(NonZeroU64::MIN)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// How long a program has run, without the time in which it stood still: while it was stopped or its machine suspended,
/// while it had no processor, while its disk answered nothing. It read nothing in that time, so that its peers' silence
/// means nothing, and no time-out counts it.
///
/// Its owner reads a monotonic clock, and says after each step how long that step should have taken.
#[derive(Clone, Copy, Debug)]
pub struct RunningTime {
    /// What a step may take beyond its time before that is a stall.
    stall: Duration,
    discounted: Duration,
    /// What the owner's clock said at the last call of [`account`](Self::account).
    accounted: Duration,
}

impl RunningTime {
    /// No time has passed. What a step takes beyond its time and `stall` is discounted.
    pub fn new(stall: Duration) -> RunningTime {
        RunningTime { stall, discounted: Duration::ZERO, accounted: Duration::ZERO }
    }

    /// The time when the owner's clock says `elapsed`.
    pub fn at(&self, elapsed: Duration) -> Moment {
        Moment::after_origin(elapsed.saturating_sub(self.discounted))
    }

    /// The owner's clock says `elapsed`; returns the time. What happened since the last call should have taken `expected`
    /// at most. Of what it took beyond that as much counts as is no stall, and the rest is discounted: a program whose
    /// every step stalls still has a time that passes.
    pub fn account(&mut self, elapsed: Duration, expected: Duration) -> Moment {
        let excess = elapsed.saturating_sub(self.accounted).saturating_sub(expected);
        self.discounted += excess.saturating_sub(self.stall);
        self.accounted = elapsed;
        self.at(elapsed)
    }
}

/// Deadlines of things known by a key `K`.
///
/// An entry is a reminder to look, not a verdict: a deadline that has moved on is looked at again when its
/// old entry comes up, and an entry whose key has been reused finds a deadline that is not due. That makes
/// moving a deadline further away, which every received byte does, free.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Moment, K)>>,
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// None yet, with room for so many.
    pub fn with_capacity(reminders: usize) -> Timers<K> {
        Timers { heap: BinaryHeap::with_capacity(reminders) }
    }

    /// Asks to be reminded of `key` at `at`.
    pub fn remind(&mut self, key: K, at: Moment) {
        self.heap.push(Reverse((at, key)));
    }

    /// When the next reminder is due.
    pub fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one reminder that is due by `now`.
    pub fn take_due(&mut self, now: Moment) -> Option<(Moment, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Forgets the reminders for which `wanted` says no.
    pub fn retain(&mut self, mut wanted: impl FnMut(Moment, K) -> bool) {
        self.heap.retain(|Reverse((at, key))| wanted(*at, *key));
    }

    /// How many reminders there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_takes_beyond_its_time_is_discounted_once() {
        let (seconds, stall) = (Duration::from_secs, Duration::from_millis(100));
        let mut time = RunningTime::new(stall);
        time.account(seconds(3), seconds(3));
        assert_eq!(time.at(seconds(3)), Moment::after_origin(seconds(3)), "a wait that was asked for");
        time.account(seconds(3) + stall / 2, Duration::ZERO);
        assert_eq!(time.at(seconds(4)), Moment::after_origin(seconds(4)), "a moment is nothing to discount");
        let now = time.account(seconds(10), seconds(1));
        assert_eq!(now, Moment::after_origin(seconds(4) + stall / 2 + stall), "stopped while it waited");
        assert_eq!(time.account(seconds(10), Duration::ZERO), now);
        for step in 1..=10 {
            time.account(seconds(10 + step), Duration::ZERO);
        }
        assert_eq!(time.at(seconds(20)), now + 10 * stall, "time passes though every step stalls");
    }

    #[test]
    fn reminders_come_in_the_order_of_time_and_not_early() {
        let at = |seconds| Moment::after_origin(Duration::from_secs(seconds));
        let mut timers = Timers::default();
        timers.remind('b', at(2));
        timers.remind('a', at(1));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.take_due(Moment::default()), None);
        assert_eq!(timers.take_due(at(5)), Some((at(1), 'a')));
        assert_eq!(timers.take_due(at(5)), Some((at(2), 'b')));
        assert_eq!(timers.take_due(at(5)), None);
        timers.remind('d', at(4));
        timers.remind('c', at(3));
        timers.retain(|when, key| when == at(4) && key == 'd');
        assert_eq!((timers.len(), timers.next()), (1, Some(at(4))));
        assert_eq!(at(1).until(at(3)), Duration::from_secs(2));
        assert_eq!(at(3).until(at(1)), Duration::ZERO);
    }
}
