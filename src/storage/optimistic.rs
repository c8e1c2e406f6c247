//! The fast row encoder: rows written as if nothing could be wrong, then checked all at once.
//!
//! Fields are copied a fixed number of bytes at a time, from the window that a field has, into a buffer that is
//! longer than needed; what is too much is overwritten by the next field. What can be told from one field (its
//! length, its first byte, its digits) is gathered in one flag without branches. What needs a look at every byte
//! is asked of the finished rows: that they are UTF-8, and that they hold exactly the separators that were written
//! here and no other byte that would need quoting or is forbidden.

use super::rows::Buffer;
use crate::lottery::{AgencyId, Bet, BetSink, DOCUMENT_DIGITS_MAX, NAME_BYTES_MAX, RawBet};
use crate::lottery::{digits_of_pairs, eight_digits, is_date, pairs, parse_number};

/// Names are copied so many bytes at a time; nearly all fit in one copy.
const NAME_COPY_BYTES: usize = 32;
/// An agency and a comma are copied at once: ten digits fit.
const PREFIX_COPY_BYTES: usize = 16;
/// The largest number of eight digits, as many as are written at once.
const EIGHT_DIGITS_MAX: u32 = 99_999_999;
/// The longest row, with what a last copy may write behind it.
const ROW_BYTES_MAX: usize = 1024;
/// Five commas, CR and LF.
const SEPARATORS_PER_ROW: usize = 7;
/// The buffer grows by so much at least.
const GROW_BYTES: usize = 64 * 1024;

const _: () = assert!(11 + 2 * (NAME_BYTES_MAX + 1) + NAME_COPY_BYTES + PREFIX_COPY_BYTES + 40 < ROW_BYTES_MAX);

/// Takes one batch.
pub(super) struct Optimistic<'b> {
    buffer: &'b mut Buffer,
    /// Where the batch's rows start.
    start: usize,
    /// Where the next row starts.
    end: usize,
    rows: usize,
    prefix: Prefix,
    /// Something is wrong with a bet.
    bad: bool,
    winning_number: u32,
    winners: Vec<Bet>,
}

impl<'b> Optimistic<'b> {
    /// Writes rows of `agency` into `buffer` from `start` on.
    #[inline]
    pub(super) fn new(buffer: &'b mut Buffer, start: usize, agency: AgencyId, winning_number: u32) -> Self {
        let mut prefix = [0; PREFIX_COPY_BYTES];
        let len = put_number(&mut prefix, 0, agency.0);
        prefix[len] = b',';
        let prefix = (prefix, u8::try_from(len + 1).expect("ten digits and a comma"));
        Optimistic { buffer, start, end: start, rows: 0, prefix, bad: false, winning_number, winners: Vec::new() }
    }

    /// Checks the rows: where they end, and the bets on the winning number; `None` if anything is not plain.
    #[inline]
    pub(super) fn finish(self) -> Option<(usize, Vec<Bet>)> {
        let rows = &self.buffer[self.start..self.end];
        let plain = !self.bad
            && count_special(rows) == self.rows * SEPARATORS_PER_ROW
            && simdutf8::basic::from_utf8(rows).is_ok();
        plain.then_some((self.end, self.winners))
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

impl BetSink for Optimistic<'_> {
    // Each dialect's decoder gets a copy of its own, so that a bet's fields stay in registers on their way.
    #[inline(always)]
    fn put(&mut self, bet: &RawBet<'_>) {
        if self.buffer.len() - self.end < ROW_BYTES_MAX {
            self.grow();
        }
        let row = self.buffer[self.end..].first_chunk_mut::<ROW_BYTES_MAX>().expect("there is room for a row");
        let (end, good) = match put_short(row, self.prefix, bet) {
            Some(written) => written,
            None => put_any(row, self.prefix, bet),
        };
        self.end += end;
        self.rows += 1;
        self.bad |= !good;
        if bet.number == Some(self.winning_number) {
            self.keep_winner(bet);
        }
    }
}

/// `agency,` and its length.
type Prefix = ([u8; PREFIX_COPY_BYTES], u8);

/// Writes a row whose fields are short and lie far enough from the frame's end to be copied by fixed sizes, as
/// nearly all do; `None` for any other. Returns where the row ends, and whether its fields are good by themselves.
///
/// The lengths are looked at before anything is written, so that the compiler knows every place to be in the row.
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
    let (at, first_good) = put_short_name(row, at, names.0, first_len);
    let (at, last_good) = put_short_name(row, at, names.1, last_len);
    row[at..at + 8].copy_from_slice(digits);
    row[at + document_len] = b',';
    let (at, birthdate_good) = put_date(row, at + document_len + 1, bet.birthdate);
    let at = put_number(row, at, number);
    row[at..at + 2].copy_from_slice(b"\r\n");
    let good = first_good & last_good & are_digits(*digits, document_len) & birthdate_good;
    Some((at + 2, good))
}

/// Writes a name of at most [`NAME_COPY_BYTES`] bytes and a comma; returns where they end, and whether the name's
/// length and first byte are right.
#[inline(always)]
fn put_short_name(row: &mut [u8; ROW_BYTES_MAX], at: usize, name: &[u8; NAME_COPY_BYTES], len: usize) -> (usize, bool) {
    row[at..at + NAME_COPY_BYTES].copy_from_slice(name);
    row[at + len] = b',';
    (at + len + 1, len > 0 && !OPENS_A_FORMULA[usize::from(name[0])])
}

/// As [`put_short`], for any bet.
#[cold]
#[inline(never)]
fn put_any(row: &mut [u8; ROW_BYTES_MAX], (prefix, prefix_len): Prefix, bet: &RawBet<'_>) -> (usize, bool) {
    row[..PREFIX_COPY_BYTES].copy_from_slice(&prefix);
    let mut at = usize::from(prefix_len);
    let mut good = bet.number.is_some() && parse_number(bet.document.bytes()).is_some();
    for (text, bytes_max) in
        [(bet.first_name, NAME_BYTES_MAX), (bet.last_name, NAME_BYTES_MAX), (bet.document, DOCUMENT_DIGITS_MAX)]
    {
        let bytes = &text.bytes()[..text.len().min(bytes_max)];
        row[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
        row[at] = b',';
        at += 1;
        let opens_a_formula = bytes.first().is_none_or(|&byte| OPENS_A_FORMULA[usize::from(byte)]);
        good &= text.len() <= bytes_max && !opens_a_formula;
    }
    let (date_end, birthdate_good) = put_date(row, at, bet.birthdate);
    at = put_number(row, date_end, bet.number.unwrap_or(0));
    row[at..at + 2].copy_from_slice(b"\r\n");
    (at + 2, good && birthdate_good)
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

/// Writes a date and a comma; returns where they end, and whether there is such a day.
#[inline(always)]
fn put_date(row: &mut [u8; ROW_BYTES_MAX], at: usize, yyyymmdd: u32) -> (usize, bool) {
    let pairs = pairs(yyyymmdd.min(EIGHT_DIGITS_MAX));
    let digits = u64::from_le_bytes(digits_of_pairs(pairs));
    // In the order of their places, lowest byte first: YYYY, then MM moved up by one place.
    let year_month = (digits & 0xffff_ffff) | (digits >> 32 & 0xffff) << 40 | DASHES;
    let day = digits >> 48 | u64::from(b',') << 16;
    row[at..at + 8].copy_from_slice(&year_month.to_le_bytes());
    row[at + 8..at + 16].copy_from_slice(&day.to_le_bytes());
    // Any day up to the 28th is one in every month of every year from 1900 on.
    let [century, _, _, _, month, _, day, _] = pairs.to_le_bytes();
    let every_month_has = century >= 19 && month.wrapping_sub(1) < 12 && day.wrapping_sub(1) < 28;
    (at + "YYYY-MM-DD,".len(), every_month_has || is_date(yyyymmdd))
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
    // A piece is short enough for its count to fit in a byte, so that the compiler adds a vector of them at once.
    // Additions are wrapping only because a check for overflow would keep it from that.
    let (pieces, rest) = rows.as_chunks::<128>();
    let count = |piece: &[u8]| piece.iter().fold(0u8, |count, &byte| count.wrapping_add(special(byte)));
    pieces.iter().fold(usize::from(count(rest)), |sum, piece| sum.wrapping_add(usize::from(count(piece))))
}

/// 1 for a byte that only a separator may be, or that no row may hold; else 0.
#[inline(always)]
fn special(byte: u8) -> u8 {
    u8::from((byte < 0x20) | (byte == b',') | (byte == b'"') | (byte == 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a bet with this name goes the fast way.
    fn is_plain(first_name: &[u8], birthdate: u32) -> bool {
        let mut buffer = Buffer::new(0);
        let mut sink = Optimistic::new(&mut buffer, 0, AgencyId(1), 7574);
        let (first_name, last_name) = (first_name.into(), b"Paz"[..].into());
        sink.put(&RawBet { first_name, last_name, document: b"12"[..].into(), birthdate, number: Some(1) });
        sink.finish().is_some()
    }

    #[test]
    fn plain_bets_go_the_fast_way_and_others_do_not() {
        for name in ["Ana", "O'Higgins", "Ñandú María de los Ángeles", &"a".repeat(255)] {
            assert!(is_plain(name.as_bytes(), 19_990_317), "{name}");
        }
        for name in ["", "a,b", "\"a", "a\r", "\u{7f}", "=a", &"a".repeat(256)] {
            assert!(!is_plain(name.as_bytes(), 19_990_317), "{name}");
        }
        assert!(!is_plain(b"\xc3", 19_990_317));
        assert!(!is_plain(b"Ana", 19_990_229));
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
