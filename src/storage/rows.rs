//! Rows: bets as the course's CSV, `agency,first_name,last_name,document,YYYY-MM-DD,number` and CRLF.
//!
//! Owns the bytes of a turn's rows before they are written, and the rule that a batch is all there or not at
//! all. Fields are quoted only where they must be (RFC 4180).
//!
//! A batch is first written as if no field needed quoting or could be wrong, and its *rows* are checked at once
//! ([`optimistic`](super::optimistic)). Where that finds anything, the rows are dropped and the batch is written
//! again, the slow and obvious way, which quotes or says what is wrong.

use super::optimistic::Optimistic;
use crate::lottery::{AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet};

/// The rows of one turn, in the order in which they will be stored.
#[derive(Debug, Default)]
pub struct Rows {
    /// Longer than the rows, so that a row can be written without asking for room at every field.
    buffer: Vec<u8>,
    /// How many bytes of `buffer` are rows.
    len: usize,
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
        &self.buffer[..self.len]
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops all bytes from `len` on. The room for them stays.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
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
        let mut sink = Optimistic::new(&mut self.buffer, self.len, agency, winning_number);
        let count = bets.feed(&mut sink)?;
        match sink.finish() {
            Some((end, winners)) => {
                self.len = end;
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
        self.buffer.truncate(self.len);
        self.buffer.extend(bytes);
        self.len = self.buffer.len();
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
