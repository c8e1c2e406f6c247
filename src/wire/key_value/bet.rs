//! A bet of the `key-value` dialect: a value that is itself a list of pairs.
//!
//! This file handles both levels of escapes: those of the message, and those of the bet's values inside. The separator of
//! two pairs is `|` or, as the original documents also show, `:`. A separator is one only if a known key follows;
//! otherwise it is part of the value. A repeated or missing key is an error, so that every bet has one reading.

use super::{AgencyId, RawBet, plain};
use crate::lottery::{Text, parse_number, parse_yyyymmdd};

/// The key of a bet in its message; its number follows.
pub const BET: &[u8] = b"BET_";
/// The keys of a bet, with the `:` after each, in the order in which clients write them.
const KEYS: [&[u8]; 6] = [b"NOMBRE:", b"APELLIDO:", b"DOCUMENTO:", b"NACIMIENTO:", b"NUMERO:", b"AGENCY_ID:"];

const DATE_BYTES: usize = 10;

/// Where the value at the start of `bytes` ends: at the first `|` that is not escaped.
pub fn value_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'\\', b'|', rest)) {
        if bytes[at + found] == b'|' {
            return at + found;
        }
        at += found + 2;
    }
    bytes.len()
}

/// The fields of a bet.
pub struct Fields<'a> {
    /// The bet, unchecked.
    pub bet: RawBet<'a>,
    /// Its agency, as text.
    pub agency: &'a [u8],
}

/// Buffers for unescaped values, reused from bet to bet.
#[derive(Default)]
pub struct Scratch {
    pairs: Vec<u8>,
    values: Vec<u8>,
}

impl<'a> Fields<'a> {
    /// Reads a bet that is the whole of a message's value; `None` if it does not have its six pairs.
    pub fn read(value: &'a [u8], scratch: &'a mut Scratch) -> Option<Fields<'a>> {
        match Fields::read_canonical(value) {
            Some((fields, _)) => Some(fields),
            None => Fields::read_any(value, scratch),
        }
    }

    /// Reads a bet in the common form: its pairs in the order of [`KEYS`], no value with a byte that could
    /// be a separator. Returns the bet and its length; `None` if it has another form, valid or not.
    #[inline(always)]
    pub fn read_canonical(bytes: &'a [u8]) -> Option<(Fields<'a>, usize)> {
        let mut reader = Canonical { rest: bytes };
        reader.rest = bytes.strip_prefix(KEYS[0])?;
        let first_name = reader.value()?;
        reader.key(KEYS[1])?;
        let last_name = reader.value()?;
        reader.key(KEYS[2])?;
        let document = reader.number()?.0;
        reader.key(KEYS[3])?;
        let birthdate = match plain::date_before(b'\\', reader.rest) {
            Some(date) => reader.take(DATE_BYTES).map(|_| date)?,
            None => parse_yyyymmdd(reader.value()?.bytes()),
        };
        reader.key(KEYS[4])?;
        let number = reader.number()?.1;
        reader.key(KEYS[5])?;
        let agency = reader.value()?.bytes();
        if !matches!(reader.rest.first(), None | Some(b'|')) {
            return None;
        }
        let bet = RawBet { first_name, last_name, document, birthdate, number };
        Some((Fields { bet, agency }, bytes.len() - reader.rest.len()))
    }

    /// Reads a bet with any order of pairs, separators and escapes.
    #[cold]
    fn read_any(value: &[u8], scratch: &'a mut Scratch) -> Option<Fields<'a>> {
        let Scratch { pairs, values } = scratch;
        pairs.clear();
        values.clear();
        unescape(value, pairs)?;
        let mut ranges: [Option<(usize, usize)>; KEYS.len()] = [None; KEYS.len()];
        let mut next = key_at(pairs);
        let mut rest = pairs.as_slice();
        while let Some(key) = next {
            let start = values.len();
            rest = &rest[KEYS[key].len()..];
            (next, rest) = take_value(rest, values)?;
            if ranges[key].replace((start, values.len() - start)).is_some() {
                return None;
            }
        }
        let text = |key: usize| ranges[key].and_then(|(start, len)| Text::new(&values[start..], len));
        let (birthdate, number) = (parse_yyyymmdd(text(3)?.bytes()), parse_number(text(4)?.bytes()));
        let bet = RawBet { first_name: text(0)?, last_name: text(1)?, document: text(2)?, birthdate, number };
        Some(Fields { bet, agency: text(5)?.bytes() })
    }
}

/// Reads pairs in the form in which clients write them.
struct Canonical<'a> {
    rest: &'a [u8],
}

impl<'a> Canonical<'a> {
    /// Reads a separator and this key.
    #[inline(always)]
    fn key(&mut self, key: &[u8]) -> Option<()> {
        let pair = self.rest.strip_prefix(b"\\|").or_else(|| self.rest.strip_prefix(b":"))?;
        self.rest = pair.strip_prefix(key)?;
        Some(())
    }

    /// Reads a value, up to the first byte that could end it. Byte by byte: most values are so short
    /// that a vector search costs more than it saves.
    #[inline(always)]
    fn value(&mut self) -> Option<Text<'a>> {
        let ends = |byte: &u8| matches!(byte, b'\\' | b'|' | b':');
        self.take(self.rest.iter().position(ends).unwrap_or(self.rest.len()))
    }

    /// Reads a value and its number.
    #[inline(always)]
    fn number(&mut self) -> Option<(Text<'a>, Option<u32>)> {
        if let Some((number, len)) = plain::number_before(b'\\', self.rest) {
            return Some((self.take(len)?, Some(number)));
        }
        let text = self.value()?;
        Some((text, parse_number(text.bytes())))
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<Text<'a>> {
        let text = Text::new(self.rest, len);
        self.rest = self.rest.get(len..)?;
        text
    }
}

/// Which of [`KEYS`] is at the start of `pairs`.
fn key_at(pairs: &[u8]) -> Option<usize> {
    KEYS.iter().position(|key| pairs.starts_with(key))
}

/// Appends the value at the start of `pairs` to `values`; returns the key that follows it, and the bytes from there on.
/// `None` if its last escape has nothing to escape.
fn take_value<'a>(pairs: &'a [u8], values: &mut Vec<u8>) -> Option<(Option<usize>, &'a [u8])> {
    let mut rest = pairs;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte == b'\\' {
            let [escaped, tail @ ..] = tail else { return None };
            values.push(*escaped);
            rest = tail;
            continue;
        }
        if matches!(byte, b'|' | b':')
            && let Some(key) = key_at(tail)
        {
            return Some((Some(key), tail));
        }
        values.push(*byte);
    }
    Some((None, rest))
}

/// Appends `value` without its escapes; `None` if the last one has nothing to escape.
pub fn unescape(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(*rest.get(at + 1)?);
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
    Some(())
}

/// Appends a bet's pairs, escaped as a value of a message.
pub fn push_bet(agency: AgencyId, bet: &RawBet<'_>, out: &mut Vec<u8>) {
    for (key, name) in KEYS.iter().zip([bet.first_name, bet.last_name]) {
        out.extend_from_slice(key);
        push_name(name.bytes(), out);
        out.extend_from_slice(b"\\|");
    }
    out.extend_from_slice(KEYS[2]);
    push_name(bet.document.bytes(), out);
    out.extend_from_slice(b"\\|");
    out.extend_from_slice(KEYS[3]);
    plain::push_date(bet.birthdate, out);
    out.extend_from_slice(b"\\|");
    out.extend_from_slice(KEYS[4]);
    plain::push_number(bet.number.unwrap_or(0), out);
    out.extend_from_slice(b"\\|");
    out.extend_from_slice(KEYS[5]);
    plain::push_number(agency.0, out);
}

/// Appends a text of a bet, escaped for both levels.
fn push_name(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\\\\\"),
            b'|' => out.extend_from_slice(b"\\\\\\|"),
            b':' => out.extend_from_slice(b"\\\\:"),
            _ => out.push(byte),
        }
    }
}
