//! What only the loop knows, for the answers.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::hub::ConnectionId;
use crate::limits;
use crate::logging::LogOutput;
use crate::reactor::socket::Socket;
use crate::status::facts::{Gauges, SocketFacts};
use crate::timers::Moment;

/// Bytes of agencies' sockets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::reactor) struct Traffic {
    pub(in crate::reactor) bytes_in: u64,
    pub(in crate::reactor) bytes_out: u64,
}

/// The loop, as an answer sees it.
pub(in crate::reactor) struct LoopView<'a> {
    pub(in crate::reactor) sockets: &'a [Option<Socket>],
    pub(in crate::reactor) unannounced: usize,
    pub(in crate::reactor) log: &'a LogOutput,
    pub(in crate::reactor) uptime: Duration,
    pub(in crate::reactor) traffic: Traffic,
    pub(in crate::reactor) listening: bool,
    pub(in crate::reactor) stopping: bool,
    pub(in crate::reactor) certificate_expiry: Option<u64>,
    /// Why nothing can be committed for now.
    pub(in crate::reactor) trouble: Option<String>,
    /// Agencies were served in this turn, or are to be in the next one.
    pub(in crate::reactor) is_busy: bool,
}

impl LoopView<'_> {
    /// All but what the service itself knows.
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            log_level: crate::logging::level(),
            uptime: self.uptime,
            listening: self.listening,
            stopping: self.stopping,
            log_flows: self.log.flows(),
            log_lines_dropped: self.log.dropped_lines(),
            bytes_in: self.traffic.bytes_in,
            bytes_out: self.traffic.bytes_out,
            unannounced: self.unannounced,
            certificate_expiry: self.certificate_expiry,
            trouble: self.trouble.clone(),
            ..Gauges::default()
        }
    }

    /// What is known of the socket of a connection; nothing, if that is gone.
    pub(super) fn socket(&self, id: ConnectionId, now: Moment) -> SocketFacts {
        let facts = |socket: &Socket| SocketFacts {
            bytes_in: socket.stream.bytes_in(),
            bytes_out: socket.stream.bytes_out(),
            age: socket.age(now),
        };
        let socket = self.sockets.get(id.slot as usize).and_then(Option::as_ref);
        socket.filter(|socket| socket.generation == id.generation).map(facts).unwrap_or_default()
    }
}

/// What the system says of the store's file and its file system, asked at most once a period and only where an answer needs
/// it: a network's file system may let the loop wait.
#[derive(Debug)]
pub(super) struct DiskView {
    store: PathBuf,
    asked_at: Option<Instant>,
    free_bytes: Option<u64>,
    store_bytes: Option<u64>,
}

impl DiskView {
    pub(super) fn new(store: PathBuf) -> DiskView {
        DiskView { store, asked_at: None, free_bytes: None, store_bytes: None }
    }

    /// The free bytes of the file system, asked now.
    pub(super) fn free_bytes_now(&mut self) -> Option<u64> {
        self.asked_at = None;
        self.add_to(Gauges::default()).disk_free_bytes
    }

    pub(super) fn add_to(&mut self, gauges: Gauges) -> Gauges {
        if self.asked_at.is_none_or(|at| at.elapsed() >= limits::STATUS_DISK_PERIOD) {
            self.asked_at = Some(Instant::now());
            self.store_bytes = fs::metadata(&self.store).ok().map(|metadata| metadata.len());
            let system = rustix::fs::statvfs(&self.store).ok();
            self.free_bytes = system.map(|system| system.f_bavail.saturating_mul(system.f_frsize));
        }
        Gauges { disk_free_bytes: self.free_bytes, store_bytes: self.store_bytes, ..gauges }
    }
}
