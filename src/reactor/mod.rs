//! The loop: one thread, one poll, every socket, timer and signal.
//!
//! Owns descriptors and readiness; knows nothing of bets or dialects. It reports to the hub what happened and
//! does what the hub says.

mod accept;
mod announced;
mod aside;
mod clock;
mod connections;
mod descriptors;
mod engine;
mod listener;
pub mod proxy;
mod shutdown;
mod signals;
mod socket;
pub mod status;
mod step_aside;
mod times;
pub mod tls;

use std::io;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use aside::Aside;
pub use clock::Clock;
pub use descriptors::allow_connections;
pub use engine::{EngineHost, EngineNetwork, EngineTls};
pub use listener::{Bound, Listener};
use proxy::{Unannounced, unannounced_of};
pub use signals::StopSignals;
use socket::Socket;
use status::{LoopView, StatusService, Traffic};
use times::TurnMarks;
use tls::Tls;

use crate::hub::{ConnectionId, Hub};
use crate::limits;
use crate::logging::{Flow, LogOutput};
use crate::storage::{CommitError, Keep};
use crate::timers::Moment;

const LISTENER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const LOG: Token = Token(usize::MAX - 2);
/// Behind those of the status service (`status/tokens.rs`).
const KEEPER: Token = Token(usize::MAX - 5);
/// The listener, the signals, and room to spare. One poll has to report every ready source: a connection
/// that it left out could time out unread.
const EVENTS_BESIDES: usize = 16;
/// The same for the status service's sockets.
const STATUS_EVENTS: usize = limits::STATUS_LOCAL_MAX + limits::STATUS_NETWORK_MAX;

/// Why the loop ended, other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The disk failed; nothing may be acknowledged any more.
    #[error("{0}")]
    Disk(CommitError),
    /// The system refused what the loop needs.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<CommitError> for RunError {
    fn from(error: CommitError) -> RunError {
        RunError::Disk(error)
    }
}

/// The hub on real sockets.
pub struct Reactor<K: Keep> {
    hub: Hub<K>,
    poll: Poll,
    incoming: Incoming,
    sockets: Sockets,
    encryption: Encryption,
    keeper: KeeperWatch,
    clock: Clock,
    log: LogPort,
    status: Option<StatusService>,
    measures: Measures,
    signals: StopSignals,
    stopping: bool,
}

/// How connections come in.
struct Incoming {
    /// `None` while the hub steps aside, and once it stops.
    listener: Option<Listener>,
    /// There may be connections to accept: now, or after a pause for want of descriptors.
    next: Accept,
    /// Descriptors have run out, and no connection has been accepted since.
    exhausted: bool,
    aside: Aside,
    unannounced: Unannounced,
}

impl Incoming {
    /// Whether new connections are served, or are refused on purpose.
    fn is_in_order(&self) -> bool {
        (self.listener.is_some() || self.aside.is_aside()) && !self.exhausted
    }
}

/// The sockets of connections.
struct Sockets {
    /// By the connection's slot.
    slots: Vec<Option<Socket>>,
    /// Those that may take more.
    writable: Vec<ConnectionId>,
    /// What they are read into.
    scratch: Box<[u8]>,
}

/// TLS, where it is served, and how many handshakes this turn may still do.
struct Encryption {
    tls: Option<Tls>,
    handshakes_left: usize,
}

/// When to turn to the keeper.
struct KeeperWatch {
    /// Its descriptor was ready.
    is_ready: bool,
    /// When it was last looked whether the store's files are still there.
    checked: Instant,
}

/// The log's output, and when to retry it after a flush that failed.
struct LogPort {
    output: LogOutput,
    retry: Option<Moment>,
}

impl LogPort {
    fn flush(&mut self, now: Moment) {
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.output.try_again();
        }
        if self.output.flush() == Flow::Failed && self.retry.is_none() {
            self.retry = Some(now + limits::LOG_RETRY);
        }
    }
}

/// What is measured for the status service.
struct Measures {
    traffic: Traffic,
    marks: TurnMarks,
}

/// Whether to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accept {
    /// An event will tell.
    Idle,
    /// There may be more, whatever events say.
    Pending,
    /// Descriptors ran out: again at this moment, or when one comes free.
    Paused(Moment),
}

impl<K: Keep> Reactor<K> {
    /// A loop around `hub`, for the peers of `listener`, which may use `tls` where there is one, that `signals`
    /// end. `status`: where the hub can be looked at.
    ///
    /// # Errors
    /// As the system says.
    pub fn new(
        mut hub: Hub<K>,
        mut listener: Listener,
        tls: Option<Tls>,
        mut signals: StopSignals,
        mut clock: Clock,
        log: LogOutput,
        mut status: Option<StatusService>,
    ) -> io::Result<Reactor<K>> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener.socket, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut signals.signals, SIGNALS, Interest::READABLE)?;
        if let Some(descriptor) = log.descriptor() {
            // Refused for what is always writable, such as /dev/null.
            let _ = poll.registry().register(&mut SourceFd(&descriptor), LOG, Interest::WRITABLE);
        }
        if let Some(descriptor) = hub.keeper().descriptor() {
            poll.registry().register(&mut SourceFd(&descriptor), KEEPER, Interest::READABLE)?;
        }
        if let Some(status) = &mut status {
            status.register(poll.registry())?;
            hub.add_observer(status.observer());
        }
        // What came before the loop is no stall of it.
        clock.account(Duration::MAX);
        hub.watermark().set_backlog(listener.backlog());
        let marks = TurnMarks::before_all(hub.keeper().group());
        let unannounced = Unannounced::new(std::mem::take(&mut listener.balancers), hub.handshake_timeout());
        Ok(Reactor {
            hub,
            poll,
            incoming: Incoming {
                listener: Some(listener),
                next: Accept::Pending,
                exhausted: false,
                aside: Aside::default(),
                unannounced,
            },
            sockets: Sockets {
                slots: Vec::with_capacity(limits::CONNECTIONS_RESERVED),
                writable: Vec::new(),
                scratch: vec![0; limits::READ_BYTES].into_boxed_slice(),
            },
            encryption: Encryption { tls, handshakes_left: limits::TLS_HANDSHAKES_PER_TURN },
            keeper: KeeperWatch { is_ready: false, checked: Instant::now() },
            clock,
            log: LogPort { output: log, retry: None },
            status,
            measures: Measures { traffic: Traffic::default(), marks },
            signals,
            stopping: false,
        })
    }

    /// Serves until a signal comes, then closes everything.
    ///
    /// # Errors
    /// A disk or a system that fails.
    pub fn run(mut self) -> Result<(), RunError> {
        let connections = self.hub.connections_max() + limits::UNANNOUNCED_MAX;
        let mut events = Events::with_capacity(connections + STATUS_EVENTS + EVENTS_BESIDES);
        tell_manager(&[NotifyState::Ready]);
        // A draw that was due when an earlier run ended is made before any connection is read.
        self.end_turn(self.clock.now())?;
        loop {
            let now = self.wait(&mut events)?;
            if self.note_events(&events, now) {
                self.signals.second.arm_soon();
                return self.shut_down(&mut events);
            }
            // What is not read is not timed out either: the input watermark stands still.
            if self.log.output.hold().is_none() {
                self.accept(now);
                self.write_ready(now);
                self.encryption.handshakes_left = limits::TLS_HANDSHAKES_PER_TURN;
                self.read_all(now);
            }
            self.go_on(now);
            self.step_aside(now);
            let judged = self.hub.watermark().at();
            self.hub.tick(judged)?;
            self.expire_unannounced(judged);
            self.end_turn(now)?;
            self.serve_viewers(now);
        }
    }

    /// Commits, then writes the log, then sends what the commit released: the line of a batch is out before
    /// its acknowledgement is.
    fn end_turn(&mut self, now: Moment) -> Result<(), RunError> {
        if self.status.is_some() {
            self.measures.marks.commits(self.clock.elapsed());
        }
        let committed = self.hub.commit(now)?;
        let now = self.clock.account(Duration::ZERO);
        self.measures.marks.releases(self.clock.accounted());
        // By real time: what another program did while the hub was stopped is seen before anything is acknowledged.
        if self.keeper.checked.elapsed() >= limits::STORE_CHECK_PERIOD {
            self.hub.check_store()?;
            self.keeper.checked = Instant::now();
        }
        self.hub.release(committed, now);
        self.log.output.flush();
        self.write_all(now);
        self.log.flush(now);
        Ok(())
    }

    /// Tells the status service of the turn that has ended, then serves viewers.
    fn serve_viewers(&mut self, now: Moment) {
        let Some(status) = &mut self.status else { return };
        let group = self.hub.keeper().group();
        let did_something = self.measures.marks.did_something(self.measures.traffic, group);
        if did_something {
            let mut times = self.measures.marks.end(self.measures.traffic, group, self.clock.elapsed());
            // Elsewhere a commit takes as long as its answer, which the loop does not wait for.
            times.committed &= self.hub.keeper().draws_here();
            status.turn(&times);
            self.measures.marks.set_traced(status.is_traced());
        }
        let view = LoopView {
            sockets: &self.sockets.slots,
            unannounced: self.incoming.unannounced.len(),
            log: &self.log.output,
            uptime: self.clock.accounted(),
            traffic: self.measures.traffic,
            listening: self.incoming.is_in_order(),
            stopping: self.stopping,
            trouble: self.hub.keeper().trouble().map(|trouble| trouble.why),
            certificate_expiry: self.encryption.tls.as_ref().and_then(Tls::expiry),
            is_busy: did_something || self.hub.has_reads(),
        };
        status.serve(&self.hub, self.poll.registry(), &view, now);
    }

    /// Has the keeper go on where it was ready, or its time has come.
    fn go_on(&mut self, now: Moment) {
        let is_due = self.hub.keeper().next_wake().is_some_and(|at| at <= now);
        if std::mem::take(&mut self.keeper.is_ready) || is_due {
            self.hub.go_on(now);
        }
    }

    /// Whether sockets wait to be read or written.
    fn is_busy(&self) -> bool {
        self.hub.has_reads() || self.incoming.unannounced.has_reads() || !self.sockets.writable.is_empty()
    }

    /// Waits for events, or for the next thing that time brings; not at all while there is work in hand. Returns the
    /// time after that.
    fn wait(&mut self, events: &mut Events) -> io::Result<Moment> {
        let viewers = self.status.as_ref().and_then(StatusService::next_wake);
        let viewers = viewers.map_or(limits::POLL_MAX, |at| self.clock.until(at));
        let keeper = self.hub.keeper().next_wake();
        if let Some(left) = self.log.output.hold() {
            let keeper = keeper.map_or(limits::POLL_MAX, |at| self.clock.until(at));
            return self.poll(events, left.min(self.until_store_check()).min(viewers).min(keeper));
        }
        let busy = self.is_busy() || self.hub.has_work() || self.incoming.next == Accept::Pending;
        let timeout = if busy {
            Duration::ZERO
        } else {
            let paused = if let Accept::Paused(until) = self.incoming.next { Some(until) } else { None };
            // A hub that cannot read cannot judge time either.
            let due = [self.hub.next_deadline(), self.incoming.unannounced.next_deadline()];
            let due = due.into_iter().flatten().min().filter(|_| !self.hub.is_stalled());
            let next = [due, paused, self.log.retry, keeper].into_iter().flatten().min();
            let next = next.map_or(limits::POLL_MAX, |at| self.clock.until(at).min(limits::POLL_MAX));
            next.min(self.until_store_check()).min(viewers)
        };
        self.poll(events, timeout)
    }

    fn until_store_check(&self) -> Duration {
        limits::STORE_CHECK_PERIOD.saturating_sub(self.keeper.checked.elapsed())
    }

    fn poll(&mut self, events: &mut Events, timeout: Duration) -> io::Result<Moment> {
        let before = self.clock.account(Duration::ZERO);
        let waited_from = self.clock.accounted();
        let polled = self.poll.poll(events, Some(timeout));
        let now = self.clock.account(timeout);
        self.hub.polled(before);
        if let Some(status) = &mut self.status {
            self.measures.marks.begin(waited_from, self.clock.accounted());
            status.tick(self.clock.accounted());
        }
        match polled {
            Ok(()) => Ok(now),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(now)
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers what the events say; says whether to stop.
    fn note_events(&mut self, events: &Events, now: Moment) -> bool {
        let mut stop = false;
        for event in events {
            match event.token() {
                LISTENER => self.incoming.next = Accept::Pending,
                LOG => self.log.output.try_again(),
                KEEPER => self.keeper.is_ready = true,
                SIGNALS => stop |= self.note_signals(now),
                _ if self.status.as_mut().is_some_and(|status| status.note(event)) => {}
                token => match unannounced_of(token) {
                    Some(name) => self.incoming.unannounced.note(name),
                    None => self.note_readiness(connection_of(token.0), event, now),
                },
            }
        }
        stop
    }

    /// Says whether to stop.
    fn note_signals(&mut self, now: Moment) -> bool {
        let pending: Vec<i32> = self.signals.signals.pending().collect();
        if pending.contains(&SIGHUP) {
            self.read_certificates_again();
        }
        if pending.contains(&SIGUSR1) {
            self.hub.log_state(now);
        }
        pending.contains(&SIGTERM) || pending.contains(&SIGINT)
    }

    /// New certificates are for new connections; with bad ones the old stay.
    fn read_certificates_again(&mut self) {
        match self.encryption.tls.as_ref().map(Tls::reload) {
            None => log::info!("action: reload | result: success | reason: there are no certificates to read again"),
            Some(Ok(tls)) => {
                self.encryption.tls = Some(tls);
                log::info!("action: reload | result: success");
            }
            Some(Err(error)) => {
                let error = crate::logging::Value(error);
                log::error!("action: reload | result: fail | reason: {error}, the old certificates stay");
            }
        }
    }
}

/// Tells the service manager, if one has started the program and wants to know (`NOTIFY_SOCKET`, sd_notify(3)).
fn tell_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        let error = crate::logging::Value(error);
        log::warn!("action: notify | result: fail | reason: {error}");
    }
}

/// The token of a connection: an event of an earlier tenant of its slot has another generation.
fn token_of(id: ConnectionId) -> Token {
    Token((id.generation as usize) << 32 | id.slot as usize)
}

fn connection_of(token: usize) -> ConnectionId {
    let low = |bits: usize| u32::try_from(bits & 0xffff_ffff).expect("32 bits are left");
    ConnectionId { slot: low(token), generation: low(token >> 32) }
}

// A token holds both halves of a connection's id.
const _: () = assert!(usize::BITS >= 64);
