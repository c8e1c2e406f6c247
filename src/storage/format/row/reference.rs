//! The reference row encoder: every bet is checked by itself, and the csv crate writes every row.
//!
//! It quotes fields, and says which bet is wrong and why. The fast encoder does neither.

use crate::lottery::{AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet};

/// What the reference encoder made of one batch.
pub(super) struct Encoded {
    pub rows: Vec<u8>,
    /// How many bets.
    pub count: u32,
    /// Those on the winning number, in order.
    pub winners: Vec<Bet>,
}

/// Writes the rows of a batch of `agency`.
pub(super) fn encode(agency: AgencyId, winning_number: u32, bets: &impl BetSource) -> Result<Encoded, BatchError> {
    let writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let mut encoder = ReferenceEncoder {
        agency: agency.to_string(),
        winning_number,
        writer,
        count: 0,
        winners: Vec::new(),
        error: None,
    };
    let count = bets.feed(&mut encoder)?;
    if let Some((index, error)) = encoder.error {
        return Err(BatchError::BadBet { index, error });
    }
    let rows = encoder.writer.into_inner().expect("a Vec takes every write");
    Ok(Encoded { rows, count, winners: encoder.winners })
}

/// Checks and writes one bet at a time.
struct ReferenceEncoder {
    agency: String,
    winning_number: u32,
    writer: csv::Writer<Vec<u8>>,
    count: u32,
    winners: Vec<Bet>,
    /// The first bet that breaks a rule.
    error: Option<(u32, BetError)>,
}

impl BetSink for ReferenceEncoder {
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
