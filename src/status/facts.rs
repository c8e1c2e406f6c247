//! What the status service is told by others: once at the start, and in each turn.

use std::time::{Duration, SystemTime};

use crate::logging::LogLevel;

/// What does not change while the hub runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The program's version.
    pub version: &'static str,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started: SystemTime,
    /// Where agencies connect.
    pub address: String,
    /// The bets' file; only said over the Unix socket.
    pub store: String,
    /// `FSYNC = always`.
    pub sync: bool,
    /// Whether TLS is served.
    pub tls: bool,
    /// `ON_AGENCY_LOSS = exclude`.
    pub excludes_lost: bool,
    /// `MAX_CONNECTIONS`.
    pub connections_max: usize,
    /// `MAX_FRAME`, in bytes.
    pub frame_bytes_max: usize,
}

/// What only the loop knows, at the moment of an answer.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Since the start, by a clock that does not stop.
    pub uptime: Duration,
    /// New connections are accepted: the listener is there, and descriptors have not run out.
    pub listening: bool,
    /// A signal to stop has come.
    pub stopping: bool,
    /// The log's reader takes lines.
    pub log_flows: bool,
    /// The level of the log.
    pub log_level: Option<LogLevel>,
    /// Lines of the log that were dropped so far.
    pub log_lines_dropped: u64,
    /// Bytes from agencies' sockets so far.
    pub bytes_in: u64,
    /// Bytes to agencies' sockets so far.
    pub bytes_out: u64,
    /// Connections of balancers whose PROXY header is not whole.
    pub unannounced: usize,
    /// Free bytes of the store's file system, where the system says.
    pub disk_free_bytes: Option<u64>,
    /// Bytes of the bets' file, where the system says.
    pub store_bytes: Option<u64>,
    /// When the certificate ends, where there is one, in seconds since the Unix epoch.
    pub certificate_expiry: Option<u64>,
    /// Why nothing can be committed for now: the machine that stores is away. Only said over the Unix socket.
    pub trouble: Option<String>,
    /// Connections at the status service.
    pub viewers: usize,
}

/// What one turn of the loop took. A turn that only slept is not told.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnTimes {
    /// When the turn began: since the start, when its poll returned.
    pub began: Duration,
    /// Waiting in the poll before it.
    pub poll: Duration,
    /// Accepting, reading and decoding.
    pub read: Duration,
    /// Decoding alone, which is part of `read`: measured while a trace is recorded only, as it takes two looks at the clock
    /// for each read.
    pub decode: Duration,
    /// The commit.
    pub commit: Duration,
    /// Replies, log and writes.
    pub release: Duration,
    /// Whether the commit wrote.
    pub committed: bool,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The Unix socket beside the store: the operator's.
    Local,
    /// TCP: read-only, and without names, documents or winners.
    Network,
}

/// What is known of a connection's socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketFacts {
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
    /// Since it was accepted.
    pub age: Duration,
}
