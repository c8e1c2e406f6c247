//! The only clock: monotonic time since the program began, without the time in which the hub itself stood still.

use std::time::{Duration, Instant};

use crate::limits;
use crate::timers::{Moment, RunningTime};

/// Reads monotonic time; a wall clock that jumps does not matter to it.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    time: RunningTime,
}

impl Clock {
    /// Time begins now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now(), time: RunningTime::new(limits::STALL) }
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        self.time.at(self.origin.elapsed())
    }

    /// The time since the program began, by a clock that does not stop for stalls.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The same at the last call of [`account`](Self::account): no further look at the clock.
    pub fn accounted(&self) -> Duration {
        self.time.accounted()
    }

    /// What time it is, where what the loop did since the last call should have taken `expected` at most: see
    /// [`RunningTime::account`]. Between a look at the clock and another one the program may be stopped, so that what is
    /// judged by the time goes by this one.
    pub fn account(&mut self, expected: Duration) -> Moment {
        self.time.account(self.origin.elapsed(), expected)
    }

    /// From now to `moment`, rounded up: a poll that wakes too early would only be asked to wait again.
    pub fn until(&self, moment: Moment) -> Duration {
        let rest = self.now().until(moment);
        if rest.is_zero() { rest } else { rest + Duration::from_millis(1) }
    }
}
