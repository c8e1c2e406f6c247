//! The fast row encoder: it writes rows as if every field were valid and needed no quotes, then checks all of them at
//! once.
//!
//! Fields are copied a fixed number of bytes at a time, from the window around a field, into a buffer with spare bytes
//! behind the row; the next field overwrites the surplus. Checks of a field's length, first byte and digits set one
//! flag, without branches. Checks of every byte are made on the finished rows: they must be UTF-8, and must hold
//! exactly the separators that were written here and no other byte that would need quotes or is forbidden.

use crate::lottery::{AgencyId, Bet, BetSink, DOCUMENT_DIGITS_MAX, NAME_BYTES_MAX, RawBet};
use crate::lottery::{digits_of_pairs, eight_digits, is_date, pairs, parse_number};
use crate::storage::format::redo::AlignedBytes;

/// Names are copied so many bytes at a time; nearly all fit in one copy.
const NAME_COPY_BYTES: usize = 32;
/// An agency and a comma are copied at once: ten digits fit.
const PREFIX_COPY_BYTES: usize = 16;
/// The largest number of eight digits, as many as are written at once.
const EIGHT_DIGITS_MAX: u32 = 99_999_999;
/// At least the longest row, and what its last copy may write behind it.
const ROW_BYTES_MAX: usize = 1024;
/// Five commas, CR and LF.
const SEPARATORS_PER_ROW: usize = 7;
/// The buffer grows by so much at least.
const GROW_BYTES: usize = 64 * 1024;

const _: () = assert!(11 + 2 * (NAME_BYTES_MAX + 1) + NAME_COPY_BYTES + PREFIX_COPY_BYTES + 40 < ROW_BYTES_MAX);

/// Encodes one batch.
pub(super) struct FastEncoder<'b> {
    buffer: &'b mut AlignedBytes,
    /// Where the batch's rows start.
    start: usize,
    /// Where the next row starts.
    end: usize,
    rows: usize,
    prefix: Prefix,
    /// A bet breaks a rule.
    bad: bool,
    winning_number: u32,
    winners: Vec<Bet>,
}

impl<'b> FastEncoder<'b> {
    /// Writes rows of `agency` into `buffer` from `start` on.
    #[inline]
    pub(super) fn new(buffer: &'b mut AlignedBytes, start: usize, agency: AgencyId, winning_number: u32) -> Self {
        let mut prefix = [0; PREFIX_COPY_BYTES];
        let len = put_number(&mut prefix, 0, agency.0);
        prefix[len] = b',';
        let prefix = (prefix, u8::try_from(len + 1).expect("ten digits and a comma"));
        FastEncoder { buffer, start, end: start, rows: 0, prefix, bad: false, winning_number, winners: Vec::new() }
    }

    /// Checks the rows. Returns where they end, and the bets on the winning number; `None` if a bet breaks a rule or
    /// needs quotes.
    #[inline]
    pub(super) fn finish(self) -> Option<(usize, Vec<Bet>)> {
        let rows = &self.buffer[self.start..self.end];
        let valid = !self.bad
            && count_special(rows) == self.rows * SEPARATORS_PER_ROW
            && simdutf8::basic::from_utf8(rows).is_ok();
        valid.then_some((self.end, self.winners))
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let more = self.buffer.len().max(GROW_BYTES);
        self.buffer.resize(self.buffer.len() + more, 0);
    }

    #[cold]
    #[inline(never)]
    fn keep_winner(&mut self, bet: &RawBet<'_>) {
        match Bet::check(bet) {
            Ok(bet) => self.winners.push(bet),
            Err(_) => self.bad = true,
        }
    }
}

impl BetSink for FastEncoder<'_> {
    // Inlined into each dialect's decoder, so that a bet's fields stay in registers.
    #[inline(always)]
    fn put(&mut self, bet: &RawBet<'_>) {
        if self.buffer.len() - self.end < ROW_BYTES_MAX {
            self.grow();
        }
        let row = self.buffer[self.end..].first_chunk_mut::<ROW_BYTES_MAX>().expect("there is room for a row");
        let (end, valid) = match put_short(row, self.prefix, bet) {
            Some(written) => written,
            None => put_any(row, self.prefix, bet),
        };
        self.end += end;
        self.rows += 1;
        self.bad |= !valid;
        if bet.number == Some(self.winning_number) {
            self.keep_winner(bet);
        }
    }
}

/// `agency,` and its length.
type Prefix = ([u8; PREFIX_COPY_BYTES], u8);

/// Writes a row whose fields are short and lie far enough from the frame's end to be copied by fixed sizes, as
/// nearly all do; `None` for any other. Returns where the row ends, and whether each of its fields is valid.
///
/// The lengths are checked before anything is written, so that the compiler can leave out the bounds checks.
#[inline(always)]
fn put_short(row: &mut [u8; ROW_BYTES_MAX], (prefix, prefix_len): Prefix, bet: &RawBet<'_>) -> Option<(usize, bool)> {
    let (first, last, document, number) = (bet.first_name, bet.last_name, bet.document, bet.number?);
    let names = (first.window().first_chunk()?, last.window().first_chunk()?);
    let digits = document.window().first_chunk()?;
    let (first_len, last_len, document_len) = (first.len(), last.len(), document.len());
    let short = first_len <= NAME_COPY_BYTES && last_len <= NAME_COPY_BYTES && document_len <= 8;
    if !short || number > EIGHT_DIGITS_MAX {
        return None;
    }
    let at = usize::from(prefix_len).min(PREFIX_COPY_BYTES);
    row[..PREFIX_COPY_BYTES].copy_from_slice(&prefix);
    let (at, first_valid) = put_short_name(row, at, names.0, first_len);
    let (at, last_valid) = put_short_name(row, at, names.1, last_len);
    row[at..at + 8].copy_from_slice(digits);
    row[at + document_len] = b',';
    let (at, birthdate_valid) = put_date(row, at + document_len + 1, bet.birthdate);
    let at = put_number(row, at, number);
    row[at..at + 2].copy_from_slice(b"\r\n");
    let valid = first_valid & last_valid & are_digits(*digits, document_len) & birthdate_valid;
    Some((at + 2, valid))
}

/// Writes a name of at most [`NAME_COPY_BYTES`] bytes and a comma; returns where they end, and whether the name's
/// length and first byte are right.
#[inline(always)]
fn put_short_name(row: &mut [u8; ROW_BYTES_MAX], at: usize, name: &[u8; NAME_COPY_BYTES], len: usize) -> (usize, bool) {
    row[at..at + NAME_COPY_BYTES].copy_from_slice(name);
    row[at + len] = b',';
    (at + len + 1, len > 0 && !OPENS_A_FORMULA[usize::from(name[0])])
}

/// As [`put_short`], for every bet.
#[cold]
#[inline(never)]
fn put_any(row: &mut [u8; ROW_BYTES_MAX], (prefix, prefix_len): Prefix, bet: &RawBet<'_>) -> (usize, bool) {
    row[..PREFIX_COPY_BYTES].copy_from_slice(&prefix);
    let mut at = usize::from(prefix_len);
    let mut valid = bet.number.is_some() && parse_number(bet.document.bytes()).is_some();
    for (text, bytes_max) in
        [(bet.first_name, NAME_BYTES_MAX), (bet.last_name, NAME_BYTES_MAX), (bet.document, DOCUMENT_DIGITS_MAX)]
    {
        let bytes = &text.bytes()[..text.len().min(bytes_max)];
        row[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
        row[at] = b',';
        at += 1;
        let opens_a_formula = bytes.first().is_none_or(|&byte| OPENS_A_FORMULA[usize::from(byte)]);
        valid &= text.len() <= bytes_max && !opens_a_formula;
    }
    let (date_end, birthdate_valid) = put_date(row, at, bet.birthdate);
    at = put_number(row, date_end, bet.number.unwrap_or(0));
    row[at..at + 2].copy_from_slice(b"\r\n");
    (at + 2, valid && birthdate_valid)
}

static OPENS_A_FORMULA: [bool; 256] = {
    let mut table = [false; 256];
    table[b'=' as usize] = true;
    table[b'+' as usize] = true;
    table[b'-' as usize] = true;
    table[b'@' as usize] = true;
    table
};

/// Whether the first `len` of eight bytes are digits; false for none.
#[inline(always)]
fn are_digits(bytes: [u8; 8], len: usize) -> bool {
    if !(1..=8).contains(&len) {
        return false;
    }
    // Bytes behind the field are shifted out; those shifted in count as the digit 0.
    let digits = (u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030) << (64 - 8 * len);
    (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 == 0
}

/// Writes a date and a comma; returns where they end, and whether the date exists.
#[inline(always)]
fn put_date(row: &mut [u8; ROW_BYTES_MAX], at: usize, yyyymmdd: u32) -> (usize, bool) {
    let pairs = pairs(yyyymmdd.min(EIGHT_DIGITS_MAX));
    let digits = u64::from_le_bytes(digits_of_pairs(pairs));
    // Lowest byte first: YYYY, then MM moved up by one byte for the dash.
    let year_month = (digits & 0xffff_ffff) | (digits >> 32 & 0xffff) << 40 | DASHES;
    let day = digits >> 48 | u64::from(b',') << 16;
    row[at..at + 8].copy_from_slice(&year_month.to_le_bytes());
    row[at + 8..at + 16].copy_from_slice(&day.to_le_bytes());
    // Every month has the days 1 to 28, and a valid year is 1900 or later; `is_date` decides about all other dates.
    let [century, _, _, _, month, _, day, _] = pairs.to_le_bytes();
    let exists_in_every_month = century >= 19 && month.wrapping_sub(1) < 12 && day.wrapping_sub(1) < 28;
    (at + "YYYY-MM-DD,".len(), exists_in_every_month || is_date(yyyymmdd))
}

const DASHES: u64 = u64::from_le_bytes([0, 0, 0, 0, b'-', 0, 0, b'-']);

/// Writes a number in decimal without leading zeros; returns where it ends.
#[inline(always)]
fn put_number<const N: usize>(row: &mut [u8; N], at: usize, number: u32) -> usize {
    if number > EIGHT_DIGITS_MAX {
        return put_long_number(row, at, number);
    }
    let digits = u64::from_le_bytes(eight_digits(number));
    // The last digit stays, even where it is 0.
    let significant = (digits & 0x0f0f_0f0f_0f0f_0f0f) | 1 << 56;
    let zeros = significant.trailing_zeros() / 8;
    row[at..at + 8].copy_from_slice(&(digits >> (8 * zeros)).to_le_bytes());
    at + 8 - zeros as usize
}

#[cold]
#[inline(never)]
fn put_long_number(row: &mut [u8], at: usize, number: u32) -> usize {
    let text = number.to_string();
    row[at..at + text.len()].copy_from_slice(text.as_bytes());
    at + text.len()
}

/// How many bytes of `rows` are commas, quotes, control characters or DEL.
#[inline]
fn count_special(rows: &[u8]) -> usize {
    // A piece is so short that its count fits in a byte, and the compiler adds the counts of a vector of bytes at once.
    // The additions wrap because an overflow check would prevent that; none of them can overflow.
    let (pieces, rest) = rows.as_chunks::<128>();
    let count = |piece: &[u8]| piece.iter().fold(0u8, |count, &byte| count.wrapping_add(special(byte)));
    pieces.iter().fold(usize::from(count(rest)), |sum, piece| sum.wrapping_add(usize::from(count(piece))))
}

/// 1 for a byte that is allowed as a separator only, or that no row may hold; else 0.
#[inline(always)]
fn special(byte: u8) -> u8 {
    u8::from((byte < 0x20) | (byte == b',') | (byte == b'"') | (byte == 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the fast encoder takes a bet with this name.
    fn is_taken(first_name: &[u8], birthdate: u32) -> bool {
        let mut buffer = AlignedBytes::new(0);
        let mut sink = FastEncoder::new(&mut buffer, 0, AgencyId(1), 7574);
        let (first_name, last_name) = (first_name.into(), b"Paz"[..].into());
        sink.put(&RawBet { first_name, last_name, document: b"12"[..].into(), birthdate, number: Some(1) });
        sink.finish().is_some()
    }

    #[test]
    fn bets_that_need_no_quotes_are_taken_and_others_are_not() {
        for name in ["Ana", "O'Higgins", "Ñandú María de los Ángeles", &"a".repeat(255)] {
            assert!(is_taken(name.as_bytes(), 19_990_317), "{name}");
        }
        for name in ["", "a,b", "\"a", "a\r", "\u{7f}", "=a", &"a".repeat(256)] {
            assert!(!is_taken(name.as_bytes(), 19_990_317), "{name}");
        }
        assert!(!is_taken(b"\xc3", 19_990_317));
        assert!(!is_taken(b"Ana", 19_990_229));
    }

    #[test]
    fn specials_are_counted_whatever_the_length() {
        let rows: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for len in 0..rows.len() {
            let expected = rows[..len].iter().filter(|&&byte| byte < 0x20 || b",\"\x7f".contains(&byte)).count();
            assert_eq!(count_special(&rows[..len]), expected);
        }
        assert_eq!(count_special(&[b','; 1024]), 1024);
    }

    #[test]
    fn numbers_are_those_of_format() {
        let powers = (0..10).map(|power| 10u32.pow(power)).flat_map(|power| [power - 1, power, power + 1]);
        for number in (0..200_000).chain(powers).chain([u32::MAX]) {
            let mut row = [0; 32];
            let end = put_number(&mut row, 3, number);
            assert_eq!(&row[3..end], number.to_string().as_bytes());
        }
    }
}
