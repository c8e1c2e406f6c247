//! A bet: the unchecked fields of a frame, and the checked value.

use super::birthdate::Birthdate;

/// The longest first or last name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest document, in digits.
pub const DOCUMENT_DIGITS_MAX: usize = 10;

/// A field of a frame: `len` bytes at the start of `window`, which reaches to the end of the frame.
///
/// The bytes after the field let a reader copy a fixed number of bytes, which is several times faster than
/// copying exactly as many as the field has.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    window: &'a [u8],
    len: usize,
}

impl<'a> Text<'a> {
    /// The first `len` bytes of `window`; `None` if it has fewer.
    #[inline]
    pub fn new(window: &'a [u8], len: usize) -> Option<Text<'a>> {
        (len <= window.len()).then_some(Text { window, len })
    }

    /// The field's bytes.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.window[..self.len]
    }

    /// The field's bytes and all that follow them in the frame.
    #[inline]
    pub fn window(&self) -> &'a [u8] {
        self.window
    }

    /// The field's length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the field has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Text { window: bytes, len: bytes.len() }
    }
}

/// The fields of a bet in a frame: borrowed and unchecked.
#[derive(Clone, Copy, Debug)]
pub struct RawBet<'a> {
    /// First name, as sent.
    pub first_name: Text<'a>,
    /// Last name, as sent.
    pub last_name: Text<'a>,
    /// The document's digits, as sent.
    pub document: Text<'a>,
    /// `YYYYMMDD`, or a number that is no date (0 if a dialect's text has another format).
    pub birthdate: u32,
    /// The number bet on; `None` if a dialect's text is not a number of 32 bits.
    pub number: Option<u32>,
}

impl<'a> RawBet<'a> {
    /// Fields in text form, as in a CSV file or an environment.
    pub fn from_text(first: &'a [u8], last: &'a [u8], document: &'a [u8], date: &[u8], number: &[u8]) -> RawBet<'a> {
        RawBet {
            first_name: first.into(),
            last_name: last.into(),
            document: document.into(),
            birthdate: super::birthdate::parse_yyyymmdd(date),
            number: parse_number(number),
        }
    }
}

/// A valid bet: only [`Bet::check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bet {
    first_name: Box<str>,
    last_name: Box<str>,
    document: Box<str>,
    birthdate: Birthdate,
    number: u32,
}

/// The rule that a bet breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BetError {
    /// Empty, too long, not UTF-8, with a control character, or with the first byte of a spreadsheet formula.
    #[error(
        "first name must be 1 to 255 bytes of UTF-8 without control characters, not starting with '=', '+', '-' or '@'"
    )]
    FirstName,
    /// As [`BetError::FirstName`].
    #[error(
        "last name must be 1 to 255 bytes of UTF-8 without control characters, not starting with '=', '+', '-' or '@'"
    )]
    LastName,
    /// Not 1 to 10 digits, or a value over 4,294,967,295.
    #[error("document must be 1 to 10 digits, at most 4294967295")]
    Document,
    /// No such day, or outside 1900 to 9999.
    #[error("birthdate must be a real date YYYY-MM-DD, 1900 to 9999")]
    Birthdate,
    /// Not a decimal number of 32 bits.
    #[error("number must be 0 to 4294967295")]
    Number,
    /// No decimal number, in a dialect whose bets name their agency in text.
    #[error("agency must be a number")]
    Agency,
    /// The bet does not have the fields of its dialect.
    #[error("a bet has too few fields, too many, or others")]
    Fields,
    /// The bets of one batch name more than one agency.
    #[error("the bets of one batch must be of one agency")]
    MixedAgencies,
}

impl Bet {
    /// Checks every rule, in the slow and obvious way.
    ///
    /// # Errors
    /// The first broken rule, in the order of the fields.
    pub fn check(raw: &RawBet<'_>) -> Result<Bet, BetError> {
        let Fields { first_name, last_name, document, birthdate, number } = Fields::of(raw);
        Ok(Bet {
            first_name: first_name?,
            last_name: last_name?,
            document: document?,
            birthdate: birthdate?,
            number: number?,
        })
    }

    /// Every rule that the fields break, in their order: none of a valid bet.
    pub fn broken_rules(raw: &RawBet<'_>) -> impl Iterator<Item = BetError> {
        let Fields { first_name, last_name, document, birthdate, number } = Fields::of(raw);
        [first_name.err(), last_name.err(), document.err(), birthdate.err(), number.err()].into_iter().flatten()
    }

    /// Checks fields in text form, from a CSV file or an environment.
    ///
    /// # Errors
    /// As [`Bet::check`].
    pub fn from_text(first: &[u8], last: &[u8], document: &[u8], date: &[u8], number: &[u8]) -> Result<Bet, BetError> {
        Bet::check(&RawBet::from_text(first, last, document, date, number))
    }

    /// First name.
    pub fn first_name(&self) -> &str {
        &self.first_name
    }

    /// Last name.
    pub fn last_name(&self) -> &str {
        &self.last_name
    }

    /// The document's digits, leading zeros kept.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// The document as a number.
    pub fn document_number(&self) -> u32 {
        self.document.parse().expect("a checked document is a number of 32 bits")
    }

    /// Date of birth.
    pub fn birthdate(&self) -> Birthdate {
        self.birthdate
    }

    /// The number bet on.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The bet as unchecked fields, for an encoder.
    pub fn as_raw(&self) -> RawBet<'_> {
        RawBet {
            first_name: self.first_name.as_bytes().into(),
            last_name: self.last_name.as_bytes().into(),
            document: self.document.as_bytes().into(),
            birthdate: self.birthdate.yyyymmdd(),
            number: Some(self.number),
        }
    }
}

/// A bet's fields, each checked by itself.
struct Fields {
    first_name: Result<Box<str>, BetError>,
    last_name: Result<Box<str>, BetError>,
    document: Result<Box<str>, BetError>,
    birthdate: Result<Birthdate, BetError>,
    number: Result<u32, BetError>,
}

impl Fields {
    fn of(raw: &RawBet<'_>) -> Fields {
        Fields {
            first_name: check_name(raw.first_name.bytes()).ok_or(BetError::FirstName),
            last_name: check_name(raw.last_name.bytes()).ok_or(BetError::LastName),
            document: check_document(raw.document.bytes()).ok_or(BetError::Document),
            birthdate: Birthdate::from_yyyymmdd(raw.birthdate).ok_or(BetError::Birthdate),
            number: raw.number.ok_or(BetError::Number),
        }
    }
}

/// The bytes that must not begin a name: a spreadsheet that opens the stored file would take the name for a formula.
#[inline]
pub fn opens_a_formula(byte: u8) -> bool {
    matches!(byte, b'=' | b'+' | b'-' | b'@')
}

fn check_name(bytes: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fits = (1..=NAME_BYTES_MAX).contains(&bytes.len());
    let clean = !bytes.iter().any(|&byte| byte < 0x20 || byte == 0x7f);
    (fits && clean && !opens_a_formula(bytes[0])).then(|| text.into())
}

fn check_document(bytes: &[u8]) -> Option<Box<str>> {
    parse_number(bytes)?;
    std::str::from_utf8(bytes).ok().map(Into::into)
}

/// The number of 32 bits of 1 to 10 decimal digits.
#[inline]
pub fn parse_number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > DOCUMENT_DIGITS_MAX {
        return None;
    }
    let mut value = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    u32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &str, last: &str, document: &str, date: &str, number: &str) -> Result<Bet, BetError> {
        Bet::from_text(first.as_bytes(), last.as_bytes(), document.as_bytes(), date.as_bytes(), number.as_bytes())
    }

    #[test]
    fn valid_bets() {
        let long = "á".repeat(127);
        for (first, last, document, date, number) in [
            ("Santiago Lionel", "Lorca", "30904465", "1999-03-17", "7574"),
            ("O'Higgins, \"Nené\"", "a=b", "0", "1900-01-01", "0"),
            (long.as_str(), "x", "4294967295", "9999-12-31", "4294967295"),
            ("Ana", "Díaz", "00000000", "2000-02-29", "0007574"),
        ] {
            let bet = check(first, last, document, date, number).unwrap();
            assert_eq!((bet.first_name(), bet.last_name(), bet.document()), (first, last, document));
            assert_eq!(bet.birthdate().to_string(), date);
        }
    }

    #[test]
    fn each_rule_refuses() {
        use BetError::*;
        let long = "x".repeat(256);
        for (first, last, document, date, number, error) in [
            ("", "b", "1", "1999-03-17", "1", FirstName),
            (long.as_str(), "b", "1", "1999-03-17", "1", FirstName),
            ("=a", "b", "1", "1999-03-17", "1", FirstName),
            ("a", "@b", "1", "1999-03-17", "1", LastName),
            ("a", "b\n", "1", "1999-03-17", "1", LastName),
            ("a", "b\u{7f}", "1", "1999-03-17", "1", LastName),
            ("a", "b", "", "1999-03-17", "1", Document),
            ("a", "b", "4294967296", "1999-03-17", "1", Document),
            ("a", "b", "00000000001", "1999-03-17", "1", Document),
            ("a", "b", "1 ", "1999-03-17", "1", Document),
            ("a", "b", "1", "1999-02-29", "1", Birthdate),
            ("a", "b", "1", "1899-12-31", "1", Birthdate),
            ("a", "b", "1", "1999-03-17", "-1", Number),
            ("a", "b", "1", "1999-03-17", "", Number),
            ("a", "b", "1", "1999-03-17", "4294967296", Number),
        ] {
            assert_eq!(check(first, last, document, date, number), Err(error), "{first} {last} {document} {date}");
        }
        assert_eq!(Bet::from_text(b"\xff", b"b", b"1", b"1999-03-17", b"1"), Err(FirstName));
    }
}
