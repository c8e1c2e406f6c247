//! `/status.json` and `/connections.json`, version 1: what the page, `loteria` and other programs read.
//!
//! Within a version fields are added, never renamed or removed. Durations are seconds as numbers, latencies microseconds.

use serde::{Deserialize, Serialize};

use crate::lottery::{AgencyId, Bet};

/// The version of the answers.
pub const VERSION: u32 = 1;

/// How [`Agency::last_did`] begins where the last thing that an agency did was rejected.
pub const REJECTED: &str = "sent a batch that was rejected";

/// `/status.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of the answers: it rises where a field is renamed or removed.
    pub version: u32,
    /// The program.
    pub hub: Program,
    /// The draw.
    pub draw: Draw,
    /// Every agency of the draw, ascending; no more than `AGENCIES_REPORTED_MAX` (`limits`): of more, those without a finish are
    /// in the list before others, and of these those that have been seen.
    pub agencies: Vec<Agency>,
    /// Agencies that the list above leaves out.
    pub agencies_left_out: usize,
    /// Connections of agencies and of unknown peers.
    pub connections: Connections,
    /// Sums since the start.
    pub totals: Totals,
    /// Bets per second, over the last five seconds.
    pub bets_per_second: f64,
    /// Turns of the loop, since the start.
    pub turns: Latency,
    /// Commits that wrote, since the start.
    pub commits: Latency,
    /// The store.
    pub store: Store,
    /// The PostgreSQL that several hubs share; absent with a store of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Why the hub is not healthy, in one line; `None`: it is.
    pub unhealthy: Option<String>,
    /// Why the hub is not ready, in one line; `None`: it is.
    pub not_ready: Option<String>,
    /// What PostgreSQL says or does where it cannot be used; only over the Unix socket.
    #[serde(default)]
    pub trouble: Option<String>,
}

impl Report {
    /// Whether every agency is excluded. The draw waits for none then, and is not made either.
    pub fn excludes_all(&self) -> bool {
        let are_excluded = self.agencies.iter().all(|agency| agency.state == AgencyState::Excluded);
        are_excluded && self.agencies_left_out == 0 && !self.agencies.is_empty()
    }
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The id of its process.
    pub pid: u32,
    /// When it started: RFC 3339, UTC.
    pub started: String,
    /// When this report was made: RFC 3339, UTC.
    pub now: String,
    /// Since the start, in seconds.
    pub uptime: u64,
    /// Where agencies connect.
    pub address: String,
    /// Whether TLS is served.
    pub tls: bool,
    /// `MAX_CONNECTIONS`.
    pub connections_max: usize,
    /// `MAX_FRAME`, in bytes.
    pub frame_bytes_max: usize,
    /// Lines of the log that were dropped.
    pub log_lines_dropped: u64,
    /// The level of the log, as `log-level` sets it. `None` of an earlier hub, or where nothing is logged.
    #[serde(default)]
    pub log_level: Option<String>,
}

/// Where the draw stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawState {
    /// The roster is empty: there is no draw.
    None,
    /// Agencies may bet.
    Open,
    /// It was made.
    Drawn,
}

/// The draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// Where it stands.
    pub state: DrawState,
    /// The number that wins, once it is drawn.
    pub winning_number: Option<u32>,
    /// Agencies that have not finished, ascending; no more than `AGENCIES_REPORTED_MAX` (`limits`).
    pub waiting_for: Vec<u32>,
    /// How many these are.
    pub waiting_count: usize,
    /// For how long a query has waited for the draw, in seconds: the oldest one.
    pub waiting_since: Option<f64>,
    /// Queries that wait.
    pub parked: usize,
    /// How long ago it was made, in seconds. `None` where it was made in an earlier run.
    pub drawn_ago: Option<f64>,
    /// The second in which it was made (RFC 3339), as the log has it. `None` as for `drawn_ago`.
    #[serde(default)]
    pub drawn_at: Option<String>,
    /// How many bets won, once it is drawn.
    pub winners: Option<u64>,
}

/// What an agency is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgencyState {
    /// No connection has spoken for it in this run, and no bet of it is stored.
    NeverSeen,
    /// A connection spoke for it in this run, and none does now. It has no bets, so that it cannot be lost, or is not lost yet.
    Gone,
    /// A connection speaks for it, and no bet of it is stored.
    Connected,
    /// It has bets, and has not finished.
    Uploading,
    /// It has not finished, and no connection here speaks for it: it may be connected to another hub of the draw.
    NotHere,
    /// It has bets and has not finished, and no connection speaks for it: in the dialects that open a connection for each
    /// message, for as long as `IDLE_TIMEOUT`.
    Lost,
    /// It has finished, and no query of it waits.
    Finished,
    /// It has finished, and a query of it waits for the draw.
    Parked,
    /// It takes no part in the draw.
    Excluded,
}

impl AgencyState {
    /// Every state, in the order in which an agency may come to it.
    pub const ALL: [AgencyState; 9] = [
        AgencyState::NeverSeen,
        AgencyState::Gone,
        AgencyState::Connected,
        AgencyState::Uploading,
        AgencyState::NotHere,
        AgencyState::Lost,
        AgencyState::Finished,
        AgencyState::Parked,
        AgencyState::Excluded,
    ];

    /// The name in the answers.
    pub fn name(self) -> &'static str {
        match self {
            AgencyState::NeverSeen => "never_seen",
            AgencyState::Gone => "gone",
            AgencyState::Connected => "connected",
            AgencyState::Uploading => "uploading",
            AgencyState::NotHere => "not_here",
            AgencyState::Lost => "lost",
            AgencyState::Finished => "finished",
            AgencyState::Parked => "parked",
            AgencyState::Excluded => "excluded",
        }
    }
}

/// One agency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agency {
    /// Its id.
    pub id: u32,
    /// What it is doing.
    pub state: AgencyState,
    /// Bets stored.
    pub bets: u64,
    /// Batches stored.
    pub batches: u64,
    /// Bets per second, over the last five seconds.
    pub bets_per_second: f64,
    /// Connections that speak for it.
    pub connections: usize,
    /// Since bytes of it last came, in seconds; `None`: not in this run.
    pub last_heard: Option<f64>,
    /// What it last did, in a few English words; `None`: nothing in this run.
    pub last_did: Option<String>,
    /// Batches and requests of it that were refused.
    pub refused: u64,
    /// Why the last one was.
    pub last_refusal: Option<String>,
    /// For how long it has been lost, in seconds.
    pub lost_for: Option<f64>,
    /// The dialect of the connection that speaks for it, or of its last one.
    pub dialect: Option<String>,
    /// The peer of that connection, with its port.
    pub peer: Option<String>,
    /// How many of its bets won, once it is drawn.
    pub winners: Option<u64>,
}

/// How many connections there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// All.
    pub open: usize,
    /// By state: each state, and how many.
    pub by_state: Vec<(ConnectionState, usize)>,
    /// By dialect: each name, `unknown` included, and how many.
    pub by_dialect: Vec<(String, usize)>,
    /// Bytes of all buffers.
    pub buffered_bytes: usize,
    /// Viewers at the status service.
    pub viewers: usize,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// A balancer's connection, whose PROXY header is not whole.
    Unannounced,
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

impl ConnectionState {
    /// The name in the answers.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionState::Unannounced => "unannounced",
            ConnectionState::Detecting => "detecting",
            ConnectionState::Speaking => "speaking",
            ConnectionState::Waiting => "waiting",
            ConnectionState::Parked => "parked",
            ConnectionState::Closing => "closing",
        }
    }
}

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Bets stored in this run.
    pub bets: u64,
    /// Batches stored in this run.
    pub batches: u64,
    /// Bets in the store.
    pub bets_stored: u64,
    /// Batches rejected.
    pub rejected: u64,
    /// Other requests refused.
    pub refused: u64,
    /// Bytes from agencies' sockets.
    pub bytes_in: u64,
    /// Bytes to agencies' sockets.
    pub bytes_out: u64,
}

/// How long something takes, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How often it happened.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// The bets' file; said over the Unix socket only.
    pub path: Option<String>,
    /// `FSYNC = always`.
    pub sync: bool,
    /// Whether batches are rejected for want of space.
    pub full: bool,
    /// Bytes of the bets' file.
    pub bytes: Option<u64>,
    /// Free bytes of its file system.
    pub disk_free_bytes: Option<u64>,
}

/// The PostgreSQL that several hubs share, as this hub knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// What it is: `postgres`.
    pub kind: String,
    /// Which of its draws: `[LOTTERY] DRAW`.
    pub draw: i32,
    /// Whether a connection stands on which turns are committed.
    pub connected: bool,
    /// Its host, or the one that is being tried; only over the Unix socket.
    pub host: Option<String>,
    /// The number of this hub's connection to it, from 1: it rises with every reconnection. 0: there was none yet.
    pub epoch: i64,
    /// This hub's last turn that is committed.
    pub turn: i64,
    /// This hub's turns that are not committed yet.
    pub turns_in_flight: usize,
    /// Since it last answered, in seconds; `None`: not yet.
    pub answered_ago: Option<f64>,
    /// For how long it has been in trouble, in seconds; `None`: it is not.
    pub trouble_for: Option<f64>,
    /// Why; only over the Unix socket.
    pub trouble: Option<String>,
    /// Whether a person has to say that the draw may be made: it is held.
    pub held: bool,
    /// Why it is; only over the Unix socket.
    pub held_because: Option<String>,
    /// The hubs that it has seen within a day, the latest first; no more than `ENGINE_INSTANCES_MAX` (`limits`).
    pub instances: Vec<Instance>,
}

/// A run of a hub that stores in the same PostgreSQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name: that of its machine, and its port.
    pub name: String,
    /// It is the hub that reports.
    pub here: bool,
    /// Since it last committed a turn or connected, in seconds, by PostgreSQL's clock. A hub that runs does so every second.
    pub seen_ago: f64,
    /// Its turns that are committed.
    pub turns: i64,
}

/// `/connections.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionList {
    /// As in [`Report`].
    pub version: u32,
    /// Every connection; no more than `CONNECTIONS_REPORTED_MAX` (`limits`).
    pub connections: Vec<Connection>,
    /// Connections that the list leaves out.
    pub left_out: usize,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Its number: counts the connections ever opened.
    pub id: u32,
    /// Its peer, with the port.
    pub peer: String,
    /// Its dialect, once it is known.
    pub dialect: Option<String>,
    /// What it is doing.
    pub state: ConnectionState,
    /// The agency that it speaks for.
    pub agency: Option<u32>,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
    /// Bytes of its buffers.
    pub buffered_bytes: usize,
    /// Since it was accepted, in seconds.
    pub age: f64,
    /// Since bytes of it last came, in seconds.
    pub silent_for: f64,
}

/// `/winners.json`, over the Unix socket only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winners {
    /// As in [`Report`].
    pub version: u32,
    /// The number that won.
    pub winning_number: u32,
    /// The winning bets, by agency, in the order in which they were stored; no more than `WINNERS_REPORTED_MAX` (`limits`).
    pub winners: Vec<Winner>,
    /// How many follow those of the list: asked for with `from=N`, where N is how many the reader has.
    #[serde(default)]
    pub left_out: usize,
}

/// A winning bet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// Its agency.
    pub agency: u32,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Document.
    pub document: String,
    /// Birthdate, `YYYY-MM-DD`.
    pub birthdate: String,
}

impl Winner {
    /// The winning `bet` of `agency`.
    pub fn new(agency: AgencyId, bet: &Bet) -> Winner {
        Winner {
            agency: agency.0,
            first_name: bet.first_name().to_owned(),
            last_name: bet.last_name().to_owned(),
            document: bet.document().to_owned(),
            birthdate: bet.birthdate().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_names_of_the_answers() {
        for (place, state) in AgencyState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, place, "{state:?}");
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for state in [
            ConnectionState::Unannounced,
            ConnectionState::Detecting,
            ConnectionState::Speaking,
            ConnectionState::Waiting,
            ConnectionState::Parked,
            ConnectionState::Closing,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
