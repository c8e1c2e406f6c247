//! Rows: bets as the course's CSV, `agency,first_name,last_name,document,YYYY-MM-DD,number` and CRLF.
//!
//! Owns the bytes of a turn's rows before they are written, and the rule that a batch is all there or not at
//! all. Fields are quoted only where they must be (RFC 4180).
//!
//! A batch is first written as if no field needed quoting or could be wrong, and its *rows* are checked at once
//! ([`optimistic`](super::optimistic)). Where that finds anything, the rows are dropped and the batch is written
//! again, the slow and obvious way, which quotes or says what is wrong.

use super::files::disk::BLOCK_BYTES;
use super::optimistic::Optimistic;
use crate::lottery::{AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet};
use aligned_vec::{AVec, ConstAlign};

/// Bytes that a disk can take past the system's memory.
pub(super) type Buffer = AVec<u8, ConstAlign<{ BLOCK_BYTES }>>;

/// Room in front of the rows, for the header of an entry of the redo log.
pub(super) const HEAD_BYTES: usize = 64;

/// The rows of one turn, in the order in which they will be stored.
#[derive(Debug)]
pub struct Rows {
    /// [`HEAD_BYTES`], then the rows, then room: a row is written without asking for it at every field.
    buffer: Buffer,
    /// Where the rows end in `buffer`.
    end: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Rows { buffer: Buffer::from_slice(BLOCK_BYTES, &[0; HEAD_BYTES]), end: HEAD_BYTES }
    }
}

/// What [`Rows::append`] took in.
#[derive(Debug, PartialEq, Eq)]
pub struct Appended {
    /// How many bets.
    pub bets: u32,
    /// Those on the winning number, in order.
    pub winners: Vec<Bet>,
}

impl Rows {
    /// The rows' bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[HEAD_BYTES..self.end]
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.end - HEAD_BYTES
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.end == HEAD_BYTES
    }

    /// Drops all bytes from `len` on. The room for them stays.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HEAD_BYTES.saturating_add(len));
    }

    /// The rows with `head` in front of them and `tail` behind, and zeros up to a whole number of blocks.
    pub(super) fn between(&mut self, head: [u8; HEAD_BYTES], tail: &[u8]) -> &[u8] {
        let end = self.end + tail.len();
        let blocks_end = end.next_multiple_of(BLOCK_BYTES);
        if self.buffer.len() < blocks_end {
            self.buffer.resize(blocks_end, 0);
        }
        self.buffer[..HEAD_BYTES].copy_from_slice(&head);
        self.buffer[self.end..end].copy_from_slice(tail);
        self.buffer[end..blocks_end].fill(0);
        &self.buffer[..blocks_end]
    }

    /// Appends the rows of a batch of `agency`; nothing is appended on an error.
    ///
    /// # Errors
    /// As `bets` says, or the first bet that breaks a rule.
    #[inline]
    pub fn append(
        &mut self,
        agency: AgencyId,
        winning_number: u32,
        bets: &impl BetSource,
    ) -> Result<Appended, BatchError> {
        let mut sink = Optimistic::new(&mut self.buffer, self.end, agency, winning_number);
        let count = bets.feed(&mut sink)?;
        match sink.finish() {
            Some((end, winners)) => {
                self.end = end;
                Ok(Appended { bets: count, winners })
            }
            None => self.append_slowly(agency, winning_number, bets),
        }
    }

    /// As [`append`](Self::append), the slow and obvious way: every bet checked, every row by the csv crate.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    #[cold]
    #[inline(never)]
    pub fn append_slowly(
        &mut self,
        agency: AgencyId,
        winning_number: u32,
        bets: &impl BetSource,
    ) -> Result<Appended, BatchError> {
        let writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let mut sink =
            Obvious { agency: agency.to_string(), winning_number, writer, count: 0, winners: Vec::new(), error: None };
        let count = bets.feed(&mut sink)?;
        if let Some((index, error)) = sink.error {
            return Err(BatchError::BadBet { index, error });
        }
        let bytes = sink.writer.into_inner().expect("a Vec takes every write");
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(&bytes);
        self.end = self.buffer.len();
        Ok(Appended { bets: count, winners: sink.winners })
    }
}

/// Checks and writes one bet at a time.
struct Obvious {
    agency: String,
    winning_number: u32,
    writer: csv::Writer<Vec<u8>>,
    count: u32,
    winners: Vec<Bet>,
    error: Option<(u32, BetError)>,
}

impl BetSink for Obvious {
    fn put(&mut self, raw: &RawBet<'_>) {
        let index = self.count;
        self.count = self.count.saturating_add(1);
        if self.error.is_some() {
            return;
        }
        match Bet::check(raw) {
            Err(error) => self.error = Some((index, error)),
            Ok(bet) => {
                let (birthdate, number) = (bet.birthdate().to_string(), bet.number().to_string());
                let fields = [&self.agency, bet.first_name(), bet.last_name(), bet.document(), &birthdate, &number];
                self.writer.write_record(fields).expect("a Vec takes every write");
                if bet.number() == self.winning_number {
                    self.winners.push(bet);
                }
            }
        }
    }
}
