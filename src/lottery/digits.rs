//! Decimal digits, eight at a time: all in one word, without a loop.

/// The eight decimal digits of `value`, which is below 100,000,000; more significant digits are lost.
#[inline]
pub fn eight_digits(value: u32) -> [u8; 8] {
    digits_of_pairs(pairs(value))
}

/// The four pairs of the eight decimal digits of `value`, which is below 100,000,000, the most significant in the
/// lowest lane: numbers of 0 to 99 in lanes of 16 bits.
#[inline]
pub fn pairs(value: u32) -> u64 {
    // Splits into halves, then both halves at once. No lane overflows for values below 100,000,000, and wrapping
    // arithmetic avoids the checks; the result for larger values is unspecified.
    let value = u64::from(value);
    let halves = (value / 10_000) | (value % 10_000) << 32;
    let high = (halves.wrapping_mul(10_486) >> 20) & 0x7f_0000_007f;
    high | halves.wrapping_sub(high.wrapping_mul(100)) << 16
}

/// The digits of [`pairs`].
#[inline]
pub fn digits_of_pairs(pairs: u64) -> [u8; 8] {
    let high = (pairs.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    let digits = high | pairs.wrapping_sub(high.wrapping_mul(10)) << 8;
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The number of eight decimal digits; `None` if one of the bytes is no digit.
#[inline]
pub fn parse_eight(digits: [u8; 8]) -> Option<u32> {
    let (len, number) = leading_digits(digits);
    (len == 8).then_some(number)
}

/// How many of eight bytes are decimal digits before the first other byte, and the number of these digits.
#[inline]
pub fn leading_digits(bytes: [u8; 8]) -> (usize, u32) {
    let values = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // The top bit of every byte that is no digit. Only such a byte carries, and only into the bytes after it.
    let wrong = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let len = wrong.trailing_zeros() / 8;
    // The digits alone, as the last of eight.
    let digits = values.checked_shl(64 - 8 * len).unwrap_or(0);
    // Adds neighbours: digits to pairs, pairs to fours, fours to eight. A digit fits its lane ten thousand times over.
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let eight = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (len as usize, eight as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_format_and_read_back() {
        let powers = (0..8).map(|power| 10u32.pow(power)).flat_map(|power| [power - 1, power, power + 1]);
        for value in (0..200_000).chain(powers).chain((0..100_000_000).step_by(9_973)).chain([99_999_999]) {
            let digits = eight_digits(value);
            assert_eq!(digits, format!("{value:08}").as_bytes());
            assert_eq!(parse_eight(digits), Some(value));
        }
    }

    #[test]
    fn eight_bytes_with_one_that_is_no_digit_are_no_number() {
        for place in 0..8 {
            for byte in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit()) {
                for digit in [b'0', b'9'] {
                    let mut text = [digit; 8];
                    text[place] = byte;
                    assert_eq!(parse_eight(text), None, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn digits_end_at_any_other_byte() {
        for other in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit()) {
            for len in 0..8 {
                for digits in [b"90817263", b"00000000", b"99999999"] {
                    let mut bytes = *digits;
                    bytes[len] = other;
                    let spelled = std::str::from_utf8(&digits[..len]).unwrap().parse().unwrap_or(0);
                    assert_eq!(leading_digits(bytes), (len, spelled), "{other} at {len}");
                    assert_eq!(parse_eight(bytes), None, "{other} at {len}");
                }
            }
        }
    }
}
