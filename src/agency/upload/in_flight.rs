//! Batches that have no acknowledgement yet.

use std::collections::VecDeque;

use crate::agency::batcher::Made;

/// A batch that has no acknowledgement yet.
#[derive(Debug)]
pub(super) struct Flight {
    pub made: Made,
    pub frame: Vec<u8>,
    /// Whether it was sent whole on a connection that was lost, in a dialect that stores it again.
    pub may_be_stored: bool,
}

/// The batches without an acknowledgement, and what of them is on this connection.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Consecutive batches; the first `sent` of them were put into the outbox on this connection.
    pub batches: VecDeque<Flight>,
    pub sent: usize,
    /// The sequence number of the first batch of all; not known before the first welcome.
    pub base: Option<u64>,
    /// Bets sent on this connection in a dialect without acknowledgements.
    pub unacknowledged_bets: u64,
}

impl InFlight {
    /// The sequence number of the batch with this index.
    pub fn sequence(&self, index: u64) -> u64 {
        self.base.unwrap_or(0).saturating_add(index)
    }

    /// The place of the batch with this sequence number.
    pub fn position(&self, sequence: u64) -> Option<usize> {
        self.batches.iter().position(|flight| self.sequence(flight.made.index) == sequence)
    }

    /// How many bets may be stored, if the first `sent` batches were sent whole on this connection.
    pub fn in_doubt(&self, sent: usize) -> u64 {
        let may_be = |(index, flight): &(usize, &Flight)| flight.may_be_stored || *index < sent;
        self.batches.iter().enumerate().filter(may_be).map(|(_, flight)| u64::from(flight.made.bets)).sum()
    }

    /// Forgets every batch.
    pub fn clear(&mut self) {
        self.batches.clear();
        self.sent = 0;
    }
}
