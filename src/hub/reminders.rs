//! Moments at which the hub wants to be called.

use super::connections::ConnectionId;
use crate::limits;
use crate::lottery::AgencyId;
use crate::timers::{Moment, Timers};

/// What the hub wants to be reminded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reminder {
    /// A connection's earliest deadline.
    Connection(ConnectionId),
    /// The grace of a lost agency.
    LostAgency(AgencyId),
    /// The line that names the agencies that the draw waits for.
    Pending,
    /// The line that says what the agencies without a finish do.
    Missing,
    /// The line that stands for those of many batches.
    Summary,
    /// The seal of an idle store.
    Seal,
    /// The connections that are told whom the draw waits for.
    Tell,
    /// Winners that wait for peers to read theirs.
    Flush,
}

/// The heap of reminders, and which of those are in it that are there once.
#[derive(Debug)]
pub(super) struct Reminders {
    pub(super) timers: Timers<Reminder>,
    /// When there are more, some are of connections that are gone.
    max: usize,
    pub(super) pending: bool,
    pub(super) missing: bool,
    pub(super) summary: bool,
    /// One line a second stands for those of all batches.
    pub(super) summarises: bool,
    pub(super) seal: bool,
}

impl Reminders {
    /// None, with memory for `reserved`.
    pub(super) fn with_capacity(reserved: usize) -> Reminders {
        let timers = Timers::with_capacity(reserved);
        Reminders {
            timers,
            max: limits::LEFTOVERS_MIN,
            pending: false,
            missing: false,
            summary: false,
            summarises: false,
            seal: false,
        }
    }

    /// Drops reminders of connections that are gone, once they are most of all; `stands` says whether a connection waits for
    /// its own.
    pub(super) fn clear_leftovers(&mut self, stands: impl Fn(ConnectionId, Moment) -> bool) {
        if self.timers.len() > self.max {
            self.timers.retain(|at, reminder| match reminder {
                Reminder::Connection(id) => stands(id, at),
                Reminder::LostAgency(_)
                | Reminder::Pending
                | Reminder::Missing
                | Reminder::Summary
                | Reminder::Seal
                | Reminder::Tell
                | Reminder::Flush => true,
            });
            self.max = 2 * self.timers.len() + limits::LEFTOVERS_MIN;
        }
    }
}
