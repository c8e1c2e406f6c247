//! Divides bets into batches.
//!
//! The same bets, dialect and limits always give the same batches: a restarted client relies on it.

use std::task::Poll;

use super::bet_reader::{BetReader, BetReaderError};
use crate::lottery::AgencyId;
use crate::wire::Dialect;

/// The longest frame of a batch, in bytes; the course limits packets to 8 kB.
pub const BATCH_FRAME_BYTES_MAX: usize = 8192;

/// Makes one batch after another.
#[derive(Debug)]
pub struct Batcher<R> {
    reader: R,
    dialect: Dialect,
    agency: AgencyId,
    bets_max: u32,
    body: Vec<u8>,
    /// The batch that is being made.
    open: Open,
    batches: u64,
    bets: u64,
    position: u64,
    /// Whether the current bet did not fit into the last batch; it is the first of the next one.
    held: bool,
}

/// A batch that is being made.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    bets: u32,
    first_line: u64,
    last_line: u64,
}

/// A batch that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The batch's index, from 0.
    pub index: u64,
    /// The number of its bets, at least 1.
    pub bets: u32,
    /// The line of its first bet.
    pub first_line: u64,
    /// The line of its last bet.
    pub last_line: u64,
    /// How much of the source's extent had been read at its end.
    pub position: u64,
}

impl<R: BetReader> Batcher<R> {
    /// Batches of at most `bets_max` of `reader`, for `agency` in `dialect`.
    pub fn new(reader: R, dialect: Dialect, agency: AgencyId, bets_max: u32) -> Batcher<R> {
        assert!(bets_max > 0, "a batch has at least one bet");
        let (body, open) = (Vec::new(), Open::default());
        Batcher { reader, dialect, agency, bets_max, body, open, batches: 0, bets: 0, position: 0, held: false }
    }

    /// Makes the next batch; `None` if there are no more bets. Pending: the reader is not ready with the next bet, and a
    /// later call goes on with the same batch.
    ///
    /// # Errors
    /// A bet that cannot be read or that the dialect cannot carry. Its batch is not made, and no batch
    /// can be made after it without [`rewind`](Self::rewind).
    pub fn make(&mut self) -> Result<Poll<Option<Made>>, BetReaderError> {
        let room = BATCH_FRAME_BYTES_MAX - self.dialect.client_rules().batch_overhead_bytes;
        if self.open.bets == 0 {
            self.body.clear();
        }
        while self.open.bets < self.bets_max {
            if !std::mem::take(&mut self.held) {
                if !self.reader.is_ready() {
                    return Ok(Poll::Pending);
                }
                if !self.reader.advance()? {
                    break;
                }
            }
            let Some(bet) = self.reader.current() else { break };
            let line = self.reader.line();
            self.dialect.carries(&bet).map_err(|error| self.refuse(line, error))?;
            let before = self.body.len();
            self.dialect.put_bet(self.agency, self.open.bets, &bet, &mut self.body);
            if self.body.len() > room {
                self.body.truncate(before);
                self.held = true;
                break;
            }
            self.open.first_line = if self.open.bets == 0 { line } else { self.open.first_line };
            self.open.last_line = line;
            self.open.bets += 1;
        }
        let Open { bets, first_line, last_line } = std::mem::take(&mut self.open);
        if bets == 0 {
            // A single bet has at most a kilobyte in every dialect.
            assert!(!self.held, "a bet fits into a frame of its own");
            return Ok(Poll::Ready(None));
        }
        let index = self.batches;
        self.batches += 1;
        self.bets += u64::from(bets);
        self.position = self.reader.position();
        Ok(Poll::Ready(Some(Made { index, bets, first_line, last_line, position: self.position })))
    }

    /// Appends the frame of the batch that was made last, with the number `sequence`.
    pub fn put(&self, made: &Made, sequence: u64, out: &mut Vec<u8>) {
        self.dialect.put_batch(self.agency, sequence, made.bets, &self.body, out);
    }

    /// How many batches have been made since the start.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// How many bets these batches have.
    pub fn bets(&self) -> u64 {
        self.bets
    }

    /// How much of the source's extent these batches cover.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// See [`BetReader::extent`].
    pub fn extent(&self) -> u64 {
        self.reader.extent()
    }

    /// Starts again from the first bet.
    ///
    /// # Errors
    /// Bets that cannot be read twice.
    pub fn rewind(&mut self) -> Result<(), BetReaderError> {
        self.reader.rewind()?;
        self.open = Open::default();
        self.batches = 0;
        self.bets = 0;
        self.position = 0;
        self.held = false;
        Ok(())
    }

    fn refuse(&self, line: u64, reason: impl ToString) -> BetReaderError {
        BetReaderError { source_name: self.reader.name().to_owned(), line: Some(line), reason: reason.to_string() }
    }
}
