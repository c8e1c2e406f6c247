//! The bets of one agency, made one after another: any number of them takes the same memory.

use std::io::{self, Write};

use loteria::lottery::Birthdate;

use super::people::{COMPOUNDS, LAST_NAMES, MEN, NICKNAMES, WOMEN};

/// Years of birth: all of age, and all with documents of eight digits, which every dialect keeps as they are.
const YEARS: std::ops::RangeInclusive<u64> = 1955..=2006;
/// Documents are given out as people are born: about so many a year, from ten million on.
const DOCUMENTS_A_YEAR: u64 = 700_000;
const DOCUMENT_FIRST: u64 = 10_000_000;
/// Numbers of four digits, as played.
const NUMBERS: u64 = 10_000;

/// What one agency's bets are to be.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Which agency: its bets differ from every other's.
    pub agency: u32,
    /// How many bets.
    pub bets: u64,
    /// How many of them are on `number`, at most all.
    pub winners: u64,
    /// The number that wins.
    pub number: u32,
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Whether some names have commas and quotes.
    pub quoting: bool,
}

/// One agency's bets in the making.
#[derive(Debug)]
pub struct Bets<'a> {
    shape: &'a Shape,
    random: Random,
}

impl<'a> Bets<'a> {
    /// The bets of `shape`.
    pub fn new(shape: &'a Shape) -> Bets<'a> {
        let mut random = Random(shape.seed);
        // One seed's agencies must not be each other's shifted by a few bets.
        random = Random(random.next() ^ u64::from(shape.agency).wrapping_mul(0xd1b5_4a32_d192_ed03));
        Bets { shape, random }
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(mut self, out: &mut impl Write) -> io::Result<()> {
        let (mut first, mut last) = (String::new(), String::new());
        let mut winners = self.shape.winners;
        for left in (1..=self.shape.bets).rev() {
            // Each bet wins with the chance that spreads the winners evenly, and all of them are placed.
            let wins = self.random.below(left) < winners;
            winners -= u64::from(wins);
            self.name(&mut first, &mut last);
            let (birthdate, document) = self.birth();
            let number = if wins { self.shape.number } else { self.losing_number() };
            writeln!(out, "{first},{last},{document},{birthdate},{number}\r")?;
        }
        Ok(())
    }

    fn name(&mut self, first: &mut String, last: &mut String) {
        first.clear();
        last.clear();
        let names = if self.random.below(2) == 0 { MEN } else { WOMEN };
        first.push_str(self.random.common(names));
        let second = self.random.common(names);
        if self.random.below(3) == 0 && second != first {
            first.push(' ');
            first.push_str(second);
        }
        last.push_str(self.random.common(LAST_NAMES));
        match self.random.below(40) {
            0..3 => {
                last.push(' ');
                last.push_str(self.random.common(LAST_NAMES));
            }
            3 => {
                last.clear();
                last.push_str(self.random.common(COMPOUNDS));
            }
            _ => {}
        }
        if self.shape.quoting {
            match self.random.below(20) {
                0 => *first = format!("\"{first} \"\"{}\"\"\"", self.random.common(NICKNAMES)),
                1 => *last = format!("\"{last}, hijo\""),
                _ => {}
            }
        }
    }

    /// A date, and a document that someone born in its year might have.
    fn birth(&mut self) -> (Birthdate, u64) {
        let (start, end) = (*YEARS.start(), *YEARS.end());
        let year = start + self.random.below(end - start + 1);
        let document = DOCUMENT_FIRST + (year - start) * DOCUMENTS_A_YEAR + self.random.below(DOCUMENTS_A_YEAR);
        loop {
            let (month, day) = (1 + self.random.below(12), 1 + self.random.below(31));
            let number = u32::try_from(year * 10_000 + month * 100 + day).ok();
            if let Some(birthdate) = number.and_then(Birthdate::from_yyyymmdd) {
                return (birthdate, document);
            }
        }
    }

    fn losing_number(&mut self) -> u32 {
        loop {
            let number = u32::try_from(self.random.below(NUMBERS)).expect("four digits");
            if number != self.shape.number {
                return number;
            }
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014). A library's generator may change between versions, and with it
/// every file that was made; this one cannot.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        let scaled = u128::from(self.next()) * u128::from(bound);
        u64::try_from(scaled >> 64).expect("the upper half of 128 bits")
    }

    /// One of `names`, the earlier the likelier.
    fn common(&mut self, names: &[&'static str]) -> &'static str {
        let len = names.len() as u64;
        let place = self.below(len).min(self.below(len));
        names[usize::try_from(place).expect("a place in a list")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(shape: &Shape) -> String {
        let mut bytes = Vec::new();
        Bets::new(shape).write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn shape() -> Shape {
        Shape { agency: 1, bets: 5000, winners: 7, number: 7574, seed: 1, quoting: false }
    }

    #[test]
    fn as_many_bets_and_winners_as_asked_for() {
        for (bets, winners) in [(0, 0), (1, 0), (1, 1), (9, 9), (5000, 7), (5000, 0)] {
            let text = lines(&Shape { bets, winners, ..shape() });
            assert_eq!(text.lines().count() as u64, bets);
            assert_eq!(text.lines().filter(|line| line.ends_with(",7574")).count() as u64, winners);
        }
    }

    #[test]
    fn plain_names_need_no_quotes_and_quoted_ones_read_back() {
        let plain = lines(&shape());
        assert!(plain.split("\r\n").all(|line| line.is_empty() || line.matches(',').count() == 4));
        assert!(!plain.contains(['"', '|']));
        for special in ["ñ", "á", "'"] {
            assert!(plain.contains(special), "{special}");
        }
        let quoted = lines(&Shape { quoting: true, ..shape() });
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(quoted.as_bytes());
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 5000);
        assert!(rows.iter().any(|row| row[0].contains('"')) && rows.iter().any(|row| row[1].contains(", ")));
    }

    #[test]
    fn agencies_and_seeds_differ() {
        let first = lines(&shape());
        for other in [Shape { agency: 2, ..shape() }, Shape { seed: 2, ..shape() }] {
            let other = lines(&other);
            assert!(first.lines().zip(other.lines()).filter(|(a, b)| a == b).count() < 2);
        }
        assert_eq!(first, lines(&shape()));
    }
}
