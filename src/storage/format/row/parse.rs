//! Stored rows back to bets: the winners at a start, and rows that are adopted.
//!
//! A row is valid only if it is exactly what the encoder writes for its bet. So a search for the bytes of a number
//! finds every bet on that number.

use memchr::memmem;

use super::reference;
use crate::lottery::{AgencyId, Bet, BetSource, parse_number};

/// The agency and the bet of one row with its CR LF; `None` if the hub does not write such a row.
pub(in crate::storage) fn parse_row(row: &[u8]) -> Option<(AgencyId, Bet)> {
    let mut rest = row.strip_suffix(b"\r\n")?;
    let mut fields: [Vec<u8>; 6] = Default::default();
    for (index, field) in fields.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b",")?;
        }
        rest = take_field(rest, field)?;
    }
    let [agency, first, last, document, birthdate, number] = &fields;
    let agency = AgencyId(parse_number(agency)?);
    let bet = Bet::from_text(first, last, document, birthdate, number).ok()?;
    let encoded = reference::encode(agency, 0, &One(&bet)).ok()?;
    (rest.is_empty() && encoded.rows == row).then_some((agency, bet))
}

/// Copies the field at the start of `text` into `field`, without its quotes, and returns the rest of `text`.
fn take_field<'a>(text: &'a [u8], field: &mut Vec<u8>) -> Option<&'a [u8]> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b',', text).unwrap_or(text.len());
        field.extend(&text[..end]);
        return Some(&text[end..]);
    };
    loop {
        let quote = memchr::memchr(b'"', rest)?;
        field.extend(&rest[..quote]);
        rest = &rest[quote + 1..];
        let Some(after) = rest.strip_prefix(b"\"") else { return Some(rest) };
        field.push(b'"');
        rest = after;
    }
}

/// A batch of one bet.
struct One<'a>(&'a Bet);

impl BetSource for One<'_> {
    fn feed<S: crate::lottery::BetSink>(&self, sink: &mut S) -> Result<u32, crate::lottery::BatchError> {
        sink.put(&self.0.as_raw());
        Ok(1)
    }
}

/// Finds the bets on one number among stored rows.
pub(in crate::storage) struct Winners {
    number_and_end: memmem::Finder<'static>,
}

impl Winners {
    pub(in crate::storage) fn on(winning_number: u32) -> Winners {
        // The number is the last field, written without leading zeros, and no field holds a line break.
        let needle = format!(",{winning_number}\r\n");
        Winners { number_and_end: memmem::Finder::new(needle.as_bytes()).into_owned() }
    }

    /// The winning bets of `rows`, which are whole rows; `Err` has the offset in `rows` of one that is not valid.
    pub(in crate::storage) fn find<'a>(
        &'a self,
        rows: &'a [u8],
    ) -> impl Iterator<Item = Result<(AgencyId, Bet), usize>> + 'a {
        self.number_and_end.find_iter(rows).map(move |hit| {
            let start = memchr::memrchr(b'\n', &rows[..hit]).map_or(0, |before| before + 1);
            let end = hit + self.number_and_end.needle().len();
            parse_row(&rows[start..end]).ok_or(start)
        })
    }
}

/// How many rows there are in `rows`.
pub(in crate::storage) fn count_rows(rows: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', rows).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = concat!(
        "1,Ana,Paz,00000012,1999-03-17,7574\r\n",
        "1,\"Ana, \"\"la\"\"\",Paz,12,1999-03-17,75740\r\n",
        "22,Ana,\"7574\"\"\",12,1999-03-17,17574\r\n",
        "22,\"Ana, \"\"la\"\"\",Paz,13,1999-03-17,7574\r\n",
    );

    #[test]
    fn rows_read_back() {
        for row in ROWS.split_inclusive('\n') {
            assert!(parse_row(row.as_bytes()).is_some(), "{row}");
        }
        let (agency, bet) = parse_row(ROWS.split_inclusive('\n').nth(3).unwrap().as_bytes()).unwrap();
        assert_eq!((agency, bet.first_name(), bet.document()), (AgencyId(22), "Ana, \"la\"", "13"));
    }

    #[test]
    fn rows_that_the_hub_would_not_write() {
        for row in [
            "",
            "\r\n",
            "1,Ana,Paz,12,1999-03-17,7574\n",
            "1,Ana,Paz,12,1999-03-17,7574",
            "1,Ana,Paz,12,1999-03-17,07574\r\n",
            "1,Ana,Paz,12,1999-03-17,\"7574\"\r\n",
            "1,\"Ana\",Paz,12,1999-03-17,7574\r\n",
            "01,Ana,Paz,12,1999-03-17,7574\r\n",
            "1,Ana,Paz,12,1999-02-29,7574\r\n",
            "1,Ana,Paz,12,1999-03-17,7574,\r\n",
            "1,Ana,Paz,12,1999-03-17\r\n",
            "1,\"Ana,Paz,12,1999-03-17,7574\r\n",
            "1,A\"na,Paz,12,1999-03-17,7574\r\n",
            "1,=Ana,Paz,12,1999-03-17,7574\r\n",
        ] {
            assert_eq!(parse_row(row.as_bytes()), None, "{row:?}");
        }
    }

    #[test]
    fn only_the_winning_number_itself_wins() {
        let winners: Vec<_> = Winners::on(7574).find(ROWS.as_bytes()).map(Result::unwrap).collect();
        let documents: Vec<_> = winners.iter().map(|(agency, bet)| (agency.0, bet.document())).collect();
        assert_eq!(documents, [(1, "00000012"), (22, "13")]);
        assert_eq!(count_rows(ROWS.as_bytes()), 4);
    }
}
