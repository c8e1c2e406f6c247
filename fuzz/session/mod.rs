//! Whole sessions: the input's bytes say what peers, disk and clock do to a hub, step by step. The body of the
//! fuzz target `session`, and of its short run in the tests.
//!
//! What holds whatever they say: nothing panics, the hub's own invariants hold between turns, no step goes on for
//! ever, buffers and queues stay within bounds, and what was acknowledged is stored, over kills and power cuts too.
//! At the end only parked queries are left, and healthy agencies still complete the draw.

mod checks;
mod peer;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use loteria::hub::{EarlyQuery, Hub, OnAgencyLoss, Policy};
use loteria::limits;
use loteria::lottery::{Agency, AgencyId, Lottery, Roster};
use loteria::storage::{CommitError, Options, Store};
use loteria::timers::Moment;
use loteria::wire::Dialect;

use crate::storage_kit::disk::{Mounted, SimDisk};
use peer::{Acknowledged, Peer};

/// One step of a session, by the byte that says it, modulo their number. The numbers are in the committed corpus:
/// new steps go to the end.
pub mod step {
    pub const OPEN: u8 = 0;
    pub const FRAME: u8 = 1;
    pub const RAW: u8 = 2;
    pub const DELIVER: u8 = 3;
    pub const HALF_CLOSE: u8 = 4;
    pub const LOSE: u8 = 5;
    pub const TURN: u8 = 6;
    pub const PASS: u8 = 7;
    pub const TAKE: u8 = 8;
    pub const SPACE: u8 = 9;
    pub const KILL: u8 = 10;
    pub const POWER_CUT: u8 = 11;
    pub const CRASH_AT: u8 = 12;
    pub const AGAIN: u8 = 13;
    pub const STOP: u8 = 14;
    pub const TRANSPORT: u8 = 15;
    pub const CHURN: u8 = 16;
    pub const FAIL_SYNC: u8 = 17;
    pub const SETTLE: u8 = 18;
    pub const ALL: u8 = 19;
}

const NAMES: [&str; step::ALL as usize] = [
    "open",
    "frame",
    "raw",
    "deliver",
    "half-close",
    "lose",
    "turn",
    "pass",
    "take",
    "space",
    "kill",
    "power cut",
    "crash at",
    "again",
    "stop",
    "transport",
    "churn",
    "fail sync",
    "settle",
];

/// The winning number of every draw.
pub const WINNING_NUMBER: u32 = 7574;
/// Connections that a session has open at most.
const PEERS_MAX: usize = 12;
/// Starts that the input may ask for: each reads all that is stored.
const STARTS_MAX: usize = 8;
/// Turns that may follow one another while no byte moves: one for each request in a full inbox, and some.
const TURNS_MAX: usize = limits::PARKED_INBOX_BYTES + 1000;
/// Deadlines that may come before only parked connections are left.
const WAITS_MAX: usize = 5000;
/// What one connection's buffers may hold: twice what may wait to be read, since they grow by doubling, with the
/// replies of one turn on top, and a frame.
const BUFFERS_BYTES_MAX: usize = 4 * limits::OUTBOX_BYTES_HIGH;
/// How far time goes in one step, in milliseconds: around what the hub waits for.
const PAUSES_MS: [u64; 16] =
    [0, 1, 199, 200, 250, 999, 1000, 1001, 2001, 5000, 9999, 10_001, 30_001, 60_000, 299_999, 300_001];

/// The input, taken from its front.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// What is known to be committed.
struct Committed {
    agencies: Vec<Agency>,
    drawn: bool,
    rows_bytes: usize,
    /// The store's last group of records.
    group: u64,
}

/// A hub on its disk, its peers, and what it must not forget.
pub struct Session {
    disk: SimDisk,
    hub: Hub<Store<Mounted>>,
    policy: Policy,
    options: Options,
    roster: Roster,
    now: Moment,
    peers: Vec<Peer>,
    committed: Committed,
    /// Every committed row.
    rows: HashSet<Vec<u8>>,
    acknowledged: Acknowledged,
    /// The document of the next bet.
    document: u32,
    /// A commit has failed: the disk may have more than was answered.
    torn: bool,
    starts: usize,
    /// Bytes that went either way.
    moved: usize,
    /// Every step is printed, for a person to read.
    told: bool,
}

/// Runs one session.
pub fn run(input: &[u8]) {
    checks::listen_to_the_log();
    let mut input = Input(input);
    let mut session = Session::new(&mut input);
    while let Some(step) = input.byte() {
        session.step(step % step::ALL, &mut input);
    }
    session.end();
}

fn policy(choices: usize, last: AgencyId) -> Policy {
    let bit = |bit: usize| choices >> bit & 1 == 1;
    Policy {
        early_query: if bit(0) { EarlyQuery::Reject } else { EarlyQuery::Park },
        on_agency_loss: if bit(1) { OnAgencyLoss::Exclude } else { OnAgencyLoss::Wait },
        unnumbered_agencies: if bit(2) { vec![last] } else { Vec::new() },
        connections_max: if bit(3) { 3 } else { PEERS_MAX },
        frame_bytes_max: if bit(4) { 512 } else { 64 * 1024 },
        echo: !bit(5),
        ..Policy::default()
    }
}

impl Session {
    fn new(input: &mut Input<'_>) -> Session {
        let (choices, size) = (input.number(), input.number());
        let agencies = 1 + size % 4;
        let options = Options {
            sync: choices & 0x40 == 0,
            winning_number: WINNING_NUMBER,
            adopt: false,
            agencies,
            journal_step: [1, 4, 64][size / 4 % 3],
            redo_bytes: [64 * 1024, 8192, 0][size / 12 % 3],
        };
        let disk = SimDisk::new(7574);
        let roster = Roster::parse(&agencies.to_string()).expect("a roster");
        let policy = policy(choices, *roster.ids().last().expect("an agency"));
        let now = Moment::after_origin(Duration::from_secs(1));
        let (store, _) = Store::open(disk.mount(), options.clone()).expect("an empty disk");
        let lottery = Lottery::new(roster.clone(), WINNING_NUMBER);
        let agencies = vec![Agency::default(); agencies];
        Session {
            hub: Hub::new(policy.clone(), lottery, store, now),
            disk,
            policy,
            options,
            roster,
            now,
            peers: Vec::new(),
            committed: Committed { agencies, drawn: false, rows_bytes: 0, group: 0 },
            rows: HashSet::new(),
            acknowledged: Acknowledged::default(),
            document: 10_000_000,
            torn: false,
            starts: 0,
            moved: 0,
            told: std::env::var_os("FUZZ_TELL").is_some(),
        }
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        self.tell(|session| {
            format!("{} with {:?} at {:?}", NAMES[usize::from(step)], input.0.iter().take(4), session.now)
        });
        match step {
            step::OPEN => self.open(input.number(), input.number()),
            step::FRAME => self.frame(input.number(), input.number(), input.number(), input.number()),
            step::RAW => {
                let (at, count) = (input.number(), input.number());
                let bytes = input.bytes(count);
                self.with_peer(at, |peer| peer.say_anything(bytes));
                self.deliver(at);
            }
            step::DELIVER => {
                let (at, count) = (input.number(), input.number());
                self.with_peer(at, |peer| peer.arrives(count));
                self.deliver(at);
            }
            step::HALF_CLOSE => self.half_close(input.number()),
            step::LOSE => self.lose(input.number()),
            step::TURN => drop(self.turn()),
            step::PASS => self.pass(Duration::from_millis(PAUSES_MS[input.number() % PAUSES_MS.len()])),
            step::TAKE => {
                let (at, takes) = (input.number(), input.number());
                self.with_peer(at, |peer| peer.set_takes(takes));
            }
            step::SPACE => {
                let more = input.byte().unwrap_or(0);
                self.disk.set_space((more < 255).then(|| self.disk.used() + u64::from(more) * 64));
            }
            step::KILL | step::POWER_CUT | step::STOP if self.starts >= STARTS_MAX => drop(self.turn()),
            step::KILL => self.restart(false),
            step::POWER_CUT => self.restart(self.options.sync),
            step::CRASH_AT => self.disk.crash_at_call(Some(input.number() as u64)),
            step::AGAIN => {
                let (at, times) = (input.number(), input.number());
                self.with_peer(at, |peer| peer.say_again(times));
                self.deliver(at);
            }
            step::STOP => self.stop(),
            step::TRANSPORT => self.transport(input.number(), input.number()),
            step::CHURN => self.churn(input.number(), input.number()),
            step::FAIL_SYNC => self.disk.fail_sync(Some(input.number() as u64 % 8)),
            step::SETTLE => self.settle(),
            _ => unreachable!("there is no such step"),
        }
    }

    fn tell(&self, words: impl FnOnce(&Session) -> String) {
        if self.told {
            eprintln!("{}", words(self));
        }
    }

    fn with_peer(&mut self, at: usize, act: impl FnOnce(&mut Peer)) {
        let count = self.peers.len();
        if count > 0 {
            act(&mut self.peers[at % count]);
        }
    }

    /// A peer connects, as the reactor lets it in.
    fn open(&mut self, from: usize, takes: usize) {
        if self.peers.len() >= PEERS_MAX + 4 {
            return;
        }
        let host = Ipv4Addr::new(10, 0, 0, u8::try_from(from % 4).expect("four of them"));
        let address = SocketAddr::from((host, 40_000));
        let mut admitted = self.hub.open(address, self.now).ok();
        if admitted.is_none()
            && let Some(id) = self.hub.evict(Some(address.ip()))
        {
            self.hub.closed(id, self.now);
            self.peers.retain(|peer| peer.id != id);
            admitted = Some(self.hub.open(address, self.now).expect("a slot has come free"));
        }
        let refused = admitted.is_none();
        if let Some(id) = admitted.or_else(|| self.hub.refuse(address, self.now)) {
            let mut peer = Peer::new(id, refused);
            peer.set_takes(takes);
            self.peers.push(peer);
        }
    }

    /// A number below the agencies' and `more`.
    fn agency(&self, choice: usize, more: usize) -> u32 {
        u32::try_from(choice % (self.roster.ids().len() + more)).expect("a byte's choice")
    }

    /// A peer says a whole frame. The top bit of `what` keeps it from being delivered at once.
    fn frame(&mut self, at: usize, what: usize, agency: usize, count: usize) {
        let agency = self.agency(agency, 2);
        let document = self.document;
        self.document += 4;
        self.with_peer(at, |peer| {
            peer.say(what & 0x7f, agency, count, document);
            if what & 0x80 == 0 {
                peer.arrives(usize::MAX);
            }
        });
        self.deliver(at);
    }

    /// What has arrived of a peer's words is read, as far as the hub wants it.
    fn deliver(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.peers.len()) else { return };
        let id = self.peers[at].id;
        loop {
            let room = self.hub.read_room(id).min(limits::READ_BYTES);
            let bytes = self.peers[at].take_arrived(room);
            if bytes.is_empty() {
                break;
            }
            self.moved += bytes.len();
            self.tell(|_| format!("  {id:?} says {}", bytes.escape_ascii()));
            if !self.hub.is_closing(id) {
                self.hub.receive(id, &bytes, self.now);
            }
        }
        if self.hub.wants_read(id) && self.peers[at].ends_now() {
            self.hub.half_close(id, self.now);
        }
        self.close_if_done(at);
    }

    fn half_close(&mut self, at: usize) {
        self.with_peer(at, |peer| peer.ended = true);
        self.deliver(at);
    }

    fn lose(&mut self, at: usize) {
        if !self.peers.is_empty() {
            let peer = self.peers.remove(at % self.peers.len());
            self.hub.closed(peer.id, self.now);
        }
    }

    /// Ends our side of a connection that has said all, and closes it once its peer has, too.
    fn close_if_done(&mut self, at: usize) {
        let peer = &self.peers[at];
        if self.hub.is_done(peer.id) && (peer.told_end || self.hub.is_cut(peer.id)) {
            self.hub.closed(peer.id, self.now);
            self.peers.remove(at);
        }
    }

    /// What TLS would do beneath a connection.
    fn transport(&mut self, at: usize, what: usize) {
        let count = self.peers.len();
        let Some(peer) = self.peers.get_mut(at % count.max(1)) else { return };
        match what {
            0..8 => self.hub.certify(peer.id, AgencyId(u32::try_from(what).expect("a byte"))),
            8..255 => self.hub.hold(peer.id, what * 128),
            _ => {
                peer.stop_tracking();
                self.hub.hang_up(peer.id, self.now);
            }
        }
    }

    /// Peers come and go; the hub must not keep anything of them.
    fn churn(&mut self, count: usize, first: usize) {
        let agency = 1 + self.agency(first, 0);
        for _ in 0..count {
            let Ok(id) = self.hub.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)), self.now) else { return };
            let mut query = Vec::new();
            let dialect = Dialect::ALL[first % Dialect::ALL.len()];
            dialect.put_hello(AgencyId(agency), &mut query);
            if agency == 1 {
                // It waits for the draw, and does not wait.
                Dialect::Binary.put_query(AgencyId(agency), &mut query);
            }
            self.hub.receive(id, &query, self.now);
            if !self.turn() {
                return;
            }
            self.hub.closed(id, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    /// Turns until none is due.
    fn settle(&mut self) {
        let (mut turns, mut moved) = (0, self.moved);
        while turns < TURNS_MAX {
            self.turn();
            turns = if self.moved == moved { turns + 1 } else { 0 };
            moved = self.moved;
            if !self.hub.has_work() && self.hub.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("{TURNS_MAX} turns, and still something is due");
    }

    /// One turn, as the reactor's; says whether the hub is the same still.
    fn turn(&mut self) -> bool {
        self.hub.polled(self.now);
        self.hub.watermark().none_to_accept();
        self.hub.watermark().writes_tried();
        self.hub.begin_reads(self.now);
        (0..self.peers.len()).rev().for_each(|at| self.deliver(at));
        self.hub.end_reads(self.now);
        let ticked = self.hub.tick(self.now);
        let committed = ticked.and_then(|()| self.hub.commit(self.now));
        match committed {
            Ok(committed) if !self.disk.crashed() => {
                self.note_committed();
                self.hub.release(committed, self.now);
            }
            Err(CommitError::Full(error)) => panic!("finishes and the draw find no room: {error}"),
            Ok(_) | Err(CommitError::Fatal(_)) => {
                self.torn = true;
                self.restart(self.options.sync);
                return false;
            }
        }
        self.hub.assert_invariants();
        self.assert_bounds();
        while self.hub.take_dirty().is_some() {}
        self.receive_all();
        true
    }

    /// Each peer receives what the hub has sent, up to what the peer takes in a turn.
    fn receive_all(&mut self) {
        for at in (0..self.peers.len()).rev() {
            let id = self.peers[at].id;
            let taken = self.peers[at].takes.min(self.hub.outgoing(id).len());
            if taken > 0 {
                let bytes = self.hub.outgoing(id)[..taken].to_vec();
                self.hub.sent(id, taken, self.now);
                self.moved += taken;
                self.tell(|_| format!("  {id:?} receives {}", bytes.escape_ascii()));
                let before = self.acknowledged.bets.len();
                self.peers[at].receive(&bytes, &mut self.acknowledged);
                self.assert_stored(before);
            }
            self.close_if_done(at);
        }
    }
}
