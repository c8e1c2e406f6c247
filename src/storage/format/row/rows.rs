//! The rows of one turn before they are written. A batch is appended whole or not at all.
//!
//! Fields are quoted only where they must be (RFC 4180). The fast encoder writes a batch as if no field needed a quote
//! or could be wrong, and then checks the *rows* at once. Where that check fails, the rows are dropped, and the
//! reference encoder writes the batch again.

use super::fast::FastEncoder;
use super::reference;
use crate::lottery::{AgencyId, BatchError, Bet, BetSource};
use crate::storage::format::redo::{AlignedBytes, BLOCK_BYTES, ENTRY_HEADER_BYTES};

/// The rows of one turn, in the order in which they will be stored.
#[derive(Debug)]
pub struct Rows {
    /// [`ENTRY_HEADER_BYTES`], then the rows, then unused bytes: the fast encoder writes a row without a check of the
    /// capacity at every field.
    buffer: AlignedBytes,
    /// Where the rows end in `buffer`.
    end: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Rows { buffer: AlignedBytes::from_slice(BLOCK_BYTES, &[0; ENTRY_HEADER_BYTES]), end: ENTRY_HEADER_BYTES }
    }
}

/// What [`Rows::append`] has appended.
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
        &self.buffer[ENTRY_HEADER_BYTES..self.end]
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.end - ENTRY_HEADER_BYTES
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.end == ENTRY_HEADER_BYTES
    }

    /// Drops all bytes from `len` on. Their memory stays allocated.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(ENTRY_HEADER_BYTES.saturating_add(len));
    }

    /// An entry of the redo log: `header`, the rows, `records`, and zeros up to a whole number of blocks. The rows are
    /// not copied for it.
    pub(in crate::storage) fn as_entry(&mut self, header: [u8; ENTRY_HEADER_BYTES], records: &[u8]) -> &[u8] {
        let end = self.end + records.len();
        let blocks_end = end.next_multiple_of(BLOCK_BYTES);
        if self.buffer.len() < blocks_end {
            self.buffer.resize(blocks_end, 0);
        }
        self.buffer[..ENTRY_HEADER_BYTES].copy_from_slice(&header);
        self.buffer[self.end..end].copy_from_slice(records);
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
        let mut encoder = FastEncoder::new(&mut self.buffer, self.end, agency, winning_number);
        let count = bets.feed(&mut encoder)?;
        match encoder.finish() {
            Some((end, winners)) => {
                self.end = end;
                Ok(Appended { bets: count, winners })
            }
            None => self.append_slowly(agency, winning_number, bets),
        }
    }

    /// As [`append`](Self::append), by the reference encoder.
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
        let encoded = reference::encode(agency, winning_number, bets)?;
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(&encoded.rows);
        self.end = self.buffer.len();
        Ok(Appended { bets: encoded.count, winners: encoded.winners })
    }
}
