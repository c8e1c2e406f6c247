//! What the hub is doing, as plain data: for the status service.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::Hub;
use super::connections::{Connection, ConnectionId};
use crate::lottery::{AgencyId, Bet, Standing};
use crate::session::Phase;
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::Dialect;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Its dialect is not known yet.
    Detecting,
    /// Its requests are served.
    Speaking,
    /// It waits for a commit.
    Waiting,
    /// Its query waits for the draw.
    Parked,
    /// It is being closed.
    Closing,
}

impl Activity {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Activity::Detecting => "detecting",
            Activity::Speaking => "speaking",
            Activity::Waiting => "waiting",
            Activity::Parked => "parked",
            Activity::Closing => "closing",
        }
    }
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionView {
    /// Its name.
    pub id: ConnectionId,
    /// Its peer.
    pub peer: IpAddr,
    /// Its peer's port.
    pub port: u16,
    /// Its dialect, once it is known.
    pub dialect: Option<Dialect>,
    /// What it is doing.
    pub activity: Activity,
    /// The agency that it speaks for.
    pub agency: Option<AgencyId>,
    /// Bytes of its buffers.
    pub buffered: usize,
    /// When bytes of it last came.
    pub received_at: Moment,
}

/// One agency of the draw, by what is stored.
#[derive(Clone, Copy, Debug)]
pub struct AgencyView {
    /// Which.
    pub id: AgencyId,
    /// How it stands.
    pub standing: Standing,
    /// Bets stored.
    pub bets: u64,
    /// Batches stored.
    pub batches: u64,
    /// How many of its bets won, once the draw is stored.
    pub winners: Option<usize>,
    /// Connections that speak for it.
    pub connections: usize,
    /// Other hubs store in the same draw: it may be connected to one of them.
    pub may_be_elsewhere: bool,
    /// Queries of it that wait for the draw.
    pub parked: usize,
    /// When bytes last came by a connection that still speaks for it.
    pub received_at: Option<Moment>,
    /// From when on it is lost.
    pub lost_since: Option<Moment>,
}

/// The whole hub, without its single connections.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The draw is stored.
    pub drawn: bool,
    /// The number that wins.
    pub winning_number: u32,
    /// Every agency of the roster, ascending.
    pub agencies: Vec<AgencyView>,
    /// How many connections there are, by dialect and activity.
    pub connections: BTreeMap<(Option<Dialect>, Activity), usize>,
    /// When bytes last came from the peer whose query has waited longest for the draw; it has sent nothing since its query.
    pub parked_since: Option<Moment>,
    /// Bytes of all buffers.
    pub buffered_bytes: usize,
    /// Batches are rejected for want of space on the disk.
    pub store_full: bool,
    /// The keeper has no room for another turn.
    pub stalled: bool,
}

impl<K: Keep> Hub<K> {
    /// The hub as it is now. Looks at every connection and every agency.
    pub fn overview(&self, now: Moment) -> Overview {
        let mut connections = BTreeMap::new();
        let mut of_agencies: BTreeMap<AgencyId, (usize, Option<Moment>)> = BTreeMap::new();
        let mut parked_since: Option<Moment> = None;
        for view in self.connection_views() {
            let is_parked = view.activity == Activity::Parked;
            if is_parked {
                parked_since = parked_since.into_iter().chain([view.received_at]).min();
            }
            *connections.entry((view.dialect, view.activity)).or_default() += 1;
            if let Some(agency) = view.agency {
                let (parked, received_at) = of_agencies.entry(agency).or_default();
                *parked += usize::from(is_parked);
                *received_at = (*received_at).max(Some(view.received_at));
            }
        }
        let drawn = self.lottery.draw_is_committed();
        let agency = |id: &AgencyId| {
            let state = self.lottery.agency(*id).ok()?.committed();
            let (parked, received_at) = of_agencies.get(id).copied().unwrap_or_default();
            Some(AgencyView {
                id: *id,
                standing: state.standing,
                bets: state.bets,
                batches: state.batches,
                winners: drawn.then_some(state.won()),
                connections: self.liveness.presence.connections(*id),
                may_be_elsewhere: self.shares_the_draw(),
                parked,
                received_at,
                lost_since: self.liveness.presence.lost_since(*id),
            })
        };
        Overview {
            drawn,
            winning_number: self.lottery.winning_number(),
            agencies: self.lottery.roster().ids().iter().filter_map(agency).collect(),
            connections,
            parked_since,
            buffered_bytes: self.connections.buffered_bytes(),
            store_full: self.keeping.full_until.is_some_and(|until| now < until),
            stalled: self.is_stalled(),
        }
    }

    /// Every connection.
    pub fn connection_views(&self) -> impl Iterator<Item = ConnectionView> {
        self.connections.iter().map(|(slot, connection)| ConnectionView {
            id: self.connections.id(slot),
            peer: connection.ip(),
            port: connection.peer(self.connections.id(slot)).port,
            dialect: connection.session.dialect(),
            activity: activity(connection),
            agency: connection.session.agency,
            buffered: connection.buffered(),
            received_at: connection.received_at(),
        })
    }

    /// The winning bets of `agency`, once the draw is stored; `None` before it, and where the agency has no part in it.
    pub fn winners_of(&self, agency: AgencyId) -> Option<&[Bet]> {
        self.lottery.winners(agency).ok().flatten().filter(|_| self.lottery.draw_is_committed())
    }
}

fn activity(connection: &Connection) -> Activity {
    match connection.session.phase {
        Phase::Closing(_) => Activity::Closing,
        _ if connection.trust.refused => Activity::Closing,
        _ if connection.is_parked() => Activity::Parked,
        Phase::Detecting { .. } => Activity::Detecting,
        Phase::Speaking(_) if connection.pending == 0 => Activity::Speaking,
        Phase::Speaking(_) | Phase::Paused(_) => Activity::Waiting,
    }
}
