//! Bets to store: small batches told apart by their documents.

use std::rc::Rc;

use loteria::lottery::{BatchError, Bet, BetSink, BetSource};

/// A batch of valid bets; clones share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bets(pub Rc<[Bet]>);

impl BetSource for Bets {
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        self.0.iter().for_each(|bet| sink.put(&bet.as_raw()));
        Ok(u32::try_from(self.0.len()).unwrap())
    }
}

/// One bet; `document` tells it from others.
pub fn bet(document: u32, number: u32) -> Bet {
    let document = format!("{document:08}");
    let number = number.to_string();
    Bet::from_text("Ramón".as_bytes(), b"O'Higgins", document.as_bytes(), b"1999-03-17", number.as_bytes()).unwrap()
}

/// `count` bets whose documents start at `first`; every third is on 7574, the others on 1 or 8.
pub fn batch(first: u32, count: u32) -> Bets {
    Bets((first..first + count).map(|document| bet(document, [7574, 1, 8][document as usize % 3])).collect())
}

/// The rows of a batch, written with `format!`.
pub fn rows_of(agency: u32, bets: &Bets) -> Vec<u8> {
    let row = |bet: &Bet| {
        let (first, last, document) = (bet.first_name(), bet.last_name(), bet.document());
        format!("{agency},{first},{last},{document},{},{}\r\n", bet.birthdate(), bet.number())
    };
    bets.0.iter().map(row).collect::<String>().into_bytes()
}
