//! A whole hub without sockets, files or clocks: the engine on a disk in memory, at a time that the test says.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use loteria::engine::{ConnectionId, Engine, Policy};
use loteria::lottery::{AgencyId, Bet, Lottery, Roster};
use loteria::storage::{Disk, File, Options, Store};
use loteria::timers::Moment;
use loteria::wire::Dialect;

/// A disk that never fails, but can be full.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    files: [Vec<u8>; 4],
    full: Rc<Cell<bool>>,
}

impl Disk for MemoryDisk {
    fn lock(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.files[file as usize];
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&mut self, file: File, offset: u64, written: &[u8]) -> io::Result<usize> {
        let bytes = &mut self.files[file as usize];
        let from = usize::try_from(offset).expect("a small store");
        if self.full.get() && from + written.len() > bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        bytes.resize(bytes.len().max(from + written.len()), 0);
        bytes[from..from + written.len()].copy_from_slice(written);
        Ok(written.len())
    }

    fn sync(&mut self, _: File) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, file: File, len: u64) -> io::Result<()> {
        self.files[file as usize].truncate(usize::try_from(len).expect("a small store"));
        Ok(())
    }

    fn len(&mut self, file: File) -> io::Result<u64> {
        Ok(self.files[file as usize].len() as u64)
    }

    fn drop_cache(&mut self, _: File) -> io::Result<()> {
        Ok(())
    }

    fn new_store_id(&mut self) -> io::Result<u64> {
        Ok(7574)
    }

    fn name(&self, file: File) -> String {
        format!("{file:?}")
    }
}

/// A batch of one bet.
pub fn batch(dialect: Dialect, agency: u32, sequence: u64) -> Vec<u8> {
    let bet = Bet::from_text(b"Ana", b"Paz", b"30904465", b"1999-03-17", b"7574").expect("a valid bet");
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    dialect.put_bet(AgencyId(agency), 0, &bet.as_raw(), &mut body);
    dialect.put_batch(AgencyId(agency), sequence, 1, &body, &mut frame);
    frame
}

/// A hub and its time.
pub struct Table {
    pub engine: Engine<MemoryDisk>,
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
        Table { engine: Engine::new(policy, Lottery::new(roster, 7574), store, now), full, now }
    }

    pub fn open(&mut self) -> ConnectionId {
        self.engine.open(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now).expect("there is room")
    }

    /// Bytes come, and the turn ends.
    pub fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.engine.receive(id, bytes, self.now);
        self.turn();
    }

    /// One turn, with what time has brought.
    pub fn turn(&mut self) {
        self.engine.work(self.now);
        self.engine.tick(self.now).expect("memory does not fail");
        self.end_turn();
    }

    /// What was received is stored and answered.
    pub fn end_turn(&mut self) {
        let committed = self.engine.commit(self.now).expect("memory does not fail");
        self.engine.release(committed, self.now);
    }

    /// Turns until nothing is left to do by itself.
    pub fn settle(&mut self) {
        self.turn();
        while self.engine.has_work() {
            self.turn();
        }
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    /// The peer takes all it is sent.
    pub fn hear(&mut self, id: ConnectionId) -> Vec<u8> {
        let bytes = self.engine.outgoing(id).to_vec();
        self.engine.sent(id, bytes.len(), self.now);
        bytes
    }

    /// Whether the hub wants the connection closed, or its own side ended.
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.engine.is_cut(id) || self.engine.is_done(id)
    }
}
