//! The progress bar on a terminal, beside the log.
//!
//! The bar has no colours, so that `NO_COLOR` needs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::terminal::Terminal;
use crate::logging::grouped;

/// How often the bar is drawn at most, per second.
const DRAWS_A_SECOND: u8 = 10;
/// The bar's width in columns, if the terminal has room for it.
const BAR_COLUMNS: usize = 32;
/// A bar with fewer columns says too little; then it is left out.
const BAR_COLUMNS_MIN: usize = 8;

/// The progress of an upload, drawn on standard error if that is a terminal.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: Option<Terminal>,
    /// Whether there is no connection now.
    offline: Arc<AtomicBool>,
}

impl Progress {
    /// A bar that is not shown yet.
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), terminal: Terminal::stderr(), offline: Arc::default() }
    }

    /// Shows the bar.
    pub fn show(&self, agency: u32) {
        let Some(terminal) = self.terminal.clone() else { return };
        let (screen, offline) = (terminal.clone(), Arc::clone(&self.offline));
        let style = ProgressStyle::with_template("{line}").expect("the template is well-formed");
        let style = style.with_key("line", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // Some terminals break the line after its last column.
            let columns = usize::from(screen.width()).saturating_sub(1);
            let rate = (!offline.load(Ordering::Relaxed)).then(|| (state.per_sec(), state.eta()));
            let _ = out.write_str(&picture(columns, agency, state.pos(), state.len().unwrap_or(0), rate));
        });
        self.bar.set_style(style);
        self.bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(Box::new(terminal), DRAWS_A_SECOND));
    }

    /// Whether there is a terminal for the bar.
    pub fn has_terminal(&self) -> bool {
        self.terminal.is_some()
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

    /// Shows whether there is a connection. The time without one does not count for the rate.
    pub fn set_online(&self, online: bool) {
        if self.offline.swap(!online, Ordering::Relaxed) == online {
            self.bar.reset_eta();
            self.bar.tick();
        }
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

/// The bar and as many of its numbers as fit into `columns`. `rate` is bets per second and the time left; `None` without
/// a connection.
fn picture(columns: usize, agency: u32, bets: u64, all: u64, rate: Option<(f64, Duration)>) -> String {
    let share =
        |of: usize| usize::try_from(u128::from(bets) * of as u128 / u128::from(all.max(1))).unwrap_or(of).min(of);
    let mut texts = vec![format!("agency {agency}"), format!("{:>3}%", share(100)), format!("{} bets", grouped(bets))];
    match rate {
        Some((rate, left)) => {
            texts.extend([format!("{}/s", grouped(whole(rate))), format!("{} left", time_left(left))]);
        }
        None => texts.push("no connection".to_owned()),
    }
    let width = |texts: &[String]| texts.iter().map(|text| text.chars().count() + 2).sum::<usize>().saturating_sub(2);
    let room = |texts: &[String]| columns.saturating_sub(width(texts) + 2);
    while texts.len() > 2 && room(&texts) < BAR_COLUMNS_MIN {
        texts.pop();
    }
    let room = room(&texts).min(BAR_COLUMNS);
    if room >= BAR_COLUMNS_MIN {
        texts[1] = format!("{} {}", bar(share(room), room), texts[1]);
    }
    while texts.len() > 1 && width(&texts) > columns {
        // The share says more than the agency's number.
        texts.remove(0);
    }
    texts.join("  ").chars().take(columns).collect()
}

/// A bar of `columns`, of which `filled` are full.
fn bar(filled: usize, columns: usize) -> String {
    let head = if filled < columns { "╸" } else { "" };
    format!("{}{head}{}", "━".repeat(filled), "─".repeat(columns.saturating_sub(filled + 1)))
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
    fn rates_and_times_for_people() {
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

    #[test]
    fn the_picture_fits_any_width_and_says_the_most_important_first() {
        let rate = Some((12_345.0, Duration::from_secs(90)));
        for (columns, rate, expected) in [
            (200, rate, "agency 3  ━━━━━━━━━━━━━━━━╸───────────────  50%  1,000 bets  12,345/s  1m30s left"),
            (55, rate, "agency 3  ━━━━━━━━╸─────────  50%  1,000 bets  12,345/s"),
            (39, rate, "agency 3  ━━━━━━━╸────────  50%  1,000 bets"),
            (39, None, "agency 3  ━━━━━━━╸────────  50%  1,000 bets"),
            (70, None, "agency 3  ━━━━━━━━━━━━━╸──────────────  50%  1,000 bets  no connection"),
            (24, rate, "agency 3  ━━━━╸───  50%"),
            (19, rate, "agency 3   50%"),
            (10, rate, " 50%"),
            (3, rate, " 50"),
        ] {
            let shown = picture(columns, 3, 1000, 2000, rate);
            assert!(shown.chars().count() <= columns, "{columns}: {shown}");
            if columns == 200 || columns <= 24 {
                assert_eq!(shown, expected, "{columns}");
            } else {
                assert_eq!(shown.replace(['━', '╸', '─'], ""), expected.replace(['━', '╸', '─'], ""), "{columns}");
            }
        }
        for columns in 0..120 {
            for (agency, bets, all) in [(1, 0, 0), (u32::MAX, u64::MAX, u64::MAX), (5, 10, 10)] {
                for rate in [rate, None, Some((f64::MAX, Duration::MAX))] {
                    let shown = picture(columns, agency, bets, all, rate);
                    assert!(shown.chars().count() <= columns, "{columns}: {shown}");
                    assert!(columns < 19 || shown.contains('%'), "{columns}: {shown}");
                }
            }
        }
    }
}
