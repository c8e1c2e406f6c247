//! Numbers, times and texts as a person reads them.

use std::fmt::Display;

pub(super) use crate::logging::grouped;

/// A text that may come from a peer or a file, without characters that a terminal acts on.
pub(super) fn clean(text: impl Display) -> String {
    let unsafe_for_lines = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.to_string().replace(unsafe_for_lines, ".")
}

/// A count with the word for one, or the word for any other number.
pub(super) fn counted(count: u64, one: &str, others: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { others })
}

/// Seconds, in the two largest units: `0.2s`, `12s`, `3m20s`, `5h3m`, `2d4h`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as casts of floats saturate")]
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{:.1}s", seconds.max(0.0));
    }
    match seconds.round() as u64 {
        whole @ 0..60 => format!("{whole}s"),
        whole @ 60..3_600 => format!("{}m{}s", whole / 60, whole % 60),
        whole @ 3_600..86_400 => format!("{}h{}m", whole / 3_600, whole % 3_600 / 60),
        whole => format!("{}d{}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// Microseconds as `80us`, `1.2ms`, `3.4s`.
#[allow(clippy::cast_precision_loss, reason = "a few digits are shown")]
pub(super) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

/// Bytes as `512 B`, `1.2 KiB`, `3.4 GiB`.
#[allow(clippy::cast_precision_loss, reason = "a few digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = bytes as f64 / 1024.0;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// Bets per second without decimals, unless there are few.
pub(super) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 { format!("{per_second:.1}/s") } else { format!("{per_second:.0}/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short_and_exact_enough() {
        assert_eq!([0, 999, 1000, 78_697, 1_234_567].map(grouped), ["0", "999", "1,000", "78,697", "1,234,567"]);
        let times = [0.0, 0.26, 9.9, 9.96, 59.4, 59.6, 200.0, 3_600.0, 18_180.0, 187_200.0];
        let told = ["0.0s", "0.3s", "9.9s", "10s", "59s", "1m0s", "3m20s", "1h0m", "5h3m", "2d4h"];
        assert_eq!(times.map(seconds), told);
        assert_eq!([0, 999, 1_200, 3_400_000].map(micros), ["0us", "999us", "1.2ms", "3.4s"]);
        assert_eq!([0, 1023, 1024, 1_048_575, 3 << 40].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "3.0 TiB"]);
        assert_eq!([0.0, 0.4, 512.3].map(rate), ["0/s", "0.4/s", "512/s"]);
        assert_eq!([0, 1, 2_000].map(|n| counted(n, "bet", "bets")), ["0 bets", "1 bet", "2,000 bets"]);
        assert_eq!(clean("a\u{1b}[2J\r\nb|ñ\u{2028}"), "a.[2J..b|ñ.");
    }
}
