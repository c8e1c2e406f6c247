//! How far an upload has come, and when to say so.

use std::time::Duration;

use crate::timers::Moment;
use crate::wire::Dialect;

/// How often the log says what goes on, in uploads without a progress bar and while the draw is awaited.
const EVERY: Duration = Duration::from_secs(10);

/// Times at which the log says what goes on.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Moment,
    next: Moment,
}

impl Pace {
    /// The first time is [`EVERY`] from now.
    pub fn new(now: Moment) -> Pace {
        Pace { since: now, next: now + EVERY }
    }

    /// The next time.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Whether it is time; if so, the next time is [`EVERY`] later. Returns how long it has been since the start.
    pub fn due(&mut self, now: Moment) -> Option<Duration> {
        if now < self.next {
            return None;
        }
        self.next = now + EVERY;
        Some(self.waited(now))
    }

    /// How long it has been since the start, in whole seconds: the tens of them, although a wait ends a little late.
    pub fn waited(&self, now: Moment) -> Duration {
        Duration::from_secs(self.since.until(now).as_secs())
    }
}

/// What is stored of an upload, or, in dialects without acknowledgements, sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// All of the agency's bets that are stored.
    pub bets: u64,
    /// Those of them that this run did not send.
    pub found: u64,
    /// How much of the source's extent they cover, and the extent, which is 0 if it is not known.
    pub part: (u64, u64),
    /// Whether every bet is stored, or sent.
    pub all: bool,
    /// Whether the hub has stored the finish.
    pub finished: bool,
    /// How many more bets were sent, and may be stored: the reply did not come.
    pub in_doubt: u64,
    /// The bets at the last line about the progress, and its time.
    told: (u64, Moment),
}

impl Tally {
    /// Nothing is stored yet of a source of this extent.
    pub fn new(extent: u64) -> Tally {
        Tally { part: (0, extent), ..Tally::default() }
    }

    /// Counts `bets` more, up to `position` of `extent`.
    pub fn add(&mut self, bets: u64, position: u64, extent: u64) {
        self.bets += bets;
        self.part = (position, extent);
    }

    /// The hub has `bets` in all.
    pub fn resume(&mut self, bets: u64, position: u64, extent: u64) {
        self.found += bets.saturating_sub(self.bets);
        self.told.0 = bets;
        self.bets = bets;
        self.part = (position, extent);
    }

    /// The hub has none of the bets any more.
    pub fn forget(&mut self) {
        (self.bets, self.found, self.told.0, self.part.0, self.all, self.finished) = (0, 0, 0, 0, false, false);
    }

    /// The time before now does not count for the rate: there was no connection.
    pub fn restart(&mut self, now: Moment) {
        self.told = (self.bets, now);
    }

    /// Bets per second since the last call, or the last restart.
    pub fn rate(&mut self, now: Moment) -> u64 {
        let (bets, since) = std::mem::replace(&mut self.told, (self.bets, now));
        let milliseconds = since.until(now).as_millis().max(1);
        let more = u128::from(self.bets.saturating_sub(bets));
        u64::try_from((more * 1000 + milliseconds / 2) / milliseconds).unwrap_or(u64::MAX)
    }

    /// The part of the source, as `45%`, or `unknown` for a pipe.
    pub fn percent(&self) -> String {
        match self.part {
            _ if self.all => "100%".to_owned(),
            (_, 0) => "unknown".to_owned(),
            (position, extent) => format!("{}%", u128::from(position) * 100 / u128::from(extent)),
        }
    }

    /// What is stored, what remains, and what a new start does, of an upload in `dialect` that ended early; `failed` says
    /// whether there is something to correct first.
    pub fn remains(&self, dialect: Dialect, failed: bool) -> String {
        let rules = dialect.client_rules();
        let doubt = format!("{} are sent, and the hub may have stored them; the others remain", self.in_doubt);
        let what = match (self.all, rules.batches_answered || self.finished) {
            (false, _) if self.bets + self.in_doubt == 0 => "nothing is stored by this run yet",
            (false, _) if self.bets == 0 => &format!("the first {doubt}"),
            (true, true) => "every bet is stored, the winners remain",
            (true, false) => "every bet is sent, and the hub may not have stored all",
            (false, true) if self.in_doubt > 0 => &format!("these bets are stored, the next {doubt}"),
            (false, true) => "these bets are stored, the others remain",
            (false, false) => "these bets are sent, and the hub may not have stored all; the others remain",
        };
        let when = if failed { "when the error above is corrected, " } else { "" };
        match (rules.exactly_once, self.bets + self.in_doubt) {
            (true, _) => format!("{what}; {when}starting again goes on from here"),
            (false, 0) => format!("{what}; {when}starting again sends them"),
            (false, _) => {
                let name = dialect.name();
                format!("{what}; starting again would send all bets again, which {name} cannot tell from new ones")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ten_seconds_and_no_more_often() {
        let start = Moment::default();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut pace = Pace::new(start);
        let said: Vec<_> =
            (0..=42).filter_map(|step| pace.due(at(step * 1000 + 3)).map(|since| since.as_secs())).collect();
        assert_eq!(said, [10, 20, 30, 40]);
        assert_eq!(pace.next(), at(50_003));
    }

    #[test]
    fn an_outage_lowers_no_rate_and_found_bets_are_not_sent_ones() {
        let start = Moment::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut tally = Tally::default();
        tally.restart(at(0));
        tally.resume(1000, 10, 100);
        tally.add(500, 15, 100);
        assert_eq!((tally.rate(at(10)), tally.bets, tally.found), (50, 1500, 1000));
        tally.restart(at(1000));
        tally.add(500, 20, 100);
        assert_eq!((tally.rate(at(1010)), tally.percent().as_str()), (50, "20%"));
        tally.all = true;
        assert_eq!(tally.percent(), "100%");
        tally.forget();
        assert_eq!((tally.bets, tally.found, tally.percent().as_str()), (0, 0, "0%"));
        assert_eq!(Tally::default().percent(), "unknown");
    }
}
