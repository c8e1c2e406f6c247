//! Queries that wait for the draw: the state of the waiting, and of the winners on their way.

use super::connections::ConnectionId;
use super::lists::Lists;
use super::queue::{Class, ClassQueue};
use super::watchers::Watchers;
use crate::limits;
use crate::storage::Committed;

/// What waits for the draw, and for its answers.
#[derive(Debug)]
pub(super) struct Parked {
    /// Queries in the order in which they came; some may be gone by the draw.
    pub(super) waiting: Vec<ConnectionId>,
    /// Those of them that the draw has not answered yet.
    pub(super) unflushed: ClassQueue,
    pub(super) lists: Lists,
    /// Queries wait for lists to be read.
    pub(super) paused: bool,
    /// The event of the draw was sent.
    pub(super) announced: bool,
    /// The draw is durable.
    pub(super) proof: Option<Committed>,
    pub(super) watchers: Watchers,
}

impl Parked {
    /// `announced`: the draw was made by an earlier run.
    pub(super) fn new(announced: bool) -> Parked {
        Parked {
            waiting: Vec::new(),
            unflushed: ClassQueue::default(),
            lists: Lists::default(),
            paused: false,
            announced,
            proof: None,
            watchers: Watchers::default(),
        }
    }

    /// How many slots of the queue for the draw are kept, those of connections included that are gone.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether winners may leave.
    pub(super) fn is_released(&self) -> bool {
        self.proof.is_some()
    }

    /// Takes the proof of a durable turn; [`release`](super::Hub::release) gives it back.
    pub(super) fn take_proof(&mut self) -> Option<Committed> {
        self.watchers.proof.take().or_else(|| self.proof.take())
    }

    /// Whether the lists on their way hold so much memory that another one has to wait until one of them is read. Only
    /// lists count: what else peers make the hub hold does not stop the draw's answers.
    pub(super) fn is_full(&self) -> bool {
        let to_an_agency = self.unflushed.len_of(Class::Trusted) > 0;
        let high = if to_an_agency { limits::LISTS_BYTES_HIGH_OF_AGENCIES } else { limits::LISTS_BYTES_HIGH };
        self.lists.bytes > high
    }

    /// Whether a query can be answered now.
    pub(super) fn has_work(&self) -> bool {
        self.is_released() && !self.unflushed.is_empty() && !self.is_full()
    }

    /// Drops what connections that are gone have left, once that is most of it; `parked` queries are left.
    pub(super) fn clear_leftovers(&mut self, parked: usize, is_parked: impl Fn(ConnectionId) -> bool) {
        if self.waiting.len() > 2 * parked + limits::LEFTOVERS_MIN {
            self.waiting.retain(|id| is_parked(*id));
            self.waiting.shrink_to(2 * self.waiting.len());
        }
        if self.unflushed.len() > 2 * parked + limits::LEFTOVERS_MIN {
            self.unflushed.retain(is_parked);
        }
    }
}
