//! Calendar dates between 1900 and 9999, as one number.

use std::fmt;

/// A real calendar date of the years 1900 to 9999, stored as the number `YYYYMMDD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Birthdate(u32);

impl Birthdate {
    /// The date of the number `yyyymmdd`, if there is such a day.
    pub fn from_yyyymmdd(yyyymmdd: u32) -> Option<Birthdate> {
        is_date(yyyymmdd).then_some(Birthdate(yyyymmdd))
    }

    /// The number `YYYYMMDD`.
    pub fn yyyymmdd(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Birthdate {
    /// `YYYY-MM-DD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
    }
}

/// The number `YYYYMMDD` of the ten bytes `YYYY-MM-DD`, or 0, which is no date, for anything else.
///
/// Checks the format only; [`Birthdate::from_yyyymmdd`] checks that there is such a day.
#[inline]
pub fn parse_yyyymmdd(text: &[u8]) -> u32 {
    let Ok(&[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1]) = <&[u8; 10]>::try_from(text) else { return 0 };
    super::digits::parse_eight([y0, y1, y2, y3, m0, m1, d0, d1]).unwrap_or(0)
}

/// Whether `yyyymmdd` names a day of the proleptic Gregorian calendar, 1900 to 9999.
#[inline]
pub fn is_date(yyyymmdd: u32) -> bool {
    let (year, month, day) = (yyyymmdd / 10_000, yyyymmdd / 100 % 100, yyyymmdd % 100);
    let plausible = (1900..=9999).contains(&year) && month.wrapping_sub(1) < 12 && day.wrapping_sub(1) < 28;
    plausible || is_late_date(year, month, day)
}

/// Checks days after the 28th, which not every month has; kept apart because most birthdates need no such check.
fn is_late_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    (1900..=9999).contains(&year) && (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_calendar_library_on_every_number_that_could_be_a_date() {
        for year in (1880..=2120).chain(9990..=10_010) {
            for rest in 0..=9999u32 {
                let number = year * 10_000 + rest;
                let (month, day) = (rest / 100, rest % 100);
                let [y, m, d] = [year, month, day].map(|part| i16::try_from(part).unwrap());
                let real = (1900..=9999).contains(&year)
                    && jiff::civil::Date::new(y, m.try_into().unwrap(), d.try_into().unwrap()).is_ok();
                assert_eq!(is_date(number), real, "{number}");
            }
        }
    }

    #[test]
    fn text_reads_back() {
        for text in ["1999-03-17", "1900-01-01", "9999-12-31", "2000-02-29"] {
            let date = Birthdate::from_yyyymmdd(parse_yyyymmdd(text.as_bytes())).unwrap();
            assert_eq!(date.to_string(), text);
        }
        for text in ["1999-3-17", "1999/03/17", "1999-03-1x", "19990317", "", "1999-03-170", "+999-03-17"] {
            assert_eq!(parse_yyyymmdd(text.as_bytes()), 0, "{text}");
        }
    }
}
