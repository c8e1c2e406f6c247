//! Batches that can be told apart wherever they turn up: every bet has a document of its own.

use loteria::lottery::{AgencyId, Bet, RawBet};
use loteria::wire::Dialect;

use crate::net::LinkId;
use crate::rng::Rng;

/// The winning number of every draw.
pub const WINNING_NUMBER: u32 = 7574;
/// The document of the first bet. They all have eight digits, which no dialect changes.
const FIRST_DOCUMENT: u32 = 10_000_000;
/// No such day, in every dialect.
const NO_DATE: u32 = 19_990_231;

/// What is wrong with a batch, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Good,
    /// One of its bets breaks a rule.
    Bad,
    /// It comes after its agency's finish was answered.
    Late,
    /// Its number is another batch's.
    Conflict,
}

/// A batch that some client has made.
#[derive(Debug)]
pub struct Batch {
    /// Unknown where the hub gives the agency.
    pub agency: Option<u32>,
    pub kind: Kind,
    pub bets: Vec<Bet>,
    /// In `native`, where what is sent again is the same batch: the number that it is to be stored under.
    pub sequence: Option<u64>,
    /// Where it was sent, and where its last byte stands there.
    pub sent: Vec<(LinkId, usize)>,
    /// How often it is in the rows.
    pub copies: u32,
    /// How often it may be: once, or as often as it was sent where that makes it another; and once less for each
    /// time that it was rejected.
    pub copies_max: u32,
    /// How often it was acknowledged by itself.
    pub acknowledged: u32,
}

/// All batches ever made.
#[derive(Debug, Default)]
pub struct Batches {
    pub all: Vec<Batch>,
    /// The batch and the place in it of each document, from the first on.
    documents: Vec<(usize, usize)>,
}

impl Batches {
    /// Makes a batch of `count` bets; every third or so is on the winning number.
    pub fn make(&mut self, rng: &mut Rng, agency: Option<u32>, kind: Kind, count: usize) -> usize {
        let number = self.all.len();
        let mut bets = Vec::with_capacity(count);
        for place in 0..count {
            let document = FIRST_DOCUMENT + self.documents.len() as u32;
            self.documents.push((number, place));
            let first = rng.pick(&["Ana", "Ñandú", "Juan Ignacio", "M"]);
            let last = rng.pick(&["Paz", "O'Higgins", "García Márquez"]);
            let bet_on = rng.pick(&[WINNING_NUMBER, 1, 9999]);
            let bet = Bet::from_text(
                first.as_bytes(),
                last.as_bytes(),
                document.to_string().as_bytes(),
                b"1999-03-17",
                bet_on.to_string().as_bytes(),
            );
            bets.push(bet.expect("a valid bet"));
        }
        self.all.push(Batch {
            agency,
            kind,
            bets,
            sequence: None,
            sent: Vec::new(),
            copies: 0,
            copies_max: 1,
            acknowledged: 0,
        });
        number
    }

    /// Appends the frame of batch `number` in `dialect`, and notes that it was sent on `link`.
    pub fn put(&mut self, number: usize, dialect: Dialect, agency: u32, sequence: u64, link: LinkId, up: &mut Vec<u8>) {
        let batch = &mut self.all[number];
        let agency = AgencyId(agency);
        let mut body = Vec::new();
        for (index, bet) in batch.bets.iter().enumerate() {
            let bad = batch.kind == Kind::Bad && index == batch.bets.len() / 2;
            let raw = bet.as_raw();
            let raw = if bad { RawBet { birthdate: NO_DATE, ..raw } } else { raw };
            dialect.put_bet(agency, index as u32, &raw, &mut body);
        }
        dialect.put_batch(agency, sequence, batch.bets.len() as u32, &body, up);
        batch.sent.push((link, up.len()));
    }

    /// The batch whose first bet has this document.
    pub fn with_document(&self, document: &str) -> Option<usize> {
        let index = document.parse::<u32>().ok()?.checked_sub(FIRST_DOCUMENT)?;
        let (batch, place) = *self.documents.get(index as usize)?;
        (place == 0).then_some(batch)
    }

    /// The batch whose rows `rows` begin with, and the agency that they name.
    pub fn identify(&self, rows: &[u8]) -> Option<(usize, u32)> {
        let mut fields = rows.split(|&byte| byte == b',');
        let agency: u32 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let document = std::str::from_utf8(fields.nth(2)?).ok()?;
        Some((self.with_document(document)?, agency))
    }
}

impl Batch {
    /// The rows that it is stored as, written the obvious way. No name of it needs quotes.
    pub fn rows(&self, agency: u32) -> Vec<u8> {
        let row = |bet: &Bet| {
            let (first, last, document) = (bet.first_name(), bet.last_name(), bet.document());
            format!("{agency},{first},{last},{document},{},{}\r\n", bet.birthdate(), bet.number())
        };
        self.bets.iter().map(row).collect::<String>().into_bytes()
    }

    /// The documents of its winners.
    pub fn winners(&self) -> impl Iterator<Item = &str> {
        self.bets.iter().filter(|bet| bet.number() == WINNING_NUMBER).map(Bet::document)
    }
}
