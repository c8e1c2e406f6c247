//! The only clock: monotonic time since the program began, without the time in which the hub itself stood still.

use std::time::{Duration, Instant};

use crate::limits;
use crate::timers::Moment;

/// Reads monotonic time; a wall clock that jumps does not matter to it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Time begins now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        Moment::after_origin(self.origin.elapsed())
    }

    /// The hub stood still since `before`. If that was long, it did not happen: nobody could be heard, and nobody
    /// is timed out for it.
    pub fn forgive(&mut self, before: Moment) {
        let stood_still = before.until(self.now());
        if stood_still >= limits::STALL {
            self.origin += stood_still;
        }
    }

    /// From now to `moment`, rounded up: a poll that wakes too early would only be asked to wait again.
    pub fn until(&self, moment: Moment) -> Duration {
        let rest = self.now().until(moment);
        if rest.is_zero() { rest } else { rest + Duration::from_millis(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_the_hub_stood_still_does_not_count() {
        let mut clock = Clock::start();
        let hour = Duration::from_secs(3600);
        clock.origin -= hour;
        let before = clock.now();
        clock.forgive(before);
        assert!(clock.now() >= before, "a moment is nothing to forgive");
        clock.origin -= hour;
        clock.forgive(before);
        assert!(clock.now() >= before && before.until(clock.now()) < hour / 2);
    }
}
