//! The hub and the loop at one moment: what every answer is made of.

use std::net::SocketAddr;
use std::time::Duration;

use super::facts::Gauges;
use crate::hub::{Activity, Hub, Overview};
use crate::lottery::AgencyId;
use crate::storage::{EngineView, Keep, Trouble};
use crate::timers::Moment;
use crate::wire::Dialect;

/// An open connection of an agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speaker {
    /// The agency that it speaks for.
    pub agency: AgencyId,
    /// Whether its query waits for the draw.
    pub is_parked: bool,
    /// When bytes of it last came.
    pub received_at: Moment,
    /// Its peer.
    pub peer: SocketAddr,
    /// Its dialect.
    pub dialect: Option<Dialect>,
}

/// The hub and the loop at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When, by the hub's clock.
    pub now: Moment,
    /// The hub.
    pub overview: Overview,
    /// The connections of agencies, ascending.
    speakers: Vec<Speaker>,
    /// What the loop knows.
    pub gauges: Gauges,
    /// The engine that several hubs share, and since when turns cannot be committed there. `None` with a store of files.
    pub engine: Option<(EngineView, Option<Trouble>)>,
}

impl Snapshot {
    /// The hub as it is `now`. Looks at every connection and every agency.
    pub fn new<K: Keep>(hub: &Hub<K>, now: Moment, gauges: Gauges) -> Snapshot {
        let keeper = hub.keeper();
        let engine = keeper.engine().map(|engine| (engine, keeper.trouble()));
        let open = hub.connection_views().filter(|view| view.activity != Activity::Closing);
        let speaker = open.filter_map(|view| {
            let (is_parked, peer) = (view.activity == Activity::Parked, SocketAddr::new(view.peer, view.port));
            let (received_at, dialect) = (view.received_at, view.dialect);
            Some(Speaker { agency: view.agency?, is_parked, received_at, peer, dialect })
        });
        let mut speakers: Vec<Speaker> = speaker.collect();
        speakers.sort_unstable();
        Snapshot { now, overview: hub.overview(now), speakers, gauges, engine }
    }

    /// The connection that speaks for `agency`: of several the one whose query waits for the draw, else the one from `met`,
    /// else the last that was heard.
    pub fn speaker(&self, agency: AgencyId, met: Option<SocketAddr>) -> Option<&Speaker> {
        let first = self.speakers.partition_point(|speaker| speaker.agency < agency);
        let open = self.speakers[first..].iter().take_while(|speaker| speaker.agency == agency);
        open.max_by_key(|speaker| (speaker.is_parked, Some(speaker.peer) == met))
    }

    /// For how long the oldest query has waited for the draw.
    pub fn parked_for(&self) -> Option<Duration> {
        self.overview.parked_since.map(|at| at.until(self.now))
    }

    /// How many queries wait for the draw.
    pub fn parked(&self) -> usize {
        let parked = self.overview.connections.iter().filter(|((_, activity), _)| *activity == Activity::Parked);
        parked.map(|(_, count)| count).sum()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.overview.connections.values().sum()
    }
}

/// Why the hub cannot do its work, in one line.
pub fn unhealthy(gauges: &Gauges, store_full: bool) -> Option<&'static str> {
    let reasons = [
        (!gauges.listening && !gauges.stopping, "not listening: there are no free file descriptors"),
        (store_full, "the disk is full: batches are rejected until there is space"),
        (gauges.disk_free_bytes == Some(0), "the store's file system has no free space"),
        (
            !gauges.log_flows,
            "the reader of the log is slow, stopped or gone: agencies wait for a slow one, and lines are dropped",
        ),
    ];
    reasons.into_iter().find(|(applies, _)| *applies).map(|(_, reason)| reason)
}

/// Why the hub should be sent no more work, in one line. A store of files is open as long as it runs.
pub fn not_ready(gauges: &Gauges) -> Option<&'static str> {
    if gauges.stopping {
        return Some("the hub is stopping: a signal has come");
    }
    gauges.trouble.as_ref().map(|_| "PostgreSQL cannot be used: nothing is acknowledged until it can")
}
