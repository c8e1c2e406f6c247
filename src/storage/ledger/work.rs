//! What one turn does, as it is sent to the engine and as it is kept until it is settled.

use std::collections::HashMap;
use std::ops::Range;

use crate::lottery::AgencyId;
use crate::storage::keep::Place;

/// A batch of a turn.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub agency: AgencyId,
    pub place: Place,
    /// Its place among the agency's batches of this turn, from 0.
    pub nth: i64,
    pub bets: u32,
    pub checksum: u32,
    /// Where its element is in [`Work::rows`].
    pub rows: Range<usize>,
    /// Where its element is in [`Work::winners`].
    pub winners: Range<usize>,
}

/// What a turn does to one agency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub agency: AgencyId,
    /// The number that its first batch must have; -1: any.
    pub first: i64,
    pub batches: i64,
    pub bets: i64,
    pub finishes: bool,
}

/// A batch that came again: are these bets stored under its number?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub agency: AgencyId,
    pub sequence: u64,
    pub bets: u32,
    pub checksum: u32,
}

/// A turn's work. The memory of its vectors is used again by later turns.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub heads: Vec<Head>,
    pub batches: Vec<Batch>,
    /// The batches' rows as elements of an array of texts: length, then bytes.
    pub rows: Vec<u8>,
    /// The rows of theirs that are on the winning number, in the same form.
    pub winners: Vec<u8>,
    /// Agencies that are read whether or not anything is stored of them.
    pub looks: Vec<AgencyId>,
    pub asks: Vec<Ask>,
    /// Where an agency is among the heads.
    index: HashMap<AgencyId, usize>,
}

/// The bytes of the length before an array's element.
const LENGTH_BYTES: usize = 4;

impl Work {
    /// What the turn does to `agency`, which may be nothing yet.
    fn head(&mut self, agency: AgencyId) -> &mut Head {
        let at = *self.index.entry(agency).or_insert_with(|| {
            self.heads.push(Head { agency, first: -1, batches: 0, bets: 0, finishes: false });
            self.heads.len() - 1
        });
        &mut self.heads[at]
    }

    /// Adds a batch of `bets` bets. The caller has checked that texts are shorter than 2 GiB.
    pub fn add_batch(&mut self, (agency, place): (AgencyId, Place), bets: u32, checksum: u32, rows: &[u8], won: &[u8]) {
        let head = self.head(agency);
        let nth = head.batches;
        if let Place::Numbered(number) = place
            && head.first < 0
        {
            head.first = i64::try_from(number).unwrap_or(i64::MAX).saturating_sub(nth);
        }
        head.batches += 1;
        head.bets += i64::from(bets);
        let rows = put_element(&mut self.rows, rows);
        let winners = put_element(&mut self.winners, won);
        self.batches.push(Batch { agency, place, nth, bets, checksum, rows, winners });
    }

    pub fn add_finish(&mut self, agency: AgencyId) {
        self.head(agency).finishes = true;
    }

    /// Whether the turn does something to `agency`.
    pub fn head_of(&self, agency: AgencyId) -> Option<&Head> {
        self.index.get(&agency).map(|at| &self.heads[*at])
    }

    pub fn add_look(&mut self, agency: AgencyId) {
        if !self.looks.contains(&agency) {
            self.looks.push(agency);
        }
    }

    /// The text of an element.
    pub fn text<'a>(elements: &'a [u8], element: &Range<usize>) -> &'a [u8] {
        elements.get(element.start + LENGTH_BYTES..element.end).unwrap_or_default()
    }

    /// The agencies that the turn reads and locks.
    pub fn agencies(&self) -> impl Iterator<Item = AgencyId> + Clone + '_ {
        let looks = self.looks.iter().copied().filter(|agency| !self.index.contains_key(agency));
        self.heads.iter().map(|head| head.agency).chain(looks)
    }

    pub fn has_finish(&self) -> bool {
        self.heads.iter().any(|head| head.finishes)
    }

    pub fn clear(&mut self) {
        let Work { heads, batches, rows, winners, looks, asks, index } = self;
        heads.clear();
        batches.clear();
        rows.clear();
        winners.clear();
        looks.clear();
        asks.clear();
        index.clear();
    }

    /// The batch of this number. One without a number may be stored under another one than this hub expects.
    pub fn find(&self, agency: AgencyId, sequence: u64) -> Option<&Batch> {
        self.head_of(agency)?;
        self.batches.iter().find(|batch| batch.agency == agency && batch.place == Place::Numbered(sequence))
    }

    /// Has `look` read the agencies of this turn, and compare all of its numbered batches and what it asks.
    pub fn add_questions_to(&self, look: &mut Work) {
        for agency in self.agencies() {
            look.add_look(agency);
        }
        let numbered = self.batches.iter().filter_map(|batch| match batch.place {
            Place::Numbered(sequence) => {
                Some(Ask { agency: batch.agency, sequence, bets: batch.bets, checksum: batch.checksum })
            }
            Place::Next(_) => None,
        });
        look.asks.extend(numbered);
        look.asks.extend(&self.asks);
    }
}

/// Appends a text as an array's element has it.
fn put_element(elements: &mut Vec<u8>, text: &[u8]) -> Range<usize> {
    let start = elements.len();
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    elements.extend_from_slice(&length.to_be_bytes());
    elements.extend_from_slice(text);
    start..elements.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENCY: AgencyId = AgencyId(3);

    #[test]
    fn an_agency_is_among_the_heads_once_and_the_first_numbered_batch_decides() {
        let mut work = Work::default();
        work.add_batch((AGENCY, Place::Next(7)), 2, 1, b"a", b"");
        work.add_batch((AGENCY, Place::Numbered(8)), 3, 2, b"bc", b"b");
        work.add_batch((AGENCY, Place::Numbered(9)), 1, 3, b"d", b"");
        work.add_finish(AGENCY);
        work.add_look(AgencyId(1));
        work.add_look(AGENCY);
        let head = work.heads[0];
        assert_eq!((work.heads.len(), head.first, head.batches, head.bets, head.finishes), (1, 7, 3, 6, true));
        assert_eq!(work.batches.iter().map(|batch| batch.nth).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(work.agencies().collect::<Vec<_>>(), [AGENCY, AgencyId(1)]);
        assert_eq!(work.rows, b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x01d");
        assert_eq!(Work::text(&work.rows, &work.batches[1].rows), b"bc");
        assert_eq!(work.find(AGENCY, 8).map(|batch| batch.checksum), Some(2));
        let mut look = Work::default();
        work.add_questions_to(&mut look);
        assert_eq!(
            look.asks.iter().map(|ask| ask.sequence).collect::<Vec<_>>(),
            [8, 9],
            "an unnumbered one has no number"
        );
        work.clear();
        assert!(work.agencies().next().is_none() && work.rows.is_empty() && work.head_of(AGENCY).is_none());
    }

    #[test]
    fn batches_without_numbers_may_have_any() {
        let mut work = Work::default();
        work.add_batch((AGENCY, Place::Next(0)), 2, 1, b"a", b"");
        work.add_batch((AGENCY, Place::Next(1)), 2, 1, b"a", b"");
        assert_eq!(work.heads[0].first, -1);
    }

    #[test]
    fn a_batch_without_a_number_is_not_found_by_the_number_that_it_is_expected_to_have() {
        let mut work = Work::default();
        work.add_batch((AGENCY, Place::Next(7)), 2, 1, b"a", b"");
        work.add_batch((AGENCY, Place::Numbered(8)), 2, 2, b"b", b"");
        assert!(work.find(AGENCY, 7).is_none());
        assert_eq!(work.find(AGENCY, 8).map(|batch| batch.checksum), Some(2));
    }
}
