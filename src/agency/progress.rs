//! The progress bar on a terminal, beside the log.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::terminal::Terminal;

/// How often the bar is drawn at most, per second.
const DRAWS_A_SECOND: u8 = 10;
const TEMPLATE: &str = "{prefix} {bar:32} {percent:>3}%  {bets} bets  {rate}  {left}";

/// The progress of an upload, drawn on standard error if that is a terminal.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: Option<Terminal>,
}

impl Progress {
    /// A bar that is not shown yet.
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), terminal: Terminal::stderr() }
    }

    /// Shows the bar.
    pub fn show(&self, agency: u32) {
        let Some(terminal) = self.terminal.clone() else { return };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        let style = style
            .progress_chars("━╸─")
            .with_key("bets", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&grouped(state.pos()));
            })
            .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}/s", grouped(whole(state.per_sec())));
            })
            .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{} left", time_left(state.eta()));
            });
        self.bar.set_style(style);
        self.bar.set_prefix(format!("agency {agency}"));
        self.bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(Box::new(terminal), DRAWS_A_SECOND));
    }

    /// Updates the bar: `bets` are stored, the share `position` of `extent`.
    pub fn update(&self, bets: u64, position: u64, extent: u64) {
        // The number of bets is not known before the last; it is estimated from the share of the file.
        let all = if position == 0 { 0 } else { u128::from(bets) * u128::from(extent) / u128::from(position) };
        self.bar.set_length(u64::try_from(all).unwrap_or(u64::MAX).max(bets));
        self.bar.set_position(bets);
    }

    /// As [`update`](Self::update), but the bets of an earlier run do not count for the rate.
    pub fn resume(&self, bets: u64, position: u64, extent: u64) {
        self.update(bets, position, extent);
        self.bar.reset_eta();
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Calls `write`, which writes log lines, while the bar is hidden.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Writes what the terminal did not take before.
    pub fn catch_up(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.catch_up();
        }
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn whole(rate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate that is shown, rounded")]
    let rounded = rate.max(0.0).round() as u64;
    rounded
}

/// Whole seconds, as `5s`, `1m30s` or `2h5m`.
fn time_left(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (90, "1m30s"), (7500, "2h5m")] {
            assert_eq!(time_left(Duration::from_secs(seconds)), text);
        }
        assert_eq!((whole(-1.0), whole(f64::NAN), whole(2.6)), (0, 0, 3));
    }

    #[test]
    fn all_bets_are_told_from_the_part_of_the_file() {
        let progress = Progress::hidden();
        progress.update(100, 250, 1000);
        assert_eq!((progress.bar.position(), progress.bar.length()), (100, Some(400)));
        progress.update(400, 1000, 1000);
        assert_eq!((progress.bar.position(), progress.bar.length()), (400, Some(400)));
        progress.update(7, 0, 0);
        assert_eq!(progress.bar.length(), Some(7), "a file of unknown size");
    }
}
