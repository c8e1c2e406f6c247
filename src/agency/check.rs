//! Checks an agency's file before it is sent: every bad row, and what is probably wrong with the whole file.

use super::bet_reader::{BadRow, BetFile, BetReader, BetReaderError, Row, field_of};
use crate::logging::Value;
use crate::lottery::BetError;
use crate::wire::Dialect;

/// The fields of a row, as they are called in messages.
const FIELDS: [&str; 5] = ["first name", "last name", "document", "birthdate", "number"];
/// Separators that a file may have instead of commas, and their names.
const SEPARATORS: [(u8, &str); 3] = [(b';', "';'"), (b'\t', "tabs"), (b'|', "'|'")];
/// The longest value that is shown, in characters.
const SHOWN_CHARACTERS: usize = 40;

/// What is known of a file.
#[derive(Debug)]
pub struct Check {
    dialect: Dialect,
    /// How many bad rows are described at most.
    described_max: usize,
    bets: u64,
    bad: u64,
    described: Vec<String>,
    /// The error after which the file could not be read on.
    broken: Option<BetReaderError>,
    /// The first line, if its row is bad and has no digit.
    header: Option<u64>,
    rows: u64,
    /// Bad rows that have as many of a separator as a bet has commas.
    separated: [u64; 3],
    /// The first line that is no UTF-8.
    not_utf8: Option<u64>,
    utf16: bool,
}

impl Check {
    /// A check for uploads in `dialect` that describes at most `described_max` bad rows, which bounds its memory.
    pub fn new(dialect: Dialect, described_max: usize) -> Check {
        Check {
            dialect,
            described_max,
            bets: 0,
            bad: 0,
            described: Vec::new(),
            broken: None,
            header: None,
            rows: 0,
            separated: [0; 3],
            not_utf8: None,
            utf16: false,
        }
    }

    /// Checks up to `rows` of the next rows; returns whether there may be more.
    pub fn some(&mut self, file: &mut BetFile, rows: usize) -> bool {
        for _ in 0..rows {
            match file.next_row() {
                Ok(Row::Bet) => self.count_bet(file),
                Ok(Row::Bad(bad)) => self.count_bad(file, &bad),
                Ok(Row::End) => return false,
                Err(error) => {
                    self.bad += 1;
                    self.describe(format!("line {}: {}", error.line.unwrap_or_default(), Value(&error.reason)));
                    self.broken = Some(error);
                    return false;
                }
            }
        }
        true
    }

    /// How many rows are bets.
    pub fn bets(&self) -> u64 {
        self.bets
    }

    /// How many rows are not.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// The first bad rows: the line, and of each bad field its name, value and reason.
    pub fn described(&self) -> &[String] {
        &self.described
    }

    /// How many more bad rows there are.
    pub fn not_described(&self) -> u64 {
        self.bad - self.described.len() as u64
    }

    /// What is probably wrong with the file as a whole, and what to do.
    pub fn guesses(&self) -> Vec<String> {
        let mut guesses = Vec::new();
        if self.utf16 {
            guesses.push("the file looks like UTF-16: convert it with 'iconv -f UTF-16 -t UTF-8'".to_owned());
            return guesses;
        }
        for (count, (_, name)) in self.separated.iter().zip(SEPARATORS) {
            if *count > 0 && *count >= self.bad.div_ceil(2) {
                guesses.push(format!("fields seem to be separated by {name}: a bet has commas"));
            }
        }
        if let Some(line) = self.header {
            guesses.push(format!("line {line} looks like a header: the file must have none"));
        }
        if let Some(line) = self.not_utf8 {
            guesses.push(format!(
                "line {line} is not UTF-8; the file may be Latin-1: convert it with 'iconv -f ISO-8859-1 -t UTF-8'"
            ));
        }
        if self.broken.is_some() {
            guesses.push("the rows after the last one named could not be checked".to_owned());
        }
        guesses
    }

    fn count_bet(&mut self, file: &BetFile) {
        let Some(bet) = file.current() else { return };
        self.rows += 1;
        match self.dialect.carries(&bet) {
            Ok(()) => self.bets += 1,
            Err(error) => {
                self.bad += 1;
                self.describe(format!("line {}: {error}", file.line()));
            }
        }
    }

    fn count_bad(&mut self, file: &BetFile, bad: &BadRow) {
        self.bad += 1;
        self.rows += 1;
        if self.rows == 1 {
            let start = file.fields().next().unwrap_or_default();
            self.utf16 = start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]);
            let has_digit = file.fields().flatten().any(u8::is_ascii_digit);
            self.header = (!has_digit).then_some(bad.line);
        }
        if file.fields().any(|field| std::str::from_utf8(field).is_err()) {
            self.not_utf8.get_or_insert(bad.line);
        }
        if bad.broken.is_empty() {
            for (count, (separator, _)) in self.separated.iter_mut().zip(SEPARATORS) {
                let found = file.fields().flatten().filter(|byte| **byte == separator).count();
                *count += u64::from(found == FIELDS.len() - 1);
            }
        }
        if self.described.len() == self.described_max {
            return;
        }
        let broken: Vec<String> = bad.broken.iter().filter_map(|rule| broken(file, *rule)).collect();
        self.describe(if broken.is_empty() {
            let row = file.fields().collect::<Vec<_>>().join(&b','.to_owned());
            format!("line {}: '{}' has {}", bad.line, shown(&row), bad.reason)
        } else {
            format!("line {}: {}", bad.line, broken.join("; "))
        });
    }

    fn describe(&mut self, row: String) {
        if self.described.len() < self.described_max {
            self.described.push(row);
        }
    }
}

/// A field of the current row that breaks a rule: its name, its value, and the rule.
fn broken(file: &BetFile, rule: BetError) -> Option<String> {
    let index = field_of(rule)?;
    let (name, value, reason) = (FIELDS[index], file.fields().nth(index)?, rule.to_string());
    Some(format!("{name} is '{}', {}", shown(value), reason.strip_prefix(name).unwrap_or(&reason).trim_start()))
}

/// The start of a value, on one line.
fn shown(value: &[u8]) -> String {
    // Four bytes are the longest character.
    let start = String::from_utf8_lossy(&value[..value.len().min(4 * (SHOWN_CHARACTERS + 1))]).into_owned();
    let clean = Value(&start).to_string();
    if clean.chars().count() <= SHOWN_CHARACTERS {
        return clean;
    }
    clean.chars().take(SHOWN_CHARACTERS).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(content: &[u8]) -> Check {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let mut bets = BetFile::open(file.path()).unwrap();
        let mut check = Check::new(Dialect::Native, 3);
        while check.some(&mut bets, 2) {}
        check
    }

    const GOOD: &str = "Ana,Paz,11,2000-01-02,3\n";

    #[test]
    fn every_bad_row_is_counted_and_the_first_are_described() {
        let rows = [
            GOOD,
            "Ana,Paz,1x,2000-01-02,3\n",
            "Ana,=Paz,11,2001-02-29,many\n",
            GOOD,
            "Ana,Paz,11\n",
            &format!("{},Paz,11,2000-01-02,3\n", "x".repeat(300)),
            GOOD,
        ];
        let found = check(rows.concat().as_bytes());
        assert_eq!((found.bets(), found.bad(), found.not_described()), (3, 4, 1));
        assert_eq!(
            found.described(),
            [
                "line 2: document is '1x', must be 1 to 10 digits, at most 4294967295",
                "line 3: last name is '=Paz', must be 1 to 255 bytes of UTF-8 without control characters, not starting \
                 with '=', '+', '-' or '@'; birthdate is '2001-02-29', must be a real date YYYY-MM-DD, 1900 to 9999; \
                 number is 'many', must be 0 to 4294967295",
                "line 5: 'Ana,Paz,11' has 3 fields, where a bet has 5",
            ]
        );
        assert_eq!(found.guesses(), [""; 0]);
        let found = check(format!("{},Paz,11,2000-01-02,3\n", "x|".repeat(150)).as_bytes());
        assert!(found.described()[0].contains(&format!("'{}…'", "x.".repeat(20))), "{:?}", found.described());
    }

    #[test]
    fn a_header_another_separator_and_another_encoding_are_guessed() {
        for (content, guesses) in [
            (
                format!("nombre,apellido,documento,nacimiento,numero\n{GOOD}").into_bytes(),
                &["line 1 looks like a header"][..],
            ),
            (format!("{GOOD}Ana,Paz,x,2000-01-02,3\n").into_bytes(), &[]),
            (GOOD.replace(',', ";").repeat(3).into_bytes(), &["fields seem to be separated by ';'"]),
            (GOOD.replace(',', "\t").into_bytes(), &["fields seem to be separated by tabs"]),
            (
                format!("n;a;d;f;n\n{}", GOOD.replace(',', ";")).into_bytes(),
                &["fields seem to be separated by ';'", "line 1 looks like a header"],
            ),
            (
                [GOOD.as_bytes(), b"Ana,Ib\xe1\xf1ez,11,2000-01-02,3\n"].concat(),
                &["line 2 is not UTF-8; the file may be Latin-1"],
            ),
            (
                GOOD.encode_utf16().fold(vec![0xff, 0xfe], |bytes, unit| [bytes, unit.to_le_bytes().to_vec()].concat()),
                &["the file looks like UTF-16"],
            ),
            (
                GOOD.encode_utf16().fold(vec![0xfe, 0xff], |bytes, unit| [bytes, unit.to_be_bytes().to_vec()].concat()),
                &["the file looks like UTF-16"],
            ),
            // One row with other separators says nothing of the others.
            (
                format!("{}Ana,Paz,x,2000-01-02,3\n{GOOD}Ana,Paz,y,2000-01-02,3\n", GOOD.replace(',', ";"))
                    .into_bytes(),
                &[],
            ),
            (format!("{GOOD}\"{}", GOOD.repeat(10_000)).into_bytes(), &["the rows after the last one named"]),
        ] {
            let said = check(&content).guesses();
            let matches = said.iter().zip(guesses).all(|(said, guess)| said.starts_with(guess));
            assert!(matches && said.len() == guesses.len(), "{said:?} {guesses:?}");
        }
    }

    #[test]
    fn what_the_dialect_cannot_carry_is_a_bad_row() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"A|na,Paz,11,2000-01-02,3\n").unwrap();
        let bad = |dialect| {
            let mut check = Check::new(dialect, 3);
            while check.some(&mut BetFile::open(file.path()).unwrap(), 100) {}
            check.bad()
        };
        assert_eq!(bad(Dialect::Native), 0);
        assert!(Dialect::ALL.iter().any(|dialect| bad(*dialect) == 1));
    }
}
