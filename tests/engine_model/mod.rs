//! A small PostgreSQL cluster on the other side of the bytes: what a hub's statements do there, deterministically.
//!
//! It has the tables of `server --schema`, the statements that the hub sends, row locks with queues, and commits that wait for a
//! standby. Nothing sleeps: time is a number that the caller advances. Nothing is random either, but the delays of flushes and
//! replication, which follow from a seed. `tests/ledger_contract.rs` compares its answers with those of a real server.
//!
//! What it knows of a real cluster:
//!
//! * a node has a log of transactions, and has flushed a part of it; a standby has what its leader had flushed a while ago;
//! * a commit is answered when the leader and one standby have it. Until then its row locks are held, and others do not see it;
//! * others see it without a standby when the leader has restarted, or when somebody has cancelled the wait.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod execute;
mod faults;
mod lease;
mod locks;
mod node;
#[path = "../storage_kit/random.rs"]
mod random;
mod select;
mod session;
mod statements;
mod tables;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use node::{Event, Node};
pub use random::Random;
use session::Session;
pub use statements::Key;
pub use tables::{Agency, Batch, Change, Draw, Instance, Standing, Tables, Uuid};
pub use wire::{Reader, put, take};

/// A connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link(pub u32);

/// How long things take, in microseconds: each time something between nothing and this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    pub flush: u64,
    pub replication: u64,
}

/// Why a node took no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoConnection {
    /// Its machine runs and the server does not.
    Refused,
    /// There is no answer.
    Silent,
}

/// Three nodes, the first of which leads at the start, and the connections to them.
pub struct Cluster {
    now: u64,
    random: Random,
    delays: Delays,
    /// Whether commits wait for a standby.
    replicas: bool,
    nodes: Vec<Node>,
    sessions: BTreeMap<Link, Session>,
    next_link: u32,
    /// By time, then in the order in which they were made.
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    /// Sessions that may have something to do.
    ready: VecDeque<Link>,
    /// There is no space: statements that store batches fail.
    full: bool,
    /// New sessions send what they say at once.
    eager: bool,
    /// Few transaction numbers are left: each new one comes with a warning.
    asks_for_vacuum: bool,
}

impl Cluster {
    /// Three nodes without draws. With `replicas` a commit waits for a standby.
    pub fn new(seed: u64, replicas: bool, delays: Delays) -> Cluster {
        let nodes = (0..3).map(|number| Node::new((number > 0).then_some(0))).collect();
        Cluster {
            now: 0,
            random: Random::new(seed),
            delays,
            replicas,
            nodes,
            sessions: BTreeMap::new(),
            next_link: 1,
            events: BTreeMap::new(),
            next_event: 0,
            ready: VecDeque::new(),
            full: false,
            eager: false,
            asks_for_vacuum: false,
        }
    }

    /// The time, in microseconds since the start.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// When the next thing happens by itself.
    pub fn next_event(&self) -> Option<u64> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    /// Lets time pass until `until`, with all that happens before.
    pub fn advance(&mut self, until: u64) {
        while let Some((&key, _)) = self.events.iter().next().filter(|((at, _), _)| *at <= until) {
            let event = self.events.remove(&key).expect("it was there");
            self.now = self.now.max(key.0);
            self.happen(event);
            self.run();
        }
        self.now = self.now.max(until);
    }

    /// Connects to a node, at once.
    pub fn connect(&mut self, node: usize) -> Result<Link, NoConnection> {
        match &self.nodes[node] {
            node if node.unreachable => Err(NoConnection::Silent),
            node if !node.is_up => Err(NoConnection::Refused),
            _ => {
                let link = Link(self.next_link);
                self.next_link += 1;
                self.sessions.insert(link, Session::new(node, self.eager));
                Ok(link)
            }
        }
    }

    /// Whether sessions from now on send each message at once, as a server may: `UPDATE 1` long before the commit.
    pub fn set_eager(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// Whether so few transaction numbers are left that each new one comes with a warning.
    pub fn set_asks_for_vacuum(&mut self, asks: bool) {
        self.asks_for_vacuum = asks;
    }

    /// Sends bytes, which arrive at once unless the link is [held](Self::hold).
    pub fn send(&mut self, link: Link, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        session.network.extend(bytes);
        if !session.held {
            self.deliver(link, usize::MAX);
        }
    }

    /// Lets at most `count` bytes arrive that were sent on this link.
    pub fn deliver(&mut self, link: Link, count: usize) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let count = count.min(session.network.len());
        session.inbox.extend(session.network.drain(..count));
        self.ready.push_back(link);
        self.run();
        self.advance(self.now);
    }

    /// Takes at most `count` bytes of what the server has sent.
    pub fn receive(&mut self, link: Link, count: usize) -> Vec<u8> {
        let Some(session) = self.sessions.get_mut(&link) else { return Vec::new() };
        let count = count.min(session.out.len());
        session.out.drain(..count).collect()
    }

    /// How many bytes the server has sent that nothing has taken.
    pub fn waiting(&self, link: Link) -> usize {
        self.sessions.get(&link).filter(|session| !session.is_reset).map_or(0, |session| session.out.len())
    }

    /// Whether the server has ended this link. Bytes that it sent before are still there.
    pub fn is_ended(&self, link: Link) -> bool {
        self.sessions.get(&link).is_none_or(|session| session.ended || session.is_reset)
    }

    /// Whether the link waits for a row lock.
    pub fn waits_for_lock(&self, link: Link) -> bool {
        self.sessions.get(&link).is_some_and(Session::waits_for_lock)
    }

    /// Whether a commit of the link waits for a standby.
    pub fn waits_for_standby(&self, link: Link) -> bool {
        self.sessions.get(&link).is_some_and(Session::waits_for_standby)
    }

    /// Makes a draw and its roster, as a person or another hub did long ago.
    pub fn make_draw(&mut self, draw: i32, winning_number: i64, agencies: impl IntoIterator<Item = (i32, Standing)>) {
        let row = Draw { winning_number, held: None, drawn: None, bets: None };
        let mut changes = vec![Change::Draw(draw, row)];
        for (agency, standing) in agencies {
            changes.push(Change::Agency((draw, agency), Agency { batches: 0, bets: 0, standing, seen: None }));
        }
        self.store_everywhere(changes);
    }

    /// The node that takes writes; the last one that was promoted, if several believe that they do.
    pub fn leader(&self) -> Option<usize> {
        let leads = |(at, node): (usize, &Node)| (node.upstream.is_none() && node.is_up).then_some((node.term, at));
        self.nodes.iter().enumerate().filter_map(leads).max().map(|(_, at)| at)
    }

    /// What every connection sees at the leader.
    pub fn visible(&self) -> &Tables {
        let leader = self.leader().unwrap_or_else(|| self.last_leader());
        &self.nodes[leader].tables
    }

    /// Every draw that the leader's log has made, with the instance that made it: one for each draw, unless something is wrong.
    pub fn draws_made(&self) -> Vec<(i32, Uuid)> {
        let leader = self.leader().unwrap_or_else(|| self.last_leader());
        let mut made: Vec<(i32, Uuid)> = Vec::new();
        for change in self.nodes[leader].log.iter().flat_map(|record| &record.changes) {
            if let Change::Draw(draw, Draw { drawn: Some((_, by)), .. }) = change
                && made.last() != Some(&(*draw, *by))
            {
                made.push((*draw, *by));
            }
        }
        made
    }

    fn last_leader(&self) -> usize {
        let by_term = |at: &usize| self.nodes[*at].upstream.is_none().then_some(self.nodes[*at].term);
        (0..self.nodes.len()).max_by_key(by_term).expect("there are nodes")
    }

    fn delay(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.random.below(most + 1) }
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.events.insert((self.now.saturating_add(after), self.next_event), event);
        self.next_event += 1;
    }

    /// Runs sessions until each of them waits for something.
    fn run(&mut self) {
        while let Some(link) = self.ready.pop_front() {
            self.pump(link);
        }
    }
}
