//! The nodes: their logs, what they have flushed, and how a commit reaches the standbys.

use std::rc::Rc;

use super::locks::Locks;
use super::tables::{Change, Record, Tables};
use super::{Cluster, Link};

/// What happens by itself.
#[derive(Debug)]
pub enum Event {
    /// A leader has its log on the disk up to here.
    Flushed { node: usize, term: u64, position: usize },
    /// A standby has its leader's log up to here.
    Received { node: usize, from: usize, term: u64, position: usize },
    /// A link has waited for a lock as long as it may.
    LockTimeout { link: Link, wait: u64 },
    /// PostgreSQL looks for a circle of locks when one was waited for this long.
    DeadlockCheck { link: Link, wait: u64 },
    /// The server notices that the client of a link that waits for a lock is gone.
    ClientGone { link: Link, wait: u64 },
}

/// A node.
pub struct Node {
    /// The server runs.
    pub is_up: bool,
    /// Its machine does nothing for now.
    pub is_paused: bool,
    /// Its machine is lost: nothing answers.
    pub unreachable: bool,
    /// A standby that receives nothing for now.
    pub is_stalled: bool,
    /// Sessions are told that they may only read.
    pub is_read_only: bool,
    /// Whom it follows; `None`: it leads, or believes so.
    pub upstream: Option<usize>,
    /// Rises with each promotion in the cluster.
    pub term: u64,
    pub log: Vec<Rc<Record>>,
    pub flushed: usize,
    /// What transactions see.
    pub tables: Tables,
    pub locks: Locks,
    /// Commits that wait for a standby, with the position behind them.
    pub commits: Vec<(usize, Link)>,
    /// How far a standby had its log.
    pub confirmed: usize,
}

impl Node {
    pub fn new(upstream: Option<usize>) -> Node {
        Node {
            is_up: true,
            is_paused: false,
            unreachable: false,
            is_stalled: false,
            is_read_only: false,
            upstream,
            term: 1,
            log: Vec::new(),
            flushed: 0,
            tables: Tables::default(),
            locks: Locks::default(),
            commits: Vec::new(),
            confirmed: 0,
        }
    }

    /// Whether it does anything.
    pub fn runs(&self) -> bool {
        self.is_up && !self.is_paused
    }
}

impl Cluster {
    /// Puts a transaction on all nodes, flushed and visible.
    pub(super) fn store_everywhere(&mut self, changes: Vec<Change>) {
        let record = Rc::new(Record { changes });
        for node in &mut self.nodes {
            assert_eq!(node.log.len(), node.flushed, "a draw is made before there is traffic");
            node.log.push(Rc::clone(&record));
            node.flushed = node.log.len();
            node.confirmed = node.flushed;
            node.tables.apply(&record.changes);
        }
    }

    /// Writes a commit to a leader's log. It is answered by [`acknowledge`](Self::acknowledge).
    pub(super) fn log_commit(&mut self, at: usize, changes: Vec<Change>) -> usize {
        let node = &mut self.nodes[at];
        node.log.push(Rc::new(Record { changes }));
        let (position, term) = (node.log.len(), node.term);
        let delay = self.delay(self.delays.flush);
        self.schedule(delay, Event::Flushed { node: at, term, position });
        position
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Flushed { node, term, position } => {
                let this = &mut self.nodes[node];
                if this.term == term && this.upstream.is_none() && this.is_up && this.log.len() >= position {
                    this.flushed = this.flushed.max(position);
                    self.replicate(node);
                    self.acknowledge(node);
                }
            }
            Event::Received { node, from, term, position } => self.received(node, from, term, position),
            Event::LockTimeout { link, wait } => self.lock_timeout(link, wait),
            Event::DeadlockCheck { link, wait } => self.deadlock_check(link, wait),
            Event::ClientGone { link, wait } => self.client_gone(link, wait),
        }
    }

    /// Sends what a leader has flushed to each node that follows it.
    pub(super) fn replicate(&mut self, from: usize) {
        let (position, term) = (self.nodes[from].flushed, self.nodes[from].term);
        if !self.nodes[from].runs() || self.nodes[from].upstream.is_some() {
            return;
        }
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            if this.upstream == Some(from) && !this.is_stalled && this.log.len() < position {
                let delay = self.delay(self.delays.replication);
                self.schedule(delay, Event::Received { node, from, term, position });
            }
        }
    }

    fn received(&mut self, at: usize, from: usize, term: u64, position: usize) {
        let (this, leader) = (&self.nodes[at], &self.nodes[from]);
        let follows = this.upstream == Some(from) && this.runs() && !this.is_stalled;
        let is_current = leader.runs() && leader.upstream.is_none() && leader.term == term;
        if !follows || !is_current || position > leader.flushed {
            return;
        }
        let new = leader.log.get(this.log.len()..position).unwrap_or_default().to_vec();
        let this = &mut self.nodes[at];
        new.iter().for_each(|record| this.tables.apply(&record.changes));
        this.log.extend(new);
        this.flushed = this.log.len();
        let flushed = this.flushed;
        let leader = &mut self.nodes[from];
        leader.confirmed = leader.confirmed.max(flushed);
        self.acknowledge(from);
    }

    /// Answers the commits of a leader that are durable where they have to be.
    pub(super) fn acknowledge(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.runs() || node.upstream.is_some() {
            return;
        }
        let durable = if self.replicas { node.flushed.min(node.confirmed) } else { node.flushed };
        let (done, rest) =
            std::mem::take(&mut node.commits).into_iter().partition(|(position, _)| *position <= durable);
        node.commits = rest;
        let done: Vec<(usize, Link)> = done;
        for (position, link) in done {
            self.committed(at, position, link);
        }
        self.run();
    }

    /// Where two logs begin to differ.
    pub(super) fn fork(&self, one: usize, other: usize) -> usize {
        let pairs = self.nodes[one].log.iter().zip(&self.nodes[other].log);
        pairs.take_while(|(one, other)| Rc::ptr_eq(one, other)).count()
    }
}
