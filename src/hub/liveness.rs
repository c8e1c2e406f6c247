//! Which agencies are connected, and which no connection has claimed.

use super::presence::Presence;
use super::rivals::Rivals;
use super::unnumbered::Unnumbered;
use crate::lottery::{AgencyId, Lottery};

/// Which agencies are connected, and which no connection has claimed.
#[derive(Debug)]
pub(super) struct Liveness {
    pub(super) presence: Presence,
    pub(super) unnumbered: Unnumbered,
    pub(super) rivals: Rivals,
}

impl Liveness {
    /// Without connections. An unnumbered connection gets an agency of `pool`; an empty pool is all agencies.
    pub(super) fn new(pool: &[AgencyId], lottery: &Lottery) -> Liveness {
        let presence = Presence::default();
        Liveness { unnumbered: Unnumbered::new(pool, lottery, &presence), presence, rivals: Rivals::default() }
    }

    /// Counts the agencies again that no connection or bet has claimed: bets may be gone.
    pub(super) fn count_unclaimed(&mut self, lottery: &Lottery) {
        self.unnumbered.count_again(lottery, &self.presence);
    }

    /// Counts again what is kept as sums. `agencies` has the present agency of every connection that speaks for one, and
    /// whether it is known.
    pub(super) fn assert_counts(&self, lottery: &Lottery, agencies: impl Iterator<Item = (AgencyId, bool)>) {
        self.unnumbered.assert_counts(lottery, &self.presence);
        self.presence.assert_counts(agencies);
    }
}
