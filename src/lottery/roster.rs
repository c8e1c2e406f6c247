//! Agency ids and the roster of one draw.

use std::fmt;

/// The number of an agency in every dialect and in the stored rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgencyId(pub u32);

impl fmt::Display for AgencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The agencies of one draw: their ids, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    ids: Vec<AgencyId>,
}

/// Why the text of a roster is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Neither a count nor a list of ids and ranges.
    #[error("'{0}' is neither a number of agencies nor a list of ids such as 1-5,9")]
    Syntax(String),
    /// Id 0, which is reserved: a count of 0 means "no agencies".
    #[error("agency ids start at 1")]
    Zero,
    /// More agencies than [`Roster::AGENCIES_MAX`].
    #[error("{0} agencies are too many: at most {max}", max = Roster::AGENCIES_MAX)]
    TooMany(u64),
    /// An id that is there more than once: another one was probably meant.
    #[error("agency {0} is named twice")]
    Twice(AgencyId),
}

impl Roster {
    /// The most agencies of one draw; it bounds the memory that a configuration can require.
    pub const AGENCIES_MAX: u64 = 100_000;

    /// Parses `5` (ids 1 to 5), `0` (no agencies) or `1-5,9` (these ids).
    ///
    /// A single number is a count; a list or a range names ids. A single id is written as a range: `9-9`.
    ///
    /// # Errors
    /// The reason why the text is invalid, for the operator.
    pub fn parse(text: &str) -> Result<Roster, RosterError> {
        let text = text.trim();
        let syntax = || RosterError::Syntax(text.to_owned());
        let number = |part: &str| part.trim().parse::<u32>().map_err(|_| syntax());
        if !text.contains([',', '-']) {
            let count = number(text)?;
            return if count == 0 { Ok(Roster { ids: Vec::new() }) } else { Roster::ranges(&[(1, count)]) };
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(syntax());
            }
            ranges.push((first, last));
        }
        Roster::ranges(&ranges)
    }

    fn ranges(ranges: &[(u32, u32)]) -> Result<Roster, RosterError> {
        let count: u64 = ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        if ranges.iter().any(|(first, _)| *first == 0) {
            return Err(RosterError::Zero);
        }
        if count > Roster::AGENCIES_MAX {
            return Err(RosterError::TooMany(count));
        }
        let mut ids: Vec<_> = ranges.iter().flat_map(|&(first, last)| (first..=last).map(AgencyId)).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RosterError::Twice(twice[0]));
        }
        Ok(Roster { ids })
    }

    /// The ids, ascending.
    pub fn ids(&self) -> &[AgencyId] {
        &self.ids
    }

    /// Whether the roster has `agency`.
    pub fn contains(&self, agency: AgencyId) -> bool {
        self.position(agency).is_some()
    }

    /// The index of `agency` in [`ids`](Self::ids).
    pub fn position(&self, agency: AgencyId) -> Option<usize> {
        // Ids are nearly always 1 … N: try that index before searching.
        let guess = (agency.0 as usize).wrapping_sub(1);
        if self.ids.get(guess) == Some(&agency) {
            return Some(guess);
        }
        self.ids.binary_search(&agency).ok()
    }
}

impl fmt::Display for Roster {
    /// Consecutive ids as ranges: `1-5,9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ids.is_empty() {
            return f.write_str("0");
        }
        let mut separator = "";
        for run in self.ids.chunk_by(|a, b| a.0 + 1 == b.0) {
            match run {
                [only] if self.ids.len() > 1 => write!(f, "{separator}{only}")?,
                [first, ..] => write!(f, "{separator}{first}-{}", run[run.len() - 1])?,
                [] => {}
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<u32> {
        Roster::parse(text).unwrap().ids().iter().map(|id| id.0).collect()
    }

    #[test]
    fn a_count_a_list_and_an_empty_roster() {
        assert_eq!(ids("5"), [1, 2, 3, 4, 5]);
        assert_eq!(ids("0"), [0; 0]);
        assert_eq!(ids(" 1-3, 9 ,4"), [1, 2, 3, 4, 9]);
        assert_eq!(ids("9-9"), [9]);
    }

    #[test]
    fn malformed_rosters_are_refused() {
        for text in ["", "x", "1-", "5-1", "-3", "1,,2", "4294967296"] {
            assert_eq!(Roster::parse(text), Err(RosterError::Syntax(text.to_owned())), "{text}");
        }
        assert_eq!(Roster::parse("0-3"), Err(RosterError::Zero));
        assert_eq!(Roster::parse("1,1"), Err(RosterError::Twice(AgencyId(1))), "1,11 was meant");
        assert_eq!(Roster::parse("4-9,2-5"), Err(RosterError::Twice(AgencyId(4))));
        assert_eq!(Roster::parse("1-4294967295"), Err(RosterError::TooMany(4_294_967_295)));
    }

    #[test]
    fn display_reads_back() {
        for text in ["0", "1-5", "1-5,9", "9-9", "3-4,7,9-12"] {
            let roster = Roster::parse(text).unwrap();
            assert_eq!(roster.to_string(), text);
            assert_eq!(Roster::parse(&roster.to_string()).unwrap(), roster);
        }
    }

    #[test]
    fn positions() {
        let roster = Roster::parse("1-3,9").unwrap();
        assert_eq!([1, 3, 9, 4, 0].map(|id| roster.position(AgencyId(id))), [Some(0), Some(2), Some(3), None, None]);
    }
}
