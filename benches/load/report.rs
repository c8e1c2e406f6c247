//! What a run measured, for people and for the runner.

use std::fmt::Write;
use std::time::Duration;

use crate::options::Options;
use crate::process::Usage;

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Batches and bets sent, all of them answered.
    pub batches: u64,
    /// Bets in them.
    pub bets: u64,
    /// Their bytes on the wire.
    pub frame_bytes: u64,
    /// Their bytes in `bets.csv`.
    pub row_bytes: u64,
    /// From the first byte sent to the last answer.
    pub elapsed: Duration,
    /// Median and 99th percentile of the time from a batch's sending to its answer; `None` where batches
    /// are not answered one by one.
    pub latency: Option<(Duration, Duration)>,
    /// From the first finish to the last agency's winners.
    pub draw: Option<Duration>,
    /// How many winners there were in all.
    pub winners: u64,
    /// This process.
    pub own_cpu: Duration,
    /// The process asked for: before the load, after it, and with the idle connections open.
    pub server: Option<(Usage, Usage, Usage)>,
}

impl Outcome {
    /// Million bets a second.
    pub fn rate(&self) -> f64 {
        self.bets as f64 / self.elapsed.as_secs_f64() / 1e6
    }

    fn per_bet(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e9 / self.bets as f64
    }

    /// Every figure with its name and unit, in the order in which it is printed.
    fn figures(&self, options: &Options) -> Vec<(&'static str, String)> {
        let micros = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6);
        let mut figures = vec![
            ("batches", self.batches.to_string()),
            ("bets", self.bets.to_string()),
            ("frame_bytes", self.frame_bytes.to_string()),
            ("row_bytes", self.row_bytes.to_string()),
            ("seconds", format!("{:.4}", self.elapsed.as_secs_f64())),
            ("million_bets_per_second", format!("{:.4}", self.rate())),
        ];
        if let Some((median, p99)) = self.latency {
            figures.push(("ack_p50_us", micros(median)));
            figures.push(("ack_p99_us", micros(p99)));
        }
        figures.push(("load_cpu_ns_per_bet", format!("{:.2}", self.per_bet(self.own_cpu))));
        if let Some((before, after, idle)) = self.server {
            let user = self.per_bet(after.user.saturating_sub(before.user));
            let system = self.per_bet(after.system.saturating_sub(before.system));
            figures.push(("server_cpu_ns_per_bet", format!("{:.2}", user + system)));
            figures.push(("server_user_ns_per_bet", format!("{user:.2}")));
            figures.push(("server_system_ns_per_bet", format!("{system:.2}")));
            figures.push(("server_resident_kib_before", before.resident_kib.to_string()));
            figures.push(("server_resident_kib", after.resident_kib.to_string()));
            figures.push(("server_peak_kib", after.peak_kib.to_string()));
            if options.idle > 0 {
                let grown = idle.own_kib.saturating_sub(after.own_kib) * 1024;
                figures.push(("idle_bytes_per_connection", format!("{:.1}", grown as f64 / options.idle as f64)));
            }
        }
        if let Some(draw) = self.draw {
            figures.push(("draw_ms", format!("{:.3}", draw.as_secs_f64() * 1e3)));
            figures.push(("winners", self.winners.to_string()));
        }
        figures
    }

    /// One line of JSON, or a line for each figure.
    pub fn text(&self, options: &Options) -> String {
        let mut text = String::new();
        for (name, value) in self.figures(options) {
            let done = if options.json {
                write!(text, "{}\"{name}\": {value}", if text.is_empty() { "" } else { ", " })
            } else {
                writeln!(text, "{:<28}{value}", name.replace('_', " "))
            };
            done.expect("a String takes every byte");
        }
        if options.json { format!("{{\"protocol\": \"{}\", {text}}}", options.protocol.name()) } else { text }
    }
}
