//! Fields as plain text, shared by the text dialects: white space, decimal numbers, dates and lists of documents.
//!
//! The only separator here is the comma between documents, which two dialects share.

use crate::lottery::{AgencyId, Bet, Text, leading_digits, parse_number, parse_yyyymmdd};

/// Whether a byte is white space, which is trimmed around a field.
#[inline(always)]
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The first `len` bytes of `window` without the white space around them; `None` if it has fewer.
#[inline(always)]
pub fn trimmed(window: &[u8], len: usize) -> Option<Text<'_>> {
    let field = window.get(..len)?;
    let mut end = len;
    let mut start = 0;
    while start < end && is_space(field[start]) {
        start += 1;
    }
    while start < end && is_space(field[end - 1]) {
        end -= 1;
    }
    Text::new(&window[start..], end - start)
}

/// `bytes` without the white space around them.
#[inline]
pub fn trim(bytes: &[u8]) -> &[u8] {
    trimmed(bytes, bytes.len()).map_or(bytes, |text| text.bytes())
}

/// `bytes` without the white space at their end.
#[inline]
pub fn trim_end(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    &bytes[..len]
}

/// The agency of this id; `None` if `digits` has anything but digits.
///
/// An id over 32 bits gives agency 0, which is in no roster.
#[inline]
pub fn agency(digits: &[u8]) -> Option<AgencyId> {
    match parse_number(digits) {
        Some(id) => Some(AgencyId(id)),
        None if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => Some(AgencyId(0)),
        None => None,
    }
}

/// A number of one to eight digits at the start of `window` and the count of its digits, if `mark` follows.
///
/// A fast path that needs no search for the field's end: the field may be a number even if the result is `None`.
#[inline(always)]
pub fn number_before(mark: u8, window: &[u8]) -> Option<(u32, usize)> {
    let (len, number) = leading_digits(*window.first_chunk()?);
    (len > 0 && window.get(len) == Some(&mark)).then_some((number, len))
}

/// The date `YYYYMMDD` whose ten bytes are at the start of `window`, if `mark` follows them. A fast path, as
/// [`number_before`].
#[inline(always)]
pub fn date_before(mark: u8, window: &[u8]) -> Option<u32> {
    let (text, rest) = window.split_first_chunk::<10>()?;
    let date = parse_yyyymmdd(text);
    (date != 0 && rest.first() == Some(&mark)).then_some(date)
}

/// Appends `value` in decimal.
#[inline]
pub fn push_number(value: u32, out: &mut Vec<u8>) {
    push_padded(value, 1, out);
}

/// Appends the date `YYYYMMDD` as `YYYY-MM-DD`.
#[inline]
pub fn push_date(yyyymmdd: u32, out: &mut Vec<u8>) {
    push_padded(yyyymmdd / 10_000, 4, out);
    out.push(b'-');
    push_padded(yyyymmdd / 100 % 100, 2, out);
    out.push(b'-');
    push_padded(yyyymmdd % 100, 2, out);
}

/// Appends `value` in decimal with at least `digits_min` digits, which is at most 10.
#[inline]
fn push_padded(value: u32, digits_min: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 10];
    let mut start = buffer.len();
    let mut rest = value;
    while rest > 0 {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&buffer[start.min(buffer.len() - digits_min)..]);
}

/// Appends the documents of `bets`, joined by commas.
pub fn push_documents(bets: &[Bet], out: &mut Vec<u8>) {
    for (index, bet) in bets.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(bet.document().as_bytes());
    }
}

/// The documents of a list joined by commas.
pub fn documents(list: &[u8]) -> Vec<String> {
    if list.is_empty() {
        return Vec::new();
    }
    list.split(|&byte| byte == b',').map(|document| String::from_utf8_lossy(document).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_are_those_of_format() {
        for value in [0, 1, 9, 10, 7574, 99_999_999, 1_000_000_000, u32::MAX] {
            let mut out = Vec::new();
            push_number(value, &mut out);
            assert_eq!(out, value.to_string().into_bytes());
        }
        for (value, text) in [(19_990_317, "1999-03-17"), (1, "0000-00-01"), (99_991_231, "9999-12-31")] {
            let mut out = Vec::new();
            push_date(value, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn an_agency_is_digits_and_one_beyond_32_bits_is_one_of_no_draw() {
        for (text, expected) in [
            ("3", Some(3)),
            ("003", Some(3)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", Some(0)),
            ("00000000001", Some(0)),
            ("", None),
            ("-3", None),
            ("3 ", None),
            ("x", None),
        ] {
            assert_eq!(agency(text.as_bytes()), expected.map(AgencyId), "{text}");
        }
    }

    #[test]
    fn white_space_is_dropped_at_the_ends_only() {
        for (bytes, both, end) in [
            ("", "", ""),
            (" \t\r\n", "", ""),
            ("a", "a", "a"),
            (" a b ", "a b", " a b"),
            ("\r\na\r\n", "a", "\r\na"),
            ("\u{a0}a", "\u{a0}a", "\u{a0}a"),
        ] {
            assert_eq!(trim(bytes.as_bytes()), both.as_bytes(), "{bytes:?}");
            assert_eq!(trim_end(bytes.as_bytes()), end.as_bytes(), "{bytes:?}");
        }
        let text = trimmed(b" ab |c", 4).unwrap();
        assert_eq!((text.bytes(), text.window()), (&b"ab"[..], &b"ab |c"[..]));
        assert!(trimmed(b"ab", 3).is_none());
    }

    #[test]
    fn a_list_of_no_documents_is_empty() {
        assert_eq!(documents(b""), [""; 0]);
        assert_eq!(documents(b"1,22"), ["1", "22"]);
    }
}
