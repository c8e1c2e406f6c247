//! The hub's state as lines of the log, when a signal asks for it.

use super::overview::AgencyView;
use super::presence::Doing;
use super::{Hub, Overview};
use crate::limits;
use crate::lottery::Standing;
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::Dialect;

impl<K: Keep> Hub<K> {
    /// Logs the draw, the agencies and the connections as they are now, and changes nothing. Agencies without a
    /// finish come first, and of many of them those that have been seen.
    pub fn log_state(&self, now: Moment) {
        let state = self.overview(now);
        self.log_draw(&state);
        let mut agencies: Vec<&AgencyView> = state.agencies.iter().collect();
        let are_many = agencies.len() > limits::AGENCIES_LOGGED;
        let is_unseen = |agency: &AgencyView| are_many && self.doing(agency.id, agency.bets) == Doing::NeverSeen;
        agencies.sort_by_cached_key(|agency| (agency.standing != Standing::Betting, is_unseen(agency), agency.id));
        for agency in agencies.iter().take(limits::AGENCIES_LOGGED) {
            self.log_agency(agency);
        }
        let left_out = agencies.len().saturating_sub(limits::AGENCIES_LOGGED);
        if left_out > 0 {
            log::info!("action: state | result: success | agencies_left_out: {left_out}");
        }
        for ((dialect, activity), connections) in &state.connections {
            let (dialect, activity) = (Dialect::name_of(*dialect), activity.name());
            log::info!(
                "action: state | result: success | connections: {connections} | dialect: {dialect} | activity: {activity}"
            );
        }
    }

    fn log_draw(&self, state: &Overview) {
        let draw = if state.drawn { "made" } else { "open" };
        let count = |standing| state.agencies.iter().filter(|agency| agency.standing == standing).count();
        let (agencies, finished, excluded) =
            (state.agencies.len(), count(Standing::Finished), count(Standing::Excluded));
        let bets: u64 = state.agencies.iter().map(|agency| agency.bets).sum();
        let (connections, parked, buffered) = (self.connections(), self.parked(), state.buffered_bytes);
        let store = if state.store_full { "full" } else { "writable" };
        log::info!(
            "action: state | result: success | draw: {draw} | agencies: {agencies} | finished: {finished} | excluded: {excluded} | bets: {bets} | connections: {connections} | parked: {parked} | buffered_bytes: {buffered} | store: {store}"
        );
    }

    fn log_agency(&self, AgencyView { id, standing, bets, batches, connections, parked, .. }: &AgencyView) {
        let standing = match standing {
            Standing::Betting => self.doing(*id, *bets).name(),
            Standing::Finished => "finished",
            Standing::Excluded => "excluded",
        };
        log::info!(
            "action: state | result: success | agency: {id} | standing: {standing} | bets: {bets} | batches: {batches} | connections: {connections} | parked: {parked}"
        );
    }
}
