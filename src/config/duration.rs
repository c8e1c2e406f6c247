//! Durations as Go reads and prints them: `150ms`, `1.5s`, `1m30s`.
//!
//! Source of the format: Go's `time.ParseDuration` and `time.Duration.String`.

use std::fmt::Write;
use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a duration that is not negative; `None` for anything that Go does not accept, or over 292 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0u64;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = tail;
    }
    let fits = !text.is_empty() && i64::try_from(nanos).is_ok();
    fits.then(|| Duration::from_nanos(nanos))
}

/// `number`, which may have a fraction, times `scale`.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(scale)? };
    let mut unit = scale;
    for digit in fraction.chars() {
        let digit = u64::from(digit.to_digit(10)?);
        // Go also drops fractions of a nanosecond.
        value = value.checked_add(unit * digit / 10)?;
        unit /= 10;
    }
    Some(value)
}

/// Prints a duration as Go does.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, scale) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanos, scale));
    }
    let mut text = String::new();
    let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000));
    text
}

/// `value / scale`, a power of ten, without trailing zeros.
fn decimal(value: u128, scale: u128) -> String {
    let (whole, fraction) = (value / scale, value % scale);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_go_does() {
        for (text, printed) in [
            ("150ms", "150ms"),
            ("1.5s", "1.5s"),
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("5s", "5s"),
            ("0", "0s"),
            ("0s", "0s"),
            ("1h", "1h0m0s"),
            (".5s", "500ms"),
            ("1.000001s", "1.000001s"),
            ("3us", "3µs"),
            ("3µs", "3µs"),
            ("100h1ns", "100h0m0.000000001s"),
        ] {
            let duration = parse_duration(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(format_duration(duration), printed, "{text}");
            assert_eq!(parse_duration(printed), Some(duration), "{printed}");
        }
        for text in ["", "5", "s", "-1s", ".s", "1.2.3s", "5 s", "5sec", "1d", "9223372036854775808ns", "3000000h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
