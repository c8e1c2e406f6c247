//! Which agencies are here, as the engine is told with each survey, and whether those that are at no instance may be excluded.
//!
//! No instance knows alone which agencies are here. Each one renews the lease of its own, `loteria.agencies.seen`, and any of them
//! may exclude an agency whose lease is older than `LOSS_GRACE` by the engine's clock. After an outage of the engine all leases are
//! old, although no agency is lost. So an instance excludes only where its surveys were committed without a gap for as long: the
//! others could renew theirs in that time.

use std::time::Duration;

use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};

/// The engine's clock, in milliseconds since 1970.
type EngineTime = i64;

/// What this instance renews and may exclude.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The agencies that are here and have not finished, as of the last survey.
    pub here: Vec<AgencyId>,
    /// When the first and the last of the surveys were begun that were committed on this connection without a gap.
    steady: Option<(EngineTime, EngineTime)>,
}

impl Leases {
    /// There is another connection, perhaps to another leader with another clock.
    pub fn begin_epoch(&mut self) {
        self.steady = None;
    }

    /// A survey is committed that was begun then.
    pub fn note_survey(&mut self, at: EngineTime) {
        let follows = |last| (last..=last + millis(limits::ENGINE_LEASE_GAP)).contains(&at);
        let first = self.steady.filter(|(_, last)| follows(*last)).map_or(at, |(first, _)| first);
        self.steady = Some((first, at));
    }

    /// Before which moment the next survey has to begin in order to exclude; 0: it must not exclude.
    pub fn exclude_before(&self, grace: Option<Duration>) -> EngineTime {
        match (grace, self.steady) {
            (Some(_), _) if mutants::is(Mutant::ExcludeAfterOutage) => EngineTime::MAX,
            (Some(grace), Some((first, last))) if last - first >= millis(grace) => {
                last + millis(limits::ENGINE_LEASE_GAP)
            }
            _ => 0,
        }
    }
}

/// A duration as the engine's statements have it.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    /// The leases after surveys at these seconds.
    fn after(seconds: impl IntoIterator<Item = i64>) -> Leases {
        let mut leases = Leases::default();
        seconds.into_iter().for_each(|second| leases.note_survey(second * 1000));
        leases
    }

    #[test]
    fn an_instance_excludes_when_it_was_connected_for_the_whole_grace() {
        assert_eq!(after(100..160).exclude_before(Some(GRACE)), 0);
        assert_eq!(after(100..=160).exclude_before(Some(GRACE)), 170_000);
        assert_eq!(after(100..=160).exclude_before(None), 0, "ON_AGENCY_LOSS = wait");
        assert_eq!(after([]).exclude_before(Some(GRACE)), 0);
    }

    #[test]
    fn a_gap_a_clock_that_goes_back_and_another_connection_begin_anew() {
        assert_eq!(after((100..140).chain(151..=200)).exclude_before(Some(GRACE)), 0);
        assert_eq!(after((100..140).chain(149..=160)).exclude_before(Some(GRACE)), 170_000, "a short one does not");
        assert_eq!(after((100..=160).chain([159])).exclude_before(Some(GRACE)), 0);
        let mut leases = after(100..=160);
        leases.begin_epoch();
        assert_eq!(leases.exclude_before(Some(GRACE)), 0);
    }
}
