//! Whether the hub has stepped aside: the state alone.

use std::time::Duration;

use super::listener::Closed;
use crate::timers::Moment;

/// When the hub steps aside, and whether it has.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// How long the keeper must have been in trouble; `None`: the hub never steps aside.
    pub(super) after: Option<Duration>,
    /// The listener that was closed, and when it is to be opened again at the earliest.
    pub(super) closed: Option<(Closed, Moment)>,
    /// When to close connections next that go on elsewhere: some ask for something later than others.
    pub(super) part_at: Option<Moment>,
}

impl Aside {
    /// Whether the listener is closed for now.
    pub(super) fn is_aside(&self) -> bool {
        self.closed.is_some()
    }
}
