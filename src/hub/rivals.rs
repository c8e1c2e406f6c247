//! Two clients that speak for one agency by turns.
//!
//! A client that opens a connection for each message, or connects again after a loss, leaves the earlier connection idle. So
//! a second connection is a rival only where the first one acts again after it.

use std::collections::HashMap;

use super::connections::{ConnectionId, Peer};
use crate::limits;
use crate::lottery::AgencyId;
use crate::timers::Moment;

/// The connections of agencies that act, one of each agency of the roster.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    of: HashMap<AgencyId, Acting>,
}

#[derive(Debug)]
struct Acting {
    /// The connection that was the first to act, of those that are open.
    id: ConnectionId,
    /// Another one that has acted since.
    rival: Option<Peer>,
    /// When the log last said so.
    told: Option<Moment>,
}

impl Rivals {
    /// A request of `agency` was carried out for `peer`; `is_open` says it of a connection. Returns the other client of the
    /// agency, where that is news.
    pub(super) fn acted(
        &mut self,
        agency: AgencyId,
        peer: Peer,
        is_open: impl FnOnce(ConnectionId) -> bool,
        now: Moment,
    ) -> Option<Peer> {
        let acting = self.of.entry(agency).or_insert(Acting { id: peer.id, rival: None, told: None });
        if acting.id == peer.id {
            let rival = acting.rival.take()?;
            let is_news = acting.told.is_none_or(|told| told + limits::RIVALS_LOG_PERIOD <= now);
            acting.told = acting.told.filter(|_| !is_news).or(Some(now));
            return is_news.then_some(rival);
        }
        if is_open(acting.id) {
            acting.rival = Some(peer);
        } else {
            (acting.id, acting.rival) = (peer.id, None);
        }
        None
    }
}
