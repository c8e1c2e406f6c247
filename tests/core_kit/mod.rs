//! A whole hub without sockets, files or clocks: the hub on a disk in memory, at a time that the test says.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod frames;

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::{ConnectionId, Hub, Policy};
use loteria::lottery::{Lottery, Roster};
use loteria::storage::{MemoryDisk, Options, Store};
use loteria::timers::Moment;

pub use frames::batch;

/// A hub and its time.
pub struct Table {
    pub hub: Hub<Store<MemoryDisk>>,
    /// Whether its disk is full.
    pub full: Rc<Cell<bool>>,
    pub now: Moment,
}

impl Table {
    /// A draw among the agencies 1 to `agencies`, on 7574.
    pub fn new(agencies: u32, policy: Policy) -> Table {
        let options = Options { agencies: agencies as usize, journal_step: 64, ..Options::default() };
        let disk = MemoryDisk::default();
        let full = Rc::clone(&disk.full);
        let (store, _) = Store::open(disk, options).expect("memory does not fail");
        let roster = Roster::parse(&agencies.to_string()).expect("a number of agencies");
        let now = Moment::after_origin(Duration::from_secs(1));
        Table { hub: Hub::new(policy, Lottery::new(roster, 7574), store, now), full, now }
    }

    pub fn open(&mut self) -> ConnectionId {
        self.hub.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)), self.now).expect("there is room")
    }

    /// Bytes come, and the turn ends.
    pub fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.hub.receive(id, bytes, self.now);
        self.turn();
    }

    /// One turn, with what time has brought.
    pub fn turn(&mut self) {
        self.hub.run_deferred(self.now);
        self.hub.tick(self.now).expect("memory does not fail");
        self.end_turn();
    }

    /// What was received is stored and answered.
    pub fn end_turn(&mut self) {
        let committed = self.hub.commit(self.now).expect("memory does not fail");
        self.hub.release(committed, self.now);
    }

    /// Turns until nothing is left to do by itself.
    pub fn settle(&mut self) {
        self.turn();
        while self.hub.has_work() {
            self.turn();
        }
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    /// The peer receives all that the hub has sent.
    pub fn receive(&mut self, id: ConnectionId) -> Vec<u8> {
        let bytes = self.hub.outgoing(id).to_vec();
        self.hub.sent(id, bytes.len(), self.now);
        bytes
    }

    /// Whether the hub wants the connection closed, or its own side ended.
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.hub.is_cut(id) || self.hub.is_done(id)
    }
}
