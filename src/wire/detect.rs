//! Detection of a connection's dialect from its first bytes.
//!
//! Source: `docs/PROTOCOLS.md`, detection. A pure function: the same bytes give the same result in any pieces, and the
//! caller measures silence. More bytes never change a result of [`Detection::Known`].

use super::Dialect;
use super::native::MAGIC;
use crate::limits::TEXT_LENGTH_LINE_BYTES_MAX;

/// The result of a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// The dialect.
    Known(Dialect),
    /// Unknown until more bytes are received.
    NeedMore,
    /// Unknown until more bytes are received; after a silence or a half-close it is this dialect.
    SilenceMeans(Dialect),
}

/// Detects the dialect of a stream from all its bytes so far.
pub fn detect(bytes: &[u8]) -> Detection {
    match bytes {
        [] => Detection::NeedMore,
        // A header's first word is under 2²⁴; then the second word, or the first letter of a text.
        [0x00, _, _, _, 0x00, ..] => Detection::Known(Dialect::Binary),
        [0x00, _, _, _, _, ..] => Detection::Known(Dialect::KeyValue),
        [0x00, ..] => Detection::NeedMore,
        // A u32 length under 64 KiB, or a u16 length of zero, whose sender waits for a reply.
        [0x01, 0x00, 0x00] => Detection::SilenceMeans(Dialect::Csv),
        [0x01, 0x00, 0x00, ..] => Detection::Known(Dialect::CaseId),
        [0x01, _, _, ..] => Detection::Known(Dialect::Csv),
        [0x01, ..] => Detection::NeedMore,
        [0x02 | 0x03, ..] => Detection::Known(Dialect::CaseId),
        [0xff, ..] => Detection::Known(Dialect::Csv),
        [b'0'..=b'9', ..] => digits(bytes),
        _ if bytes.starts_with(&MAGIC) => Detection::Known(Dialect::Native),
        // A netcat user does not type these bytes, so that silence decides nothing.
        _ if MAGIC.starts_with(bytes) => Detection::NeedMore,
        _ => Detection::Known(Dialect::Echo),
    }
}

/// A first line of digits is a `text` length if a byte follows it, and an echo line otherwise.
fn digits(bytes: &[u8]) -> Detection {
    let line = &bytes[..bytes.len().min(TEXT_LENGTH_LINE_BYTES_MAX)];
    match line.iter().position(|byte| !byte.is_ascii_digit()) {
        Some(end) if line[end] == b'\n' && end + 1 < bytes.len() => Detection::Known(Dialect::Text),
        Some(end) if line[end] == b'\n' => Detection::SilenceMeans(Dialect::Echo),
        None if line.len() < TEXT_LENGTH_LINE_BYTES_MAX => Detection::SilenceMeans(Dialect::Echo),
        Some(_) | None => Detection::Known(Dialect::Echo),
    }
}

#[cfg(test)]
mod tests {
    use super::Detection::{Known, NeedMore, SilenceMeans};
    use super::*;

    /// The result after each byte of `bytes`, the empty prefix first.
    fn verdicts(bytes: &[u8]) -> Vec<Detection> {
        (0..=bytes.len()).map(|len| detect(&bytes[..len])).collect()
    }

    #[test]
    fn every_row_of_the_table_at_every_prefix() {
        use Dialect::{Binary, CaseId, Csv, Echo, KeyValue, Native, Text};
        let more = |times: usize| vec![NeedMore; times];
        let silence = |times: usize, dialect| vec![SilenceMeans(dialect); times];
        for (bytes, before, verdict) in [
            // binary: type and length, length and type, in the documents' order and the clients'.
            (&b"\0\0\0\x03\0\0\0\x04"[..], vec![more(5)], Binary),
            (b"\0\0\x1f\x16\0\0\0\x01", vec![more(5)], Binary),
            (b"\0\xff\xff\xff\0", vec![more(5)], Binary),
            // key-value: any first letter.
            (b"\0\0\0\x27BATCH", vec![more(5)], KeyValue),
            (b"\0\0\0\x01\xff", vec![more(5)], KeyValue),
            (b"\0\0\0\0\x01", vec![more(5)], KeyValue),
            // case-id: bets, finish, query.
            (b"\x01\0\0\x10\0\0\0\0\x03", vec![more(3), silence(1, Csv)], CaseId),
            (b"\x01\0\0\0\0", vec![more(3), silence(1, Csv)], CaseId),
            (b"\x02", vec![more(1)], CaseId),
            (b"\x03\0\0\0\x03", vec![more(1)], CaseId),
            // csv: bets under 256 bytes, bets over, no bets at all.
            (b"\x01\0\x20Ana", vec![more(3)], Csv),
            (b"\x01\x20\0Ana", vec![more(3)], Csv),
            (b"\x01\xff\xff", vec![more(3)], Csv),
            (b"\xff", vec![more(1)], Csv),
            // text: digits, a line feed, and a byte more, whatever it is.
            (b"3\nA", vec![more(1), silence(2, Echo)], Text),
            (b"18\nGET_WINNERS|3", vec![more(1), silence(3, Echo)], Text),
            (b"123456789\n\0", vec![more(1), silence(10, Echo)], Text),
            (b"0\n0\n", vec![more(1), silence(2, Echo)], Text),
            // echo: digits that go on too long, or do not stay digits.
            (b"1234567890", vec![more(1), silence(9, Echo)], Echo),
            (b"12a\n", vec![more(1), silence(2, Echo)], Echo),
            (b"1\r\n", vec![more(1), silence(1, Echo)], Echo),
            (b"[CLIENT 1] Message\n", vec![more(1)], Echo),
            (b"\n", vec![more(1)], Echo),
            (b"\x04", vec![more(1)], Echo),
            // TLS, where it is not configured.
            (b"\x16\x03\x01", vec![more(1)], Echo),
            (b"\x80", vec![more(1)], Echo),
            (b"\xfe", vec![more(1)], Echo),
            // native, and what only begins like it.
            (b"\xb7LN\x01\0\0\0\x03", vec![more(4)], Native),
            (b"\xb7LN\x02", vec![more(4)], Echo),
            (b"\xb7LM", vec![more(3)], Echo),
            (b"\xb7\xb7", vec![more(2)], Echo),
        ] {
            let mut expected = before.concat();
            expected.resize(bytes.len() + 1, Known(verdict));
            assert_eq!(verdicts(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn silence_decides_only_where_the_table_says_so() {
        for (bytes, expected) in [
            (&b"\x01\0\0"[..], SilenceMeans(Dialect::Csv)),
            (b"\x01\0", NeedMore),
            (b"\x01", NeedMore),
            (b"\0\0\0\0", NeedMore),
            (b"7574\n", SilenceMeans(Dialect::Echo)),
            (b"7574", SilenceMeans(Dialect::Echo)),
            (b"\xb7LN", NeedMore),
        ] {
            assert_eq!(detect(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn every_pair_of_first_bytes_has_a_verdict_that_more_bytes_keep() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                for third in [0, 1, b'0', b'\n', b'N', 255] {
                    let verdicts = verdicts(&[first, second, third, 1, 0, b'\n', b'\n']);
                    let known: Vec<_> = verdicts.iter().skip_while(|verdict| !matches!(verdict, Known(_))).collect();
                    assert!(known.windows(2).all(|pair| pair[0] == pair[1]), "{first:02x} {second:02x} {third:02x}");
                }
            }
        }
    }
}
