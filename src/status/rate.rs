//! How many of something there are per second.

use std::time::Duration;

/// How many seconds are looked back on, the one that has not ended included.
const SECONDS: usize = 5;

/// Counts of the last five seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// By second, modulo their number.
    counts: [u64; SECONDS],
    /// The second of the last count.
    second: u64,
}

impl Rate {
    /// `count` more at `now`, the time since the start.
    pub fn add(&mut self, now: Duration, count: u64) {
        let second = now.as_secs();
        if second > self.second {
            let passed = (second - self.second).min(SECONDS as u64);
            (0..passed).for_each(|ago| self.counts[slot(second - ago)] = 0);
            self.second = second;
        }
        self.counts[slot(self.second)] += count;
    }

    /// The mean of the last seconds, at `now`: of those since the start, where these are fewer, and of one at least.
    pub fn per_second(&self, now: Duration) -> f64 {
        let oldest = (now.as_secs() + 1).saturating_sub(SECONDS as u64);
        let kept = (self.second + 1).saturating_sub(SECONDS as u64);
        let sum: u64 = (oldest.max(kept)..=self.second).map(|second| self.counts[slot(second)]).sum();
        let time = now.saturating_sub(Duration::from_secs(oldest)).max(Duration::from_secs(1));
        sum as f64 / time.as_secs_f64()
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_five_seconds_counts_no_longer() {
        let at = Duration::from_secs_f64;
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0.0)).to_bits(), 0f64.to_bits());
        rate.add(at(0.2), 10);
        assert!((rate.per_second(at(0.5)) - 10.0).abs() < 1e-9, "half a second counts as one");
        rate.add(at(1.0), 10);
        assert!((rate.per_second(at(2.0)) - 10.0).abs() < 1e-9);
        rate.add(at(4.0), 5);
        assert!((rate.per_second(at(5.0)) - 15.0 / 4.0).abs() < 1e-9, "the first second is over");
        rate.add(at(7.0), 1);
        assert!((rate.per_second(at(7.5)) - 6.0 / 4.5).abs() < 1e-9);
        assert!((rate.per_second(at(11.0)) - 1.0 / 4.0).abs() < 1e-9);
        assert_eq!(rate.per_second(at(60.0)).to_bits(), 0f64.to_bits());
        rate.add(at(100.0), 8);
        assert!((rate.per_second(at(101.0)) - 2.0).abs() < 1e-9, "nothing is left of the seconds before");
    }
}
