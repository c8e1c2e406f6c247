//! What the engine answers: rows in binary, errors, and the answer to all that stands between two `Sync`s.

use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields};

use crate::lottery::{AgencyId, Bet, Standing};
use crate::storage::format::row::parse::parse_row;
use crate::storage::keep::Known;

/// The columns of a row, in order.
pub(super) struct Columns<'a>(&'a [u8]);

impl<'a> Columns<'a> {
    pub fn of(row: &'a DataRowBody) -> Columns<'a> {
        Columns(row.buffer())
    }

    /// The next column; `None` for NULL.
    ///
    /// # Errors
    /// There is none.
    pub fn next(&mut self) -> io::Result<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or_else(misshapen)?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.0 = rest;
            return Ok(None);
        };
        let (column, rest) = rest.split_at_checked(length).ok_or_else(misshapen)?;
        self.0 = rest;
        Ok(Some(column))
    }

    fn fixed<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.next()?.and_then(|column| column.try_into().ok()).ok_or_else(misshapen)
    }

    pub fn int(&mut self) -> io::Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub fn long(&mut self) -> io::Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub fn flag(&mut self) -> io::Result<bool> {
        self.fixed().map(|[byte]| byte != 0)
    }

    pub fn text(&mut self) -> io::Result<&'a str> {
        Ok(self.optional_text()?.unwrap_or_default())
    }

    /// A text; `None` for NULL.
    pub fn optional_text(&mut self) -> io::Result<Option<&'a str>> {
        self.next()?.map(std::str::from_utf8).transpose().map_err(|_| misshapen())
    }

    fn agency(&mut self) -> io::Result<AgencyId> {
        self.int().map(|number| AgencyId(number.cast_unsigned()))
    }

    fn count(&mut self) -> io::Result<u64> {
        self.long()?.try_into().map_err(|_| misshapen())
    }

    /// A row of `loteria.agencies`.
    pub fn known(mut self) -> io::Result<Known> {
        let (agency, batches, bets) = (self.agency()?, self.count()?, self.count()?);
        let standing = match self.text()? {
            "betting" => Standing::Betting,
            "finished" => Standing::Finished,
            "excluded" => Standing::Excluded,
            _ => return Err(misshapen()),
        };
        Ok(Known { agency, standing, batches, bets })
    }

    /// A row of `compare`.
    pub fn stored(mut self) -> io::Result<Stored> {
        let (agency, sequence) = (self.agency()?, self.count()?);
        Ok(Stored { agency, sequence, bets: self.int()?.cast_unsigned(), checksum: self.int()?.cast_unsigned() })
    }

    /// A row of `winners`: the winners of one batch.
    pub fn winners(mut self) -> io::Result<(AgencyId, Vec<Bet>)> {
        let agency = self.agency()?;
        let bets = parse_rows(self.next()?.unwrap_or_default());
        bets.map(|bets| (agency, bets)).ok_or_else(misshapen)
    }
}

/// The bets of rows; `None` if the hub does not write such rows.
pub(super) fn parse_rows(rows: &[u8]) -> Option<Vec<Bet>> {
    rows.split_inclusive(|byte| *byte == b'\n').map(|row| parse_row(row).map(|(_, bet)| bet)).collect()
}

fn misshapen() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "PostgreSQL has answered with other columns than were asked for")
}

/// A batch as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub agency: AgencyId,
    pub sequence: u64,
    pub bets: u32,
    pub checksum: u32,
}

/// An error or a notice of the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    pub severity: String,
    /// SQLSTATE: five letters and digits.
    pub code: String,
    pub message: String,
    pub constraint: String,
    /// The function of the engine's source that reports it; unlike the message, it is not translated.
    pub routine: String,
}

impl ServerError {
    /// # Errors
    /// Fields that cannot be read.
    pub fn read(mut fields: ErrorFields<'_>) -> io::Result<ServerError> {
        let mut read = ServerError::default();
        while let Some(field) = fields.next()? {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                // The severity that is not translated.
                b'V' => read.severity = text(),
                b'C' => read.code = text(),
                b'M' => read.message = text(),
                b'n' => read.constraint = text(),
                b'R' => read.routine = text(),
                _ => {}
            }
        }
        Ok(read)
    }

    /// Whether nothing follows it.
    pub fn ends_the_connection(&self) -> bool {
        self.severity == "FATAL" || self.severity == "PANIC"
    }

    /// Whether a commit that it came with may be on one node alone: it is a warning, as of a wait for standbys that was cut
    /// short (`SyncRepWaitForLSN`, SQLSTATE 01000 like any other). Those that ask for a vacuum say nothing of the commit: they
    /// come with each new transaction number once few are left.
    pub fn is_doubt(&self) -> bool {
        self.severity == "WARNING" && !matches!(self.routine.as_str(), "GetNewTransactionId" | "GetNewMultiXactId")
    }

    /// Whether the statement has waited for a lock for `lock_timeout`. Another session may hold it for ever.
    pub fn is_locked_out(&self) -> bool {
        self.code == "55P03"
    }

    /// What a failed turn means.
    pub fn kind(&self) -> ErrorKind {
        match self.code.as_str() {
            "23514" if self.constraint == "turn_is_whole" => ErrorKind::Moved,
            "40001" | "40P01" | "55P03" => ErrorKind::Again,
            "53100" | "53200" | "53400" => ErrorKind::Full,
            "25006" | "57P01" | "57P02" | "57P03" => ErrorKind::NoLeader,
            _ if self.ends_the_connection() => ErrorKind::NoLeader,
            _ => ErrorKind::Person,
        }
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgreSQL says: {} ({})", self.message, self.code)?;
        if self.is_locked_out() {
            f.write_str(": another session holds a lock: pg_stat_activity and pg_blocking_pids() there say which")?;
        }
        Ok(())
    }
}

/// What an error means for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// Another instance has stored what the turn did not expect.
    Moved,
    /// It is to be sent again: a serialization failure, a deadlock, a lock that took too long.
    Again,
    /// There is no space.
    Full,
    /// This is no leader any more, or the connection ends.
    NoLeader,
    /// Nothing that waiting mends by itself.
    Person,
}

/// How many rows a statement has changed, from its tag: `UPDATE 1`.
pub(super) fn rows_changed(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(bytes: &[u8]) -> Vec<u8> {
        [&i32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    #[test]
    fn rows_of_agencies_and_of_batches() {
        let row = [column(&3i32.to_be_bytes()), column(&5i64.to_be_bytes()), column(&70i64.to_be_bytes())].concat();
        let finished = [row.clone(), column(b"finished")].concat();
        let known = Columns(&finished).known().unwrap();
        assert_eq!((known.agency, known.batches, known.bets, known.standing), (AgencyId(3), 5, 70, Standing::Finished));
        for wrong in [row.clone(), [row.clone(), column(b"gone")].concat(), finished[..20].to_vec()] {
            assert!(Columns(&wrong).known().is_err());
        }
        let (agency, sequence) = (column(&3i32.to_be_bytes()), column(&5i64.to_be_bytes()));
        let row = [agency, sequence, column(&2i32.to_be_bytes()), column(&(-1i32).to_be_bytes())].concat();
        let stored = Stored { agency: AgencyId(3), sequence: 5, bets: 2, checksum: u32::MAX };
        assert_eq!(Columns(&row).stored().unwrap(), stored);
    }

    #[test]
    fn errors_mean_what_the_table_says() {
        let error = |code: &str, constraint: &str, severity: &str| {
            let (code, constraint, severity) = (code.to_owned(), constraint.to_owned(), severity.to_owned());
            ServerError { code, constraint, severity, ..ServerError::default() }.kind()
        };
        assert_eq!(error("23514", "turn_is_whole", "ERROR"), ErrorKind::Moved);
        assert_eq!(error("23514", "batches_bets_check", "ERROR"), ErrorKind::Person);
        assert_eq!(error("40P01", "", "ERROR"), ErrorKind::Again);
        assert_eq!(error("53100", "", "ERROR"), ErrorKind::Full);
        assert_eq!(error("57P01", "", "FATAL"), ErrorKind::NoLeader);
        assert_eq!(error("25P03", "", "FATAL"), ErrorKind::NoLeader);
        assert_eq!(error("42501", "", "ERROR"), ErrorKind::Person);
        assert_eq!((rows_changed("UPDATE 1"), rows_changed("SELECT")), (Some(1), None));
    }
}
