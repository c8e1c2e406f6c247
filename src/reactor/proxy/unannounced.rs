//! Connections of balancers whose header is not whole.
//!
//! The hub has no slot for them: they cost agencies neither slots nor turns. There are few, because a balancer sends the header
//! as soon as it is connected; where there are too many, the one that has waited longest goes.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::{Networks, Progress, read_header};
use crate::limits;
use crate::timers::Moment;

/// In the slot of a connection's token, whose slots stay below it. The bit above it is that of viewers.
const UNANNOUNCED_BIT: usize = 1 << 30;

/// Balancers' connections without a whole header, by the order in which they came.
#[derive(Debug)]
pub(in crate::reactor) struct Unannounced {
    balancers: Networks,
    timeout: Duration,
    waiting: BTreeMap<u32, Waiting>,
    /// Those with bytes to be read, each once.
    ready: VecDeque<u32>,
    /// The name of the last one.
    last: u32,
}

#[derive(Debug)]
struct Waiting {
    stream: TcpStream,
    balancer: SocketAddr,
    since: Moment,
    /// What has come of the header.
    taken: Vec<u8>,
    is_ready: bool,
}

/// Why a connection cannot be kept.
#[derive(Debug)]
pub(in crate::reactor) enum Unkept {
    /// There is no place, and none can be made: of every connection there are bytes to be read.
    Full,
    /// The system watches no more sockets.
    Unwatched(std::io::Error),
}

impl Unannounced {
    /// None yet; `timeout` from a connection's acceptance to its whole header.
    pub(in crate::reactor) fn new(balancers: Networks, timeout: Duration) -> Unannounced {
        Unannounced { balancers, timeout, waiting: BTreeMap::new(), ready: VecDeque::new(), last: 0 }
    }

    /// Whether a connection from `peer` begins with a header.
    pub(in crate::reactor) fn expects_of(&self, peer: IpAddr) -> bool {
        !self.balancers.is_empty() && self.balancers.contains(peer)
    }

    /// How many there are.
    pub(in crate::reactor) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether bytes that have come are still to be read.
    pub(in crate::reactor) fn has_reads(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Keeps a connection of which `taken` has come. Returns the peer of the one that had to go for it.
    ///
    /// # Errors
    /// Why it is closed instead.
    pub(in crate::reactor) fn insert(
        &mut self,
        mut stream: TcpStream,
        balancer: SocketAddr,
        taken: Vec<u8>,
        registry: &Registry,
        now: Moment,
    ) -> Result<Option<SocketAddr>, Unkept> {
        let mut gone = None;
        if self.waiting.len() >= limits::UNANNOUNCED_MAX {
            gone = Some(self.evict(|_| true).ok_or(Unkept::Full)?);
        }
        self.last = self.last.wrapping_add(1);
        registry.register(&mut stream, token_of(self.last), Interest::READABLE).map_err(Unkept::Unwatched)?;
        self.waiting.insert(self.last, Waiting { stream, balancer, since: now, taken, is_ready: false });
        Ok(gone)
    }

    /// An event says that there is something to read, or an end.
    pub(in crate::reactor) fn note(&mut self, name: u32) {
        if let Some(waiting) = self.waiting.get_mut(&name)
            && !std::mem::replace(&mut waiting.is_ready, true)
        {
            self.ready.push_back(name);
        }
    }

    /// Reads the connection that has been ready for longest. Returns it with its balancer if it no longer waits.
    pub(in crate::reactor) fn read_next(
        &mut self,
        registry: &Registry,
    ) -> Option<(TcpStream, SocketAddr, Vec<u8>, Progress)> {
        let name = self.ready.pop_front()?;
        let waiting = self.waiting.get_mut(&name)?;
        waiting.is_ready = false;
        let progress = read_header(&mut waiting.stream, &mut waiting.taken);
        if let Progress::Part = progress {
            return None;
        }
        let Waiting { mut stream, balancer, taken, .. } = self.waiting.remove(&name)?;
        // One that is not watched needs no more than to be dropped.
        let _ = stream.deregister(registry);
        Some((stream, balancer, taken, progress))
    }

    /// Closes the one that has waited longest, if its bytes are read and `may_go` says so of when it came. Returns its peer.
    pub(in crate::reactor) fn evict(&mut self, may_go: impl Fn(Moment) -> bool) -> Option<SocketAddr> {
        let (name, waiting) = self.waiting.iter().find(|(_, waiting)| !waiting.is_ready)?;
        let (name, may_go) = (*name, may_go(waiting.since));
        may_go.then(|| self.waiting.remove(&name)).flatten().map(|waiting| waiting.balancer)
    }

    /// When the next one is overdue.
    pub(in crate::reactor) fn next_deadline(&self) -> Option<Moment> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.since + self.timeout)
    }

    /// Closes one that is overdue by `judged`, by which everything was read that had come. Returns its peer.
    pub(in crate::reactor) fn expire(&mut self, judged: Moment) -> Option<SocketAddr> {
        let is_due = self.next_deadline().is_some_and(|at| at <= judged);
        is_due.then(|| self.waiting.pop_first()).flatten().map(|(_, waiting)| waiting.balancer)
    }

    /// Closes all. Returns their peers.
    pub(in crate::reactor) fn close_all(&mut self) -> Vec<SocketAddr> {
        self.ready.clear();
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.balancer).collect()
    }
}

fn token_of(name: u32) -> Token {
    Token((name as usize) << 32 | UNANNOUNCED_BIT)
}

/// The name of a connection that waits for its header, if the token is of one.
pub(in crate::reactor) fn unannounced_of(token: Token) -> Option<u32> {
    let Token(bits) = token;
    (bits & 0xffff_ffff == UNANNOUNCED_BIT).then_some(u32::try_from(bits >> 32).ok()?)
}
