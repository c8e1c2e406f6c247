//! Connections that decode bytes which were deferred behind a reply that is out now.

use super::connections::ConnectionId;
use super::queue::{Class, ClassQueue, Deficit};
use crate::limits;

/// Them, in the order in which their replies went out.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    pub(super) queue: ClassQueue,
    pub(super) deficit: Deficit,
    /// How many trusted connections the last turn answered.
    pub(super) trusted_answered: usize,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Drops connections that are gone, once they are most of all; there are `connections`.
    pub(super) fn clear_leftovers(&mut self, connections: usize, is_there: impl Fn(ConnectionId) -> bool) {
        if self.queue.len() > 2 * connections + limits::LEFTOVERS_MIN {
            self.queue.retain(is_there);
        }
    }

    pub(super) fn push(&mut self, id: ConnectionId, class: Class) {
        self.queue.push(id, class);
    }
}
