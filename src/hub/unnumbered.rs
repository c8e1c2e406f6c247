//! Agencies for unnumbered connections: those that no connection and no stored bet has claimed.
//!
//! The free agencies are kept, not searched for: a peer may ask for one with every three bytes, and there may be many.

use std::collections::BTreeSet;

use super::presence::Presence;
use crate::lottery::{AgencyId, Lottery, Standing};

/// The agencies of `UNNUMBERED_AGENCIES` that neither a connection nor a stored bet has claimed.
#[derive(Debug)]
pub(super) struct Unnumbered {
    /// Those that may be claimed at all.
    pool: BTreeSet<AgencyId>,
    free: BTreeSet<AgencyId>,
}

impl Unnumbered {
    /// Of `pool`; an empty one is all agencies of the draw.
    pub(super) fn new(pool: &[AgencyId], lottery: &Lottery, presence: &Presence) -> Unnumbered {
        let pool = if pool.is_empty() { lottery.roster().ids() } else { pool };
        let mut unnumbered = Unnumbered { pool: pool.iter().copied().collect(), free: BTreeSet::new() };
        unnumbered.count_again(lottery, presence);
        unnumbered
    }

    /// The lowest of them.
    pub(super) fn first(&self) -> Option<AgencyId> {
        self.free.first().copied()
    }

    /// A connection speaks for `agency` now.
    pub(super) fn claimed(&mut self, agency: AgencyId) {
        self.free.remove(&agency);
    }

    /// No connection speaks for `agency` any more.
    pub(super) fn left(&mut self, agency: AgencyId, lottery: &Lottery) {
        if self.pool.contains(&agency) && is_unclaimed(agency, lottery) {
            self.free.insert(agency);
        }
    }

    /// Looks at every agency: bets may be gone.
    pub(super) fn count_again(&mut self, lottery: &Lottery, presence: &Presence) {
        self.free = self.counted(lottery, presence);
    }

    pub(super) fn assert_counts(&self, lottery: &Lottery, presence: &Presence) {
        assert_eq!(self.free, self.counted(lottery, presence), "agencies that are not claimed");
    }

    fn counted(&self, lottery: &Lottery, presence: &Presence) -> BTreeSet<AgencyId> {
        self.pool.iter().copied().filter(|id| !presence.is_here(*id) && is_unclaimed(*id, lottery)).collect()
    }
}

fn is_unclaimed(agency: AgencyId, lottery: &Lottery) -> bool {
    lottery.agency(agency).is_ok_and(|state| state.standing == Standing::Betting && state.bets == 0)
}
