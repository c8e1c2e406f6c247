//! Waits for the socket, for a deadline and for signals, and writes the log meanwhile.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::output::Output;
use crate::limits;
use crate::signals::SecondSignal;
use crate::timers::{Moment, RunningTime};

/// The token of the socket.
pub const LINK: Token = Token(0);
const SIGNALS: Token = Token(1);
const WAKER: Token = Token(2);
const LOG: Token = Token(3);
const BETS: Token = Token(4);
/// The exit code of a shell for a program that a signal ended, without the signal's number.
const EXIT_BY_SIGNAL: i32 = 128;

/// Why the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// SIGTERM or SIGINT.
    Signal,
    /// A failure, which has been logged.
    Failed,
    /// The agency's file has no bets, which has been logged.
    Refused,
}

/// The readiness of the socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wake {
    /// A read may return bytes.
    pub readable: bool,
    /// A write may take bytes.
    pub writable: bool,
}

impl Wake {
    /// Adds the readiness that another wait found.
    pub fn add(&mut self, other: Wake) {
        self.readable |= other.readable;
        self.writable |= other.writable;
    }
}

/// The poll with its signals, and the client's only clock. Every wait is here, so that a signal ends it, and one rule
/// decides when a deadline is over.
pub struct Waiter {
    origin: Instant,
    time: RunningTime,
    /// The input watermark: everything that had arrived by this moment has been read.
    read_until: Moment,
    poll: Poll,
    events: Events,
    signals: Signals,
    /// Whether SIGINT came.
    interrupted: bool,
    /// Whether any signal came, also while the client does not wait here.
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    log: Output,
}

impl Waiter {
    /// A waiter that handles SIGTERM and SIGINT. A second signal that is no repeat of the first ends the process at once.
    ///
    /// # Errors
    /// No free descriptors.
    pub fn new(log: Output) -> io::Result<Waiter> {
        let poll = Poll::new()?;
        SecondSignal::register(|signal| EXIT_BY_SIGNAL + signal)?.arm_after_first()?;
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        // Behind the poll's: what sees it finds the signal in the next poll.
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        if let Some(descriptor) = log.descriptor() {
            // Fails for files that are always writable, such as /dev/null.
            let _ = poll.registry().register(&mut SourceFd(&descriptor), LOG, Interest::WRITABLE);
        }
        let (origin, time) = (Instant::now(), RunningTime::new(limits::STALL));
        let read_until = Moment::default();
        let events = Events::with_capacity(16);
        Ok(Waiter { origin, time, read_until, poll, events, signals, interrupted: false, stop, waker, log })
    }

    /// The registry for the socket.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Has more bytes of `pipe`, or its end, end a wait.
    pub fn watch(&self, pipe: RawFd) {
        // Fails for devices that are always readable, such as /dev/null.
        let _ = self.registry().register(&mut SourceFd(&pipe), BETS, Interest::READABLE);
    }

    /// A handle that ends a wait from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Becomes true with a signal, for what waits elsewhere.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Looks for signals, and does not wait.
    ///
    /// # Errors
    /// [`Halt::Signal`] after a signal.
    pub fn look_for_signals(&mut self) -> Result<(), Halt> {
        let now = self.now();
        self.wait(Some(now)).map(drop)
    }

    /// The time, without the time in which the client was stopped.
    pub fn now(&mut self) -> Moment {
        self.time.account(self.origin.elapsed(), Duration::ZERO)
    }

    /// Whether SIGINT came, as from Ctrl-C.
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether `deadline` is over and all bytes that had arrived by then have been read.
    pub fn is_over(&self, deadline: Moment) -> bool {
        self.read_until >= deadline
    }

    /// Waits until the socket is ready, the waker is used, or `until`, or for a shorter time. With a moment in the past it
    /// does not block. The caller must have read and written the socket until a call would block.
    ///
    /// # Errors
    /// [`Halt::Signal`] after a signal.
    pub fn wait(&mut self, until: Option<Moment>) -> Result<Wake, Halt> {
        let wake = self.write_log()?;
        if wake.readable || wake.writable {
            return Ok(wake);
        }
        let began = self.now();
        let wake = self.poll(until)?;
        if wake.is_some() && self.events.is_empty() {
            // A poll without events shows that everything that had arrived before it has been read.
            self.read_until = began;
        }
        Ok(wake.unwrap_or_default())
    }

    /// Writes the log, and waits for a reader that is slow but reads. Returns the readiness of the socket that was found
    /// meanwhile.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn write_log(&mut self) -> Result<Wake, Halt> {
        let mut wake = Wake::default();
        loop {
            let now = self.now();
            self.log.write(now);
            let Some(until) = self.log.holds_up(now) else { return Ok(wake) };
            wake.add(self.poll(Some(until))?.unwrap_or_default());
        }
    }

    /// Writes the last lines for as long as they are read, or else for a bounded time, which a signal shortens.
    pub fn finish_log(&mut self, mut stopped: bool) {
        let mut began = self.now();
        loop {
            let now = self.now();
            self.log.write(now);
            let Some(until) = self.log.ends_by(began, stopped).filter(|until| now < *until) else { return };
            match self.poll(Some(until)) {
                Ok(_) => {}
                Err(Halt::Failed | Halt::Refused) => return,
                Err(Halt::Signal) if stopped => {}
                Err(Halt::Signal) => (began, stopped) = (now, true),
            }
        }
    }

    /// One poll; `None` if it was interrupted.
    fn poll(&mut self, until: Option<Moment>) -> Result<Option<Wake>, Halt> {
        let now = self.now();
        let until = until.into_iter().chain(self.log.retry()).min();
        let timeout = until.map(|until| now.until(until).min(limits::POLL_MAX));
        let polled = self.poll.poll(&mut self.events, timeout);
        self.time.account(self.origin.elapsed(), timeout.unwrap_or(Duration::MAX));
        match polled {
            // After SIGSTOP and SIGCONT. The next poll finds what is ready.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(error) => {
                log::error!(target: crate::logging::CRITICAL, "action: poll | result: fail | error: {error}");
                return Err(Halt::Failed);
            }
            Ok(()) => {}
        }
        let mut wake = Wake::default();
        let mut told = false;
        for event in &self.events {
            match event.token() {
                LINK => {
                    // The next read or write returns the error or the hang-up.
                    wake.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    wake.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
                }
                SIGNALS => {
                    for signal in self.signals.pending() {
                        told = true;
                        self.interrupted |= signal == SIGINT;
                    }
                }
                LOG => self.log.try_again(),
                _ => {}
            }
        }
        if told { Err(Halt::Signal) } else { Ok(Some(wake)) }
    }
}
