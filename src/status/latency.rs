//! How long turns and commits take: percentiles for people, buckets for Prometheus.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::Latency;
use crate::limits;

/// The buckets' upper bounds, in microseconds: a commit is some 30 µs where it does not wait for its disk, some
/// milliseconds on a good one that it waits for, and a second on a bad one.
const BOUNDS: [u64; 15] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// Any number of durations, in memory that does not depend on it.
#[derive(Debug)]
pub struct Durations {
    /// In microseconds, to one in a hundred.
    samples: Histogram<u64>,
    /// How many are in each bucket, and above all bounds.
    buckets: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Default for Durations {
    fn default() -> Durations {
        let longest = u64::try_from(limits::LATENCY_MAX.as_micros()).unwrap_or(u64::MAX);
        let samples = Histogram::new_with_bounds(1, longest, 2).expect("the bounds are constants that it takes");
        Durations { samples, buckets: [0; BOUNDS.len() + 1], sum: Duration::ZERO }
    }
}

impl Durations {
    /// Notes one.
    pub fn note(&mut self, duration: Duration) {
        // A part of a microsecond is a whole one: what is in a bucket takes no longer than its bound.
        let micros = u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        self.samples.saturating_record(micros);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.samples.len()
    }

    /// All together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bucket's upper bound in seconds, and how many are in it and in none before; the last has no bound.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }

    /// For a person.
    pub fn report(&self) -> Latency {
        let at = |quantile| self.samples.value_at_quantile(quantile);
        Latency { count: self.count(), p50: at(0.5), p99: at(0.99), max: self.samples.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_buckets_of_known_durations() {
        let mut durations = Durations::default();
        assert_eq!(durations.report(), Latency::default());
        (1..=100).for_each(|millis| durations.note(Duration::from_millis(millis)));
        durations.note(Duration::from_nanos(50_001));
        let report = durations.report();
        assert_eq!(report.count, 101);
        assert!((49_500..=50_500).contains(&report.p50), "{report:?}");
        assert!((98_000..=100_000).contains(&report.p99), "{report:?}");
        assert!((99_000..=101_000).contains(&report.max), "{report:?}");
        let buckets = durations.buckets();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 101);
        assert_eq!(buckets[..6], [(5e-5, 0), (1e-4, 1), (2.5e-4, 0), (5e-4, 0), (1e-3, 1), (2.5e-3, 1)]);
        assert_eq!(buckets[9], (0.05, 25), "what takes exactly as long as the bound is in the bucket");
        assert_eq!(durations.sum(), Duration::from_nanos(5_050_050_001));
        durations.note(Duration::MAX);
        assert_eq!(durations.buckets()[15], (f64::INFINITY, 1));
    }
}
