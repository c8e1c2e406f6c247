//! Monotonic time as a value, and one heap of deadlines.
//!
//! Nothing here reads a clock: the caller passes the time, so that a simulation can choose it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::time::Duration;

/// A point in monotonic time: nanoseconds since an origin that the loop chose, which is its default.
///
/// Counted from one, so that an `Option` of it needs no extra memory in each of ten thousand connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// The point that is `elapsed` after the origin.
    pub fn after_origin(elapsed: Duration) -> Moment {
        Moment::default() + elapsed
    }

    /// The time from this moment to `later`; zero if `later` is not later.
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

/// How long a program has run, without its stalls: while it was stopped or its machine suspended, while it had no
/// processor, while its disk did not respond. The program did not read its peers in that time, so that no time-out may
/// count it.
///
/// The owner reads a monotonic clock, and reports after each step how long that step should have taken.
#[derive(Clone, Copy, Debug)]
pub struct RunningTime {
    /// By how much a step may exceed its expected time before that is a stall.
    stall: Duration,
    discounted: Duration,
    /// The owner's clock at the last call of [`account`](Self::account).
    accounted: Duration,
}

impl RunningTime {
    /// No time has passed. The time by which a step exceeds its expected time and `stall` is discounted.
    pub fn new(stall: Duration) -> RunningTime {
        RunningTime { stall, discounted: Duration::ZERO, accounted: Duration::ZERO }
    }

    /// The running time when the owner's clock reads `elapsed`.
    pub fn at(&self, elapsed: Duration) -> Moment {
        Moment::after_origin(elapsed.saturating_sub(self.discounted))
    }

    /// What the owner's clock read at the last call of [`account`](Self::account).
    pub fn accounted(&self) -> Duration {
        self.accounted
    }

    /// Ends a step when the owner's clock reads `elapsed`, and returns the running time. The step should have taken
    /// `expected` at most. Of the excess, as much as is no stall counts, and the rest is discounted: running time advances
    /// even if every step stalls.
    pub fn account(&mut self, elapsed: Duration, expected: Duration) -> Moment {
        let excess = elapsed.saturating_sub(self.accounted).saturating_sub(expected);
        self.discounted += excess.saturating_sub(self.stall);
        self.accounted = elapsed;
        self.at(elapsed)
    }
}

/// Reminders of deadlines, by a key `K`.
///
/// A reminder makes its owner check a deadline and decides nothing: the deadline may have moved, or the key may have been
/// reused. So a deadline that moves further away, as it does with every received byte, costs nothing.
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
    /// No reminders, with capacity for `reminders`.
    pub fn with_capacity(reminders: usize) -> Timers<K> {
        Timers { heap: BinaryHeap::with_capacity(reminders) }
    }

    /// Adds a reminder of `key` at `at`.
    pub fn remind(&mut self, key: K, at: Moment) {
        self.heap.push(Reverse((at, key)));
    }

    /// When the next reminder is due.
    pub fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes and returns one reminder that is due by `now`.
    pub fn take_due(&mut self, now: Moment) -> Option<(Moment, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Removes the reminders for which `wanted` is false.
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
