//! The client's log on its way out: beside the bar, without waiting for a reader that does not read.
//!
//! Lines are written as the reader takes them. A reader that is slower than the client, but reads, holds the client up
//! while much is waiting, so that it loses no line. A reader that reads nothing for [`READER_GRACE`] holds up nothing.

use std::os::fd::RawFd;
use std::time::Duration;

use super::progress::Progress;
use crate::limits;
use crate::logging::{Flow, LogOutput};
use crate::timers::Moment;

/// How long a reader may take nothing before the client no longer waits for it.
const READER_GRACE: Duration = Duration::from_secs(1);
/// How long it may take nothing at the end, when there is nothing else to do than to wait for it.
const READER_GRACE_AT_END: Duration = Duration::from_secs(3);
/// How long in all the end waits for it after a signal, or where the lines cannot be written.
const DRAIN_MAX: Duration = Duration::from_millis(200);

/// Standard output, and how its reader does.
#[derive(Debug)]
pub struct Output {
    log: LogOutput,
    progress: Progress,
    flow: Flow,
    /// How much had been written when it was last looked at.
    written: u64,
    /// When the reader last took something.
    taken: Moment,
    /// When to try again what failed.
    retry: Option<Moment>,
}

impl Output {
    /// The lines of `log`, from now on.
    pub fn new(log: LogOutput, progress: Progress) -> Output {
        Output { log, progress, flow: Flow::Done, written: 0, taken: Moment::default(), retry: None }
    }

    /// What becomes writable when a reader that stalled goes on.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.log.descriptor()
    }

    /// When to call [`write`](Self::write) again, although no event says so.
    pub fn retry(&self) -> Option<Moment> {
        self.retry
    }

    /// The descriptor has become writable.
    pub fn try_again(&mut self) {
        self.log.try_again();
        self.flow = Flow::Done;
    }

    /// Writes what the reader takes now.
    pub fn write(&mut self, now: Moment) {
        self.progress.catch_up();
        if self.retry.is_some_and(|at| now >= at) {
            self.retry = None;
            self.try_again();
        }
        if self.flow != Flow::Done || self.log.is_empty() {
            return;
        }
        self.flow = self.progress.step_aside(|| self.log.flush());
        if self.flow == Flow::Failed {
            self.retry = Some(now + limits::LOG_RETRY);
        }
        let written = self.log.written();
        if std::mem::replace(&mut self.written, written) != written {
            self.taken = now;
        }
    }

    /// Until when the client waits for the reader before it makes more lines; `None` where it need not.
    pub fn holds_up(&self, now: Moment) -> Option<Moment> {
        let until = self.taken + READER_GRACE;
        (self.flow == Flow::Stalled && self.log.is_crowded() && now < until).then_some(until)
    }

    /// Until when a client that ends waits for the reader: it has been ending since `began`, `stopped` by a signal or
    /// not. `None` where everything is written.
    pub fn ends_by(&self, began: Moment, stopped: bool) -> Option<Moment> {
        match self.flow {
            Flow::Done => None,
            Flow::Stalled if !stopped => Some(self.taken.max(began) + READER_GRACE_AT_END),
            Flow::Stalled | Flow::Failed => Some(began + DRAIN_MAX),
        }
    }
}
