//! `/status.json` and `/connections.json`, from the hub, the loop and the tally.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::facts::{Door, Facts, SocketFacts};
use super::latency::Durations;
use super::report::{
    Agency, AgencyState, Connection, ConnectionList, ConnectionState, Connections, Draw, DrawState, Engine, Instance,
    Program, Report, Store, Totals, VERSION,
};
use super::snapshot::{Snapshot, not_ready, unhealthy};
use super::tally::Tally;
use super::time::rfc_3339;
use crate::hub::{Activity, AgencyView, ConnectionId, ConnectionView, Hub};
use crate::limits;
use crate::lottery::Standing;
use crate::storage::{EngineView, InstanceView, Keep, Trouble};
use crate::timers::Moment;
use crate::wire::Dialect;

/// How long turns and commits take.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Turns.
    pub turns: Durations,
    /// Commits that wrote.
    pub commits: Durations,
}

/// `/status.json`, as `door` may see it.
pub fn report(facts: &Facts, snapshot: &Snapshot, tally: &Tally, latencies: &Latencies, door: Door) -> Report {
    let (overview, gauges) = (&snapshot.overview, &snapshot.gauges);
    let views = &overview.agencies;
    let waiting = waited_for(views, tally);
    let draw = draw(snapshot, tally, &waiting);
    let agencies: Vec<Agency> =
        reported(views, waiting).into_iter().map(|view| agency(view, snapshot, tally)).collect();
    Report {
        version: VERSION,
        hub: program(facts, snapshot, tally),
        draw,
        agencies_left_out: views.len() - agencies.len(),
        agencies,
        connections: connections(snapshot),
        totals: Totals {
            bets: tally.stored.bets,
            batches: tally.stored.batches,
            bets_stored: views.iter().map(|view| view.bets).sum(),
            rejected: tally.rejected.values().sum(),
            refused: tally.refused.values().sum(),
            bytes_in: gauges.bytes_in,
            bytes_out: gauges.bytes_out,
        },
        // The mean of the last seconds would go on for some seconds after the last bet.
        bets_per_second: if overview.drawn { 0.0 } else { thousandths(tally.rate.per_second(tally.now())) },
        turns: latencies.turns.report(),
        commits: latencies.commits.report(),
        store: Store {
            path: (door == Door::Local).then(|| facts.store.clone()),
            sync: facts.sync,
            full: tally.store_is_full(),
            bytes: gauges.store_bytes,
            disk_free_bytes: gauges.disk_free_bytes,
        },
        engine: snapshot
            .engine
            .as_ref()
            .map(|(engine, trouble)| of_engine(engine, trouble.as_ref(), snapshot.now, door)),
        unhealthy: unhealthy(gauges, tally.store_is_full()).map(str::to_owned),
        not_ready: not_ready(gauges).map(str::to_owned),
        trouble: gauges.trouble.clone().filter(|_| door == Door::Local),
    }
}

fn of_engine(view: &EngineView, trouble: Option<&Trouble>, now: Moment, door: Door) -> Engine {
    let is_local = door == Door::Local;
    let instance = |seen: &InstanceView| Instance {
        name: seen.name.clone(),
        here: seen.here,
        seen_ago: seconds(seen.seen_ago + seen.read_at.until(now)),
        turns: seen.turn,
    };
    Engine {
        kind: "postgres".to_owned(),
        draw: view.draw,
        connected: view.connected,
        host: is_local.then(|| view.host.clone()),
        epoch: view.epoch,
        turn: view.turn,
        turns_in_flight: view.turns_in_flight,
        answered_ago: view.answered_at.map(|at| seconds(at.until(now))),
        trouble_for: trouble.map(|trouble| seconds(trouble.since.until(now))),
        trouble: trouble.filter(|_| is_local).map(|trouble| trouble.why.clone()),
        held: view.held.is_some(),
        held_because: view.held.clone().filter(|_| is_local),
        instances: view.instances.iter().map(instance).collect(),
    }
}

/// The agencies that are listed, ascending. Of too many, those are that the draw waits for, or goes without.
fn reported<'a>(views: &'a [AgencyView], waiting: Vec<&'a AgencyView>) -> Vec<&'a AgencyView> {
    let mut listed = waiting;
    for standing in [Standing::Excluded, Standing::Finished] {
        let room = limits::AGENCIES_REPORTED_MAX - listed.len();
        listed.extend(views.iter().filter(|view| view.standing == standing).take(room));
    }
    listed.sort_unstable_by_key(|view| view.id);
    listed
}

/// The agencies that the draw waits for, as many as are listed, ascending. Of too many, those are that have been seen: a lost one
/// is not missed among thousands whose clients have not been started.
fn waited_for<'a>(views: &'a [AgencyView], tally: &Tally) -> Vec<&'a AgencyView> {
    let waited_for = || views.iter().filter(|view| view.standing == Standing::Betting);
    let is_unseen = |view: &&AgencyView| agency_state(view, tally) == AgencyState::NeverSeen;
    let mut listed: Vec<&AgencyView> = waited_for().take(limits::AGENCIES_REPORTED_MAX + 1).collect();
    if listed.len() > limits::AGENCIES_REPORTED_MAX {
        let (seen, unseen) = (waited_for().filter(|view| !is_unseen(view)), waited_for().filter(is_unseen));
        listed = seen.chain(unseen).take(limits::AGENCIES_REPORTED_MAX).collect();
        listed.sort_unstable_by_key(|view| view.id);
    }
    listed
}

fn program(facts: &Facts, snapshot: &Snapshot, tally: &Tally) -> Program {
    let uptime = snapshot.gauges.uptime;
    Program {
        version: facts.version.to_owned(),
        pid: facts.pid,
        started: rfc_3339(facts.started),
        now: rfc_3339(tally.clock().unwrap_or(facts.started)),
        uptime: uptime.as_secs(),
        address: facts.address.clone(),
        tls: facts.tls,
        connections_max: facts.connections_max,
        frame_bytes_max: facts.frame_bytes_max,
        log_lines_dropped: snapshot.gauges.log_lines_dropped,
        log_level: snapshot.gauges.log_level.map(|level| level.name().to_owned()),
    }
}

/// Where the draw stands.
pub fn draw_state(snapshot: &Snapshot) -> DrawState {
    match (snapshot.overview.drawn, snapshot.overview.agencies.is_empty()) {
        (true, _) => DrawState::Drawn,
        (false, true) => DrawState::None,
        (false, false) => DrawState::Open,
    }
}

fn draw(snapshot: &Snapshot, tally: &Tally, waiting: &[&AgencyView]) -> Draw {
    let overview = &snapshot.overview;
    let is_waited_for = |view: &&AgencyView| !overview.drawn && view.standing == Standing::Betting;
    let winners = || overview.agencies.iter().filter_map(|view| view.winners).map(|count| count as u64).sum();
    Draw {
        state: draw_state(snapshot),
        winning_number: overview.drawn.then_some(overview.winning_number),
        waiting_for: waiting.iter().copied().filter(is_waited_for).map(|view| view.id.0).collect(),
        waiting_count: overview.agencies.iter().filter(is_waited_for).count(),
        waiting_since: snapshot.parked_for().filter(|_| !overview.drawn).map(seconds),
        parked: snapshot.parked(),
        drawn_ago: tally.drawn_at.map(|at| seconds(tally.now().saturating_sub(at))),
        drawn_at: tally.drawn_on.map(rfc_3339),
        winners: overview.drawn.then(winners),
    }
}

/// What an agency is doing.
pub fn agency_state(view: &AgencyView, tally: &Tally) -> AgencyState {
    let did = tally.agency(view.id).and_then(|agency| agency.did);
    let is_over = |(_, at)| view.bets == 0 || tally.now().saturating_sub(at) >= limits::UPLOADING_SAID;
    match view.standing {
        Standing::Excluded => AgencyState::Excluded,
        Standing::Finished if view.parked > 0 => AgencyState::Parked,
        Standing::Finished => AgencyState::Finished,
        Standing::Betting if view.may_be_elsewhere && view.connections == 0 && did.is_none_or(is_over) => {
            AgencyState::NotHere
        }
        Standing::Betting if view.lost_since.is_some() => AgencyState::Lost,
        Standing::Betting if view.connections == 0 && did.is_some_and(is_over) => AgencyState::Gone,
        Standing::Betting if view.bets > 0 => AgencyState::Uploading,
        Standing::Betting if view.connections > 0 => AgencyState::Connected,
        Standing::Betting => AgencyState::NeverSeen,
    }
}

fn agency(view: &AgencyView, snapshot: &Snapshot, tally: &Tally) -> Agency {
    let now = snapshot.now;
    let of_agency = tally.agency(view.id);
    let met = of_agency.and_then(|of_agency| of_agency.peer);
    // A second client that was refused is met last, and the first one still speaks for the agency.
    let speaker = of_agency.and_then(|_| snapshot.speaker(view.id, met));
    let dialect = speaker.and_then(|speaker| speaker.dialect).or(of_agency.and_then(|of_agency| of_agency.dialect));
    let uptime = tally.now();
    let did = of_agency.and_then(|of_agency| of_agency.did);
    let state = agency_state(view, tally);
    let rate = of_agency.filter(|_| state == AgencyState::Uploading).map(|of_agency| of_agency.rate.per_second(uptime));
    let received = view.received_at.map(|at| at.until(now));
    let acted = did.map(|(_, at)| uptime.saturating_sub(at));
    Agency {
        id: view.id.0,
        state,
        bets: view.bets,
        batches: view.batches,
        bets_per_second: rate.map_or(0.0, thousandths),
        connections: view.connections,
        last_heard: received.into_iter().chain(acted).min().map(seconds),
        last_did: did.map(|(did, _)| did.words()),
        refused: of_agency.map_or(0, |of_agency| of_agency.refused),
        last_refusal: of_agency.and_then(|of_agency| of_agency.last_refusal).map(|why| why.to_string()),
        lost_for: view.lost_since.map(|since| seconds(since.until(now))),
        dialect: dialect.map(|dialect| dialect.name().to_owned()),
        peer: speaker.map(|speaker| speaker.peer).or(met).map(|peer| peer.to_string()),
        winners: view.winners.map(|count| count as u64),
    }
}

fn connections(snapshot: &Snapshot) -> Connections {
    let (mut by_state, mut by_dialect) = (BTreeMap::new(), BTreeMap::new());
    for ((dialect, activity), count) in &snapshot.overview.connections {
        *by_state.entry(connection_state(*activity)).or_insert(0) += count;
        *by_dialect.entry(Dialect::name_of(*dialect)).or_insert(0) += count;
    }
    let unannounced = snapshot.gauges.unannounced;
    if unannounced > 0 {
        by_state.insert(ConnectionState::Unannounced, unannounced);
        *by_dialect.entry(Dialect::name_of(None)).or_insert(0) += unannounced;
    }
    Connections {
        open: snapshot.connections() + unannounced,
        by_state: by_state.into_iter().collect(),
        by_dialect: by_dialect.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        buffered_bytes: snapshot.overview.buffered_bytes,
        viewers: snapshot.gauges.viewers,
    }
}

/// A connection's activity, as the answers name it.
pub fn connection_state(activity: Activity) -> ConnectionState {
    match activity {
        Activity::Detecting => ConnectionState::Detecting,
        Activity::Speaking => ConnectionState::Speaking,
        Activity::Waiting => ConnectionState::Waiting,
        Activity::Parked => ConnectionState::Parked,
        Activity::Closing => ConnectionState::Closing,
    }
}

/// `/connections.json`: those of agencies first, each kind in the order in which they came.
pub fn connection_list<K: Keep>(
    hub: &Hub<K>,
    now: Moment,
    sockets: &dyn Fn(ConnectionId) -> SocketFacts,
) -> ConnectionList {
    let mut views: Vec<ConnectionView> = hub.connection_views().collect();
    views.sort_unstable_by_key(|view| (view.agency.is_none(), view.id.generation));
    let left_out = views.len().saturating_sub(limits::CONNECTIONS_REPORTED_MAX);
    views.truncate(limits::CONNECTIONS_REPORTED_MAX);
    let connection = |view: &ConnectionView| {
        let facts = sockets(view.id);
        Connection {
            id: view.id.generation,
            peer: SocketAddr::new(view.peer, view.port).to_string(),
            dialect: view.dialect.map(|dialect| dialect.name().to_owned()),
            state: connection_state(view.activity),
            agency: view.agency.map(|agency| agency.0),
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            buffered_bytes: view.buffered,
            age: seconds(facts.age),
            silent_for: seconds(view.received_at.until(now)),
        }
    };
    ConnectionList { version: VERSION, connections: views.iter().map(connection).collect(), left_out }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    thousandths(time.as_secs_f64())
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
