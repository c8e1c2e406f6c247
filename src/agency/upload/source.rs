//! The bets that are still to be sent, as batches.

use std::task::Poll;

use crate::agency::batcher::{Batcher, Made};
use crate::agency::bet_reader::{BetReader, BetReaderError};

/// The batches of a reader, and how far they are.
#[derive(Debug)]
pub(super) struct Source<R> {
    pub batcher: Batcher<R>,
    /// All bets are in batches.
    pub ended: bool,
    /// The next bet has not come yet.
    pub starved: bool,
    /// The error of the next bet, reported after the batches in flight are acknowledged.
    pub broken: Option<BetReaderError>,
}

impl<R: BetReader> Source<R> {
    pub fn new(batcher: Batcher<R>) -> Source<R> {
        Source { batcher, ended: false, starved: false, broken: None }
    }

    /// See [`Batcher::make`].
    pub fn make(&mut self) -> Result<Poll<Option<Made>>, BetReaderError> {
        let made = self.batcher.make();
        self.starved = matches!(made, Ok(Poll::Pending));
        made
    }

    /// Starts again at the first bet.
    pub fn start_over(&mut self) -> Result<(), BetReaderError> {
        self.ended = false;
        self.broken = None;
        self.batcher.rewind()
    }
}
