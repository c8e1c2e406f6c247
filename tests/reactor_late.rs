//! The loop on real sockets, with a keeper that settles turns late: as one does whose disk is another machine's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use loteria::hub::{Hub, Policy};
use loteria::logging::LogOutput;
use loteria::lottery::{AgencyId, BatchError, BetSource, Lottery, Roster};
use loteria::reactor::{Clock, Listener, Reactor, StopSignals};
use loteria::storage::{
    CommitError, Keep, Load, Match, MatchError, MemoryDisk, Options, Place, Settled, StagedBatch, Store, TurnNumber,
};
use loteria::timers::Moment;
use loteria::wire::Dialect;
use rustix::process::{Signal, getpid, kill_process};

mod core_kit;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the test and the keeper tell each other.
#[derive(Debug, Default)]
struct Gate {
    /// Nothing is settled.
    shut: AtomicBool,
    /// How often the keeper was asked while a turn was in flight, and nothing was settled.
    asked_in_vain: AtomicU64,
    /// The gate opens by itself at so many questions; 0: it does not.
    opens_at: AtomicU64,
}

impl Gate {
    /// Waits until the hub has asked some more times for a turn that is not settled.
    fn wait_for_questions(&self, more: u64) {
        let enough = self.asked_in_vain.load(Ordering::SeqCst) + more;
        let began = Instant::now();
        while self.asked_in_vain.load(Ordering::SeqCst) < enough {
            assert!(began.elapsed() < PATIENCE, "the hub does not ask for a turn in flight");
            thread::yield_now();
        }
    }
}

/// A store behind a gate. Turns in flight reach it at once; what became of them is told when the gate is open.
#[derive(Debug)]
struct Gated {
    store: Store<MemoryDisk>,
    gate: Arc<Gate>,
    in_flight: bool,
    /// When the hub had it go on, last.
    asked_at: Moment,
}

impl Keep for Gated {
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        place: Place,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        Keep::stage_batch(&mut self.store, agency, place, bets)
    }

    fn stage_finish(&mut self, agency: AgencyId) {
        self.store.stage_finish(agency);
    }

    fn stage_exclusion(&mut self, agency: AgencyId) {
        self.store.stage_exclusion(agency);
    }

    fn stage_draw(&mut self, winning_number: u32) {
        self.store.stage_draw(winning_number);
    }

    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError> {
        Keep::matches(&mut self.store, agency, sequence, bets)
    }

    fn submit(&mut self, turn: TurnNumber) {
        self.store.submit(turn);
        self.in_flight = true;
    }

    fn settled(&mut self) -> Option<Settled> {
        if self.gate.shut.load(Ordering::SeqCst) {
            let asked = self.gate.asked_in_vain.fetch_add(u64::from(self.in_flight), Ordering::SeqCst);
            let opens_at = self.gate.opens_at.load(Ordering::SeqCst);
            if opens_at == 0 || asked < opens_at {
                return None;
            }
            self.gate.shut.store(false, Ordering::SeqCst);
        }
        self.in_flight = false;
        self.store.settled()
    }

    fn has_room(&self) -> bool {
        !self.in_flight
    }

    fn go_on(&mut self, now: Moment) {
        self.asked_at = now;
    }

    fn next_wake(&self) -> Option<Moment> {
        self.in_flight.then(|| self.asked_at + Duration::from_millis(1))
    }

    fn load(&self) -> Load {
        self.store.load()
    }

    fn waits(&self) -> bool {
        true
    }

    fn group(&self) -> u64 {
        Keep::group(&self.store)
    }

    fn check(&mut self) -> Result<(), CommitError> {
        self.store.check()
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        Keep::seal(&mut self.store)
    }

    fn close(&mut self) -> Result<(), CommitError> {
        Keep::close(&mut self.store)
    }
}

/// Serves two agencies until a signal; says where it listens.
fn serve(gate: Arc<Gate>, address: &mpsc::Sender<SocketAddr>) {
    let mut signals = StopSignals::register().unwrap();
    signals.opened();
    let clock = Clock::start();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, Duration::from_secs(120)).unwrap().listen(64).unwrap();
    let (store, _) = Store::open(MemoryDisk::default(), Options { agencies: 2, ..Options::default() }).unwrap();
    let keeper = Gated { store, gate, in_flight: false, asked_at: Moment::default() };
    let lottery = Lottery::new(Roster::parse("2").unwrap(), 7574);
    let hub = Hub::new(Policy::default(), lottery, keeper, clock.now());
    address.send(listener.address()).unwrap();
    Reactor::new(hub, listener, None, signals, clock, LogOutput::stdout(), None).unwrap().run().unwrap();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn has_no_reply(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn expect_stored(stream: &mut TcpStream) {
    let mut reply = [0xAA];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply, [0], "a stored batch is acknowledged");
}

/// One process, one run: signals are the whole process's.
#[test]
fn turns_that_settle_late_are_asked_for_without_events_and_answered_at_a_shutdown_too() {
    let gate = Arc::new(Gate::default());
    let (tell, address) = mpsc::channel();
    let loop_gate = Arc::clone(&gate);
    let hub = thread::spawn(move || serve(loop_gate, &tell));
    let address = address.recv_timeout(PATIENCE).unwrap();
    let mut first = connect(address);
    first.write_all(&core_kit::batch(Dialect::Binary, 1, 0)).unwrap();
    expect_stored(&mut first);

    // No socket wakes the loop: it asks by itself, and soon. By its longest poll so many questions would take minutes.
    gate.shut.store(true, Ordering::SeqCst);
    first.write_all(&core_kit::batch(Dialect::Binary, 1, 1)).unwrap();
    gate.wait_for_questions(400);
    assert!(has_no_reply(&first), "a turn that is not settled is not answered");
    gate.shut.store(false, Ordering::SeqCst);
    expect_stored(&mut first);

    // A turn in flight when the signal comes: its reply is sent before the hub ends. The keeper settles it six
    // hundred questions of a millisecond later: that is longer than peers are waited for, and well within the time for turns.
    gate.shut.store(true, Ordering::SeqCst);
    first.write_all(&core_kit::batch(Dialect::Binary, 1, 2)).unwrap();
    gate.wait_for_questions(5);
    gate.opens_at.store(gate.asked_in_vain.load(Ordering::SeqCst) + 600, Ordering::SeqCst);
    kill_process(getpid(), Signal::TERM).unwrap();
    expect_stored(&mut first);
    drop(first);
    hub.join().unwrap();
}
