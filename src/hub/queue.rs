//! Queues of connections in two classes: trusted ones, and all others.

use std::collections::VecDeque;

use super::connections::ConnectionId;

/// Which class a connection is scheduled in. Trusted: an agency is known to be behind it, by a stored batch or a
/// certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Served first.
    Trusted,
    /// Served a few a turn, so that thousands of them cost an agency little.
    Untrusted,
}

impl Class {
    pub(super) fn of(trusted: bool) -> Class {
        if trusted { Class::Trusted } else { Class::Untrusted }
    }
}

/// Connections that wait for the same thing, each class first come, first served. Some may be gone by their turn.
#[derive(Debug, Default)]
pub(super) struct ClassQueue {
    classes: [VecDeque<ConnectionId>; 2],
}

impl ClassQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(VecDeque::is_empty)
    }

    /// How many wait in both classes.
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// How many wait in each class.
    pub(super) fn lens(&self) -> [usize; 2] {
        [self.classes[0].len(), self.classes[1].len()]
    }

    pub(super) fn len_of(&self, class: Class) -> usize {
        self.classes[class as usize].len()
    }

    pub(super) fn push(&mut self, id: ConnectionId, class: Class) {
        self.classes[class as usize].push_back(id);
    }

    pub(super) fn first_of(&self, class: Class) -> Option<ConnectionId> {
        self.classes[class as usize].front().copied()
    }

    pub(super) fn pop_of(&mut self, class: Class) -> Option<ConnectionId> {
        self.classes[class as usize].pop_front()
    }

    /// Takes the next one, trusted connections first.
    pub(super) fn pop(&mut self) -> Option<ConnectionId> {
        self.pop_of(Class::Trusted).or_else(|| self.pop_of(Class::Untrusted))
    }

    /// Keeps those of which `waits` is true, and gives back the memory of the others.
    pub(super) fn retain(&mut self, waits: impl Fn(ConnectionId) -> bool) {
        for queue in &mut self.classes {
            queue.retain(|id| waits(*id));
            queue.shrink_to(2 * queue.len());
        }
    }
}

/// Whether the untrusted class gets the start of the next turn, because trusted connections filled the last one (as in deficit
/// round robin).
#[derive(Debug, Default)]
pub(super) struct Deficit(bool);

impl Deficit {
    /// Whether the untrusted class goes first now, which settles the deficit. In a turn that is full already it would get
    /// nothing.
    pub(super) fn settle(&mut self, turn_is_full: bool) -> bool {
        !turn_is_full && std::mem::take(&mut self.0)
    }

    /// The untrusted class comes behind the trusted one, in a turn that may be full.
    pub(super) fn note(&mut self, turn_is_full: bool) {
        self.0 |= turn_is_full;
    }
}
