//! The bet reader: reads an agency's bets one after another, any number of times.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use csv::{ByteRecord, Position, Reader, ReaderBuilder};

use super::input::Input;
use super::lines::{Lines, READ_AHEAD_BYTES, ROW_BYTES_MAX};
use crate::lottery::{Bet, BetError, RawBet, parse_number, parse_yyyymmdd};

/// The fields of a row: first name, last name, document, birthdate, number.
const FIELDS: usize = 5;
/// The CSV reader's buffer in bytes: a line of any valid bet fits.
const LINE_BYTES: usize = 2048;

/// A source of an agency's bets. Every pass yields the same bets in the same order.
pub trait BetReader {
    /// Whether the next [`advance`](Self::advance) does not wait for more bets, as that of a pipe does.
    fn is_ready(&mut self) -> bool {
        true
    }

    /// Advances to the next bet; false at the end.
    ///
    /// # Errors
    /// An invalid bet, or a source that cannot be read.
    fn advance(&mut self) -> Result<bool, BetReaderError>;

    /// The current bet, which is valid; `None` before the first and after the last.
    fn current(&self) -> Option<RawBet<'_>>;

    /// The line of the current bet, from 1; its last line if it has several.
    fn line(&self) -> u64;

    /// How much of [`extent`](Self::extent) has been read, in its unit.
    fn position(&self) -> u64;

    /// The size of the source, in bytes or another unit; 0 if it is not known.
    fn extent(&self) -> u64;

    /// The name of the source, for messages.
    fn name(&self) -> &str;

    /// Returns to the start.
    ///
    /// # Errors
    /// A source that cannot be read again.
    fn rewind(&mut self) -> Result<(), BetReaderError>;
}

/// Bets that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}{}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct BetReaderError {
    /// The file.
    pub source_name: String,
    /// The line of the error, from 1, if it is in one line.
    pub line: Option<u64>,
    /// The reason.
    pub reason: String,
}

/// A row that is no bet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its line, from 1; its last one if it has several.
    pub line: u64,
    /// The rules that its fields break; none if the row as a whole is wrong.
    pub broken: Vec<BetError>,
    /// All reasons.
    pub reason: String,
}

/// What is at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A bet.
    Bet,
    /// A row that is no bet. The rows after it can be read.
    Bad(BadRow),
    /// The end of the file.
    End,
}

/// The bets of an agency's file: CSV without a header, lines ended by LF or CRLF, read as a stream.
#[derive(Debug)]
pub struct BetFile {
    name: String,
    reader: Reader<Lines<Input>>,
    row: ByteRecord,
    has_row: bool,
    extent: u64,
    /// Whether the file can be read from the start again: a pipe cannot.
    rewinds: bool,
}

impl BetFile {
    /// Opens `path`.
    ///
    /// # Errors
    /// A file that cannot be opened, or is a directory.
    pub fn open(path: &Path) -> Result<BetFile, BetReaderError> {
        BetFile::open_until(path, Arc::default())
    }

    /// As [`open`](Self::open), for a `path` that may be a pipe: once `stop` is true, no wait for its other end goes on.
    ///
    /// # Errors
    /// As [`open`](Self::open); those of a wait that `stop` has ended.
    pub fn open_until(path: &Path, stop: Arc<AtomicBool>) -> Result<BetFile, BetReaderError> {
        let name = path.display().to_string();
        let failed =
            |error: io::Error| BetReaderError { source_name: name.clone(), line: None, reason: error.to_string() };
        let (file, metadata) = Input::open(path, READ_AHEAD_BYTES, stop).map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(LINE_BYTES)
            .from_reader(Lines::new(file));
        Ok(BetFile {
            name,
            reader,
            row: ByteRecord::new(),
            has_row: false,
            extent: metadata.len(),
            rewinds: metadata.is_file(),
        })
    }

    /// Whether the file can be read more than once.
    pub fn rewinds(&self) -> bool {
        self.rewinds
    }

    /// The descriptor that becomes readable with more bets; `None` of a file, which has all of them.
    pub fn awaited(&self) -> Option<RawFd> {
        self.reader.get_ref().inner.awaited()
    }

    /// The fields of the current row, which may be a bad one.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.row.iter()
    }

    /// Reads the next row, whether it is a bet or not.
    ///
    /// # Errors
    /// A file that cannot be read on, or a row without an end.
    pub fn next_row(&mut self) -> Result<Row, BetReaderError> {
        let previous = self.line();
        self.reader.get_mut().ration = ROW_BYTES_MAX;
        self.has_row = match self.reader.read_byte_record(&mut self.row) {
            Ok(more) => more,
            Err(error) => {
                self.has_row = false;
                // The crate's message has a prefix before that of the system.
                let reason =
                    if let csv::ErrorKind::Io(error) = error.kind() { error.to_string() } else { error.to_string() };
                return Err(BetReaderError { source_name: self.name.clone(), line: Some(previous + 1), reason });
            }
        };
        let Some(bet) = self.current() else { return Ok(Row::End) };
        let line = self.line();
        if self.row.len() != FIELDS {
            let reason = match self.row.len() {
                1 => format!("1 field, where a bet has {FIELDS}"),
                fields => format!("{fields} fields, where a bet has {FIELDS}"),
            };
            return Ok(Row::Bad(BadRow { line, broken: Vec::new(), reason }));
        }
        if Bet::check(&bet).is_ok() {
            return Ok(Row::Bet);
        }
        let broken: Vec<BetError> = Bet::broken_rules(&bet).collect();
        let reason = broken.iter().map(BetError::to_string).collect::<Vec<_>>().join("; ");
        Ok(Row::Bad(BadRow { line, broken, reason }))
    }
}

/// The index of the field that a rule is about.
pub(super) fn field_of(error: BetError) -> Option<usize> {
    match error {
        BetError::FirstName => Some(0),
        BetError::LastName => Some(1),
        BetError::Document => Some(2),
        BetError::Birthdate => Some(3),
        BetError::Number => Some(4),
        BetError::Agency | BetError::Fields | BetError::MixedAgencies => None,
    }
}

impl BetReader for BetFile {
    fn is_ready(&mut self) -> bool {
        self.reader.get_mut().inner.has_line()
    }

    fn advance(&mut self) -> Result<bool, BetReaderError> {
        match self.next_row()? {
            Row::Bet => Ok(true),
            Row::End => Ok(false),
            Row::Bad(BadRow { line, reason, .. }) => {
                Err(BetReaderError { source_name: self.name.clone(), line: Some(line), reason })
            }
        }
    }

    fn current(&self) -> Option<RawBet<'_>> {
        let field = |index| self.row.get(index).unwrap_or_default();
        self.has_row.then(|| RawBet {
            first_name: field(0).into(),
            last_name: field(1).into(),
            document: field(2).into(),
            birthdate: parse_yyyymmdd(field(3)),
            number: parse_number(field(4)),
        })
    }

    fn line(&self) -> u64 {
        self.reader.get_ref().line
    }

    fn position(&self) -> u64 {
        self.reader.position().byte() + self.reader.get_ref().passed_over
    }

    fn extent(&self) -> u64 {
        self.extent
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn rewind(&mut self) -> Result<(), BetReaderError> {
        self.has_row = false;
        self.reader.seek(Position::new()).map_err(|error| BetReaderError {
            source_name: self.name.clone(),
            line: None,
            reason: format!("cannot be read from the start again: {error}"),
        })
    }
}

/// Bets in memory.
#[derive(Clone, Debug, Default)]
pub struct BetList {
    bets: Vec<Bet>,
    /// How many bets have been read; the last of them is the current one.
    taken: usize,
}

impl BetList {
    /// A source of these bets, in this order.
    pub fn new(bets: Vec<Bet>) -> BetList {
        BetList { bets, taken: 0 }
    }
}

impl BetReader for BetList {
    fn advance(&mut self) -> Result<bool, BetReaderError> {
        self.taken = self.bets.len().saturating_add(1).min(self.taken + 1);
        Ok(self.taken <= self.bets.len())
    }

    fn current(&self) -> Option<RawBet<'_>> {
        self.bets.get(self.taken.checked_sub(1)?).map(Bet::as_raw)
    }

    fn line(&self) -> u64 {
        self.taken as u64
    }

    fn position(&self) -> u64 {
        self.taken.min(self.bets.len()) as u64
    }

    fn extent(&self) -> u64 {
        self.bets.len() as u64
    }

    fn name(&self) -> &str {
        "the bet"
    }

    fn rewind(&mut self) -> Result<(), BetReaderError> {
        self.taken = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::NamedTempFile, BetFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let bets = BetFile::open(file.path()).unwrap();
        (file, bets)
    }

    /// The first names up to the end.
    fn first_names(bets: &mut BetFile) -> Vec<String> {
        let mut names = Vec::new();
        while bets.advance() == Ok(true) {
            names.push(String::from_utf8(bets.current().unwrap().first_name.bytes().to_vec()).unwrap());
        }
        names
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name() {
        let row = ",Paz,11,2000-01-02,3\r\n";
        // The second is two concatenated files, each with its own mark.
        for content in [
            format!("\u{feff}Ana{row}\"Ana\"{row}"),
            format!("\u{feff}\"Ana\"{row}\u{feff}Ana{row}"),
            format!("\r\n\u{feff}\"Ana\"{row}\u{feff}\r\nAna{row}\u{feff}"),
            format!("\u{feff}\u{feff}\"Ana\"{row}\u{feff}\u{feff}\u{feff}Ana{row}\u{feff}\u{feff}"),
        ] {
            let (_keep, mut bets) = file(content.as_bytes());
            for _ in 0..2 {
                assert_eq!(first_names(&mut bets), ["Ana", "Ana"], "{content:?}");
                assert_eq!((bets.position(), bets.extent()), (content.len() as u64, content.len() as u64));
                bets.rewind().unwrap();
            }
        }
    }

    #[test]
    fn a_name_that_begins_as_a_byte_order_mark_does_is_whole() {
        // U+FEFE and U+FB01 have its first byte, U+FEC0 its first two; the padding puts them at the read-ahead's end.
        for name in ["\u{fefe}na", "\u{fb01}na", "\u{fec0}na"] {
            for (place, mark) in
                (READ_AHEAD_BYTES - 4..READ_AHEAD_BYTES).flat_map(|place| [(place, ""), (place, "\u{feff}")])
            {
                let row = "Ana,Paz,11,2000-01-02,3\n";
                let before = row.repeat(place / row.len()) + &"\n".repeat(place % row.len());
                let (_keep, mut bets) = file(format!("{before}{mark}{name},Paz,11,2000-01-02,3\n").as_bytes());
                assert_eq!(first_names(&mut bets).last().unwrap(), name, "at {place}");
            }
        }
    }

    /// The documents and lines up to the end or the first error.
    fn read(bets: &mut BetFile) -> (Vec<(String, u64)>, Option<BetReaderError>) {
        let mut rows = Vec::new();
        loop {
            match bets.advance() {
                Ok(true) => {
                    let document = bets.current().unwrap().document.bytes().to_vec();
                    rows.push((String::from_utf8(document).unwrap(), bets.line()));
                }
                Ok(false) => return (rows, None),
                Err(error) => return (rows, Some(error)),
            }
        }
    }

    #[test]
    fn lf_crlf_quotes_a_missing_last_line_end_and_a_byte_order_mark_read_alike() {
        for content in [
            "Ana,Paz,11,2000-01-02,3\nLuz,Sol,12,2000-01-02,3\n",
            "Ana,Paz,11,2000-01-02,3\r\nLuz,Sol,12,2000-01-02,3\r\n",
            "Ana,Paz,11,2000-01-02,3\nLuz,Sol,12,2000-01-02,3",
            "\u{feff}\"Ana\",\"Paz\",11,2000-01-02,3\r\n\"Luz, \"\"la\"\"\",Sol,12,2000-01-02,3\r\n",
        ] {
            let (_keep, mut bets) = file(content.as_bytes());
            let expected = [("11".to_owned(), 1), ("12".to_owned(), 2)];
            assert_eq!(read(&mut bets), (expected.to_vec(), None), "{content}");
            assert_eq!((bets.position(), bets.extent()), (content.len() as u64, content.len() as u64));
            assert!(bets.current().is_none());
            bets.rewind().unwrap();
            assert_eq!(read(&mut bets), (expected.to_vec(), None), "{content} again");
        }
    }

    #[test]
    fn empty_lines_are_passed_over_and_counted() {
        let (_keep, mut bets) = file(b"\nAna,Paz,11,2000-01-02,3\r\n\r\n\n\nLuz,Sol,12,2000-01-02,3\n\nbad\n");
        let (rows, error) = read(&mut bets);
        assert_eq!(rows, [("11".to_owned(), 2), ("12".to_owned(), 6)]);
        assert_eq!(error.unwrap().line, Some(8));
    }

    #[test]
    fn an_empty_file_has_no_bets() {
        let (_keep, mut bets) = file(b"");
        assert_eq!(read(&mut bets), (Vec::new(), None));
        assert_eq!(bets.advance(), Ok(false));
    }

    #[test]
    fn a_bad_row_is_named_by_file_line_and_reason() {
        let good = "Ana,Paz,11,2000-01-02,3\r\n";
        for (row, reason) in [
            ("Ana,Paz,11,2000-01-02", "4 fields, where a bet has 5"),
            ("Ana,Paz,11,2000-01-02,3,", "6 fields, where a bet has 5"),
            (",Paz,11,2000-01-02,3", "first name must be"),
            ("Ana,=Paz,11,2000-01-02,3", "last name must be"),
            ("Ana,\"P\naz\",11,2000-01-02,3", "last name must be"),
            ("Ana,Paz,1x,2000-01-02,3", "document must be"),
            ("Ana,Paz,11,2001-02-29,3", "birthdate must be"),
            ("Ana,Paz,11,2000-01-02,-3", "number must be"),
            ("Ana,Paz,11,01/02/2000,-3", "birthdate must be a real date YYYY-MM-DD, 1900 to 9999; number must be"),
        ] {
            let (keep, mut bets) = file(format!("{good}{good}{row}\r\n{good}").as_bytes());
            let (rows, error) = read(&mut bets);
            let error = error.unwrap();
            // A row of several lines is reported by its last line.
            let line = if row.contains('\n') { 4 } else { 3 };
            assert_eq!((rows.len(), error.line), (2, Some(line)), "{row}");
            let said = error.to_string();
            assert!(said.starts_with(&format!("{}, line {line}: {reason}", keep.path().display())), "{said}");
        }
    }

    #[test]
    fn a_name_that_is_no_utf8_is_a_bad_row() {
        let (_keep, mut bets) = file(b"Ana,P\xffz,11,2000-01-02,3\n");
        assert!(read(&mut bets).1.unwrap().reason.starts_with("last name"));
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_read_the_whole_file_into_memory() {
        let row = "Ana,Paz,11,2000-01-02,3\n";
        let content = format!("{row}\"{}", row.repeat(100_000));
        let (_keep, mut bets) = file(content.as_bytes());
        let (rows, error) = read(&mut bets);
        let error = error.unwrap();
        assert_eq!((rows.len(), error.line), (1, Some(2)));
        assert!(error.reason.contains("quote that is never closed"), "{error}");
        assert!(bets.position() < 3 * ROW_BYTES_MAX, "{}", bets.position());
    }

    #[test]
    fn a_directory_is_no_file_of_bets() {
        let dir = tempfile::tempdir().unwrap();
        assert!(BetFile::open(dir.path()).is_err());
        assert!(BetFile::open(&dir.path().join("absent.csv")).is_err());
    }

    #[test]
    fn a_list_goes_through_its_bets_again() {
        let bet = |document: &str| Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"2000-01-02", b"3").unwrap();
        let mut list = BetList::new(vec![bet("1"), bet("2")]);
        for _ in 0..2 {
            assert!(list.current().is_none());
            for document in ["1", "2"] {
                assert_eq!(list.advance(), Ok(true));
                assert_eq!(list.current().unwrap().document.bytes(), document.as_bytes());
            }
            assert_eq!((list.advance(), list.advance()), (Ok(false), Ok(false)));
            assert!(list.current().is_none());
            list.rewind().unwrap();
        }
    }
}
