//! Writes the client's log beside the progress bar, without waiting for a reader that does not read.
//!
//! Lines are written as the reader takes them. The client waits for a reader that is far behind but reads, so that no
//! line is lost. It does not wait for a reader that has taken nothing for [`READER_GRACE`].

use std::os::fd::RawFd;
use std::time::Duration;

use super::progress::Progress;
use crate::limits;
use crate::logging::{Flow, LogOutput};
use crate::timers::Moment;

/// How long a working client waits for a reader that takes nothing.
const READER_GRACE: Duration = Duration::from_secs(1);
/// How long a client that ends waits for a reader that takes nothing.
const READER_GRACE_AT_END: Duration = Duration::from_secs(3);
/// How long a client that ends waits in all after a signal, or while writes fail.
const DRAIN_MAX: Duration = Duration::from_millis(200);

/// Standard output and the progress of its reader.
#[derive(Debug)]
pub struct Output {
    log: LogOutput,
    progress: Progress,
    flow: Flow,
    /// Bytes written up to the last call of [`write`](Self::write).
    written: u64,
    /// When the reader last took something, by the client's clock, which does not run while the client is stopped.
    taken: Moment,
    /// When to write again after a failed write.
    retry: Option<Moment>,
}

impl Output {
    /// Writes the lines of `log`, with `progress` out of the way.
    pub fn new(log: LogOutput, progress: Progress) -> Output {
        Output { log, progress, flow: Flow::Done, written: 0, taken: Moment::default(), retry: None }
    }

    /// The descriptor that becomes writable when the reader takes more, if there is one.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.log.descriptor()
    }

    /// When to call [`write`](Self::write) again without an event.
    pub fn retry(&self) -> Option<Moment> {
        self.retry
    }

    /// Tells that the descriptor has become writable.
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
        self.flow = self.progress.suspend(|| self.log.flush());
        if self.flow == Flow::Failed {
            self.retry = Some(now + limits::LOG_RETRY);
        }
        let written = self.log.written();
        if std::mem::replace(&mut self.written, written) != written {
            self.taken = now;
        }
    }

    /// Until when the client waits for the reader before it logs more lines; `None` where it need not wait.
    pub fn holds_up(&self, now: Moment) -> Option<Moment> {
        self.log.hold_for(self.taken.until(now), READER_GRACE).map(|left| now + left)
    }

    /// Until when a client that ends waits for the reader; `None` where everything is written. The end began at
    /// `began`; `stopped` says whether a signal caused it.
    pub fn ends_by(&self, began: Moment, stopped: bool) -> Option<Moment> {
        match self.flow {
            Flow::Done => None,
            Flow::Stalled if !stopped => Some(self.taken.max(began) + READER_GRACE_AT_END),
            Flow::Stalled | Flow::Failed => Some(began + DRAIN_MAX),
        }
    }
}
