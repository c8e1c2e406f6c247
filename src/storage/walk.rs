//! Reading the journal from its start: which groups are whole, and what they add up to. Nothing is written here.

use super::files::disk::{File, ReadAt};
use super::files::stream::Stream;
use super::format::record::{Kind, RECORD_BYTES, RECORDS_START, Record, record_offset};
use super::format::row::parse::{Winners, count_rows};
use super::mutant::Mutant;
use super::state::{Batches, Tip};
use crate::lottery::{Agency, AgencyId, Standing, parse_number};
use std::collections::BTreeMap;
use std::io;

/// What a look at every slot shows.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The highest group that any valid record is of; 0 if there is none.
    pub highest_group: u64,
    /// The group and the winning number of the first draw.
    pub draw: Option<(u64, u32)>,
    /// Offset in the journal behind the last byte that is not zero.
    pub nonzero_end: u64,
    /// The journal's length in bytes.
    pub journal_bytes: u64,
}

/// Looks at every slot of a journal of `journal_bytes` bytes.
pub(super) fn scan(disk: &mut impl ReadAt, seed: u32, journal_bytes: u64) -> io::Result<Scan> {
    let mut found = Scan { nonzero_end: RECORDS_START, journal_bytes, ..Scan::default() };
    let mut journal = Stream::new(File::Journal, RECORDS_START.min(journal_bytes), journal_bytes);
    for slot in 0.. {
        let bytes = journal.take(disk, RECORD_BYTES as u64)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().all(|&byte| byte == 0) {
            continue;
        }
        found.nonzero_end = record_offset(slot) + bytes.len() as u64;
        let Some((record, _)) = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, slot, seed)) else {
            continue;
        };
        found.highest_group = found.highest_group.max(record.group);
        if record.kind == Kind::Draw {
            found.draw.get_or_insert((record.group, record.count));
        }
    }
    Ok(found)
}

/// What the journal says, up to the last whole group.
#[derive(Debug)]
pub(super) struct Books {
    pub tip: Tip,
    /// Where the data ended before the last group.
    pub before_last: Tip,
    pub agencies: BTreeMap<AgencyId, Known>,
    /// The winning number of the draw.
    pub drawn: Option<u32>,
}

/// What the journal says of one agency.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub agency: Agency,
    pub batches: Batches,
}

/// Why a walk stopped.
#[derive(Debug)]
pub(super) enum WalkError {
    /// Something in `group` is not as it was written.
    Bad { group: u64, file: File, offset: u64, what: String },
    /// The disk could not be read.
    Io { file: File, error: io::Error },
}

/// What a walk goes over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// What the records' checksums start from.
    pub seed: u32,
    /// Bets on it are kept.
    pub winning_number: u32,
    /// Lengths of the files.
    pub journal_bytes: u64,
    pub rows_bytes: u64,
    /// Where to stop.
    pub last_group: u64,
    pub mutant: Mutant,
}

/// Adds up the journal from its first record to the end of the route's last group, and checks it and the rows.
pub(super) fn walk(disk: &mut impl ReadAt, route: Route) -> Result<Books, WalkError> {
    let start = Tip::start(route.seed);
    let books = Books { tip: start, before_last: start, agencies: BTreeMap::new(), drawn: None };
    let winners = Winners::on(route.winning_number);
    let rows = Stream::new(File::Rows, 0, route.rows_bytes);
    let mut journal = Stream::new(File::Journal, RECORDS_START, route.journal_bytes);
    let mut walker = Walker { disk, route, books, winners, rows, in_group: false };
    while walker.books.tip.group < route.last_group || walker.in_group {
        match walker.step(&mut journal) {
            Ok(()) => {}
            Err(WalkError::Bad { group, .. }) if route.mutant.is(Mutant::PartialGroup) && group == route.last_group => {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(walker.books)
}

struct Walker<'d, D> {
    disk: &'d mut D,
    route: Route,
    books: Books,
    winners: Winners,
    rows: Stream,
    /// The group of the last record goes on.
    in_group: bool,
}

impl<D: ReadAt> Walker<'_, D> {
    /// Takes in the next record and its rows.
    fn step(&mut self, journal: &mut Stream) -> Result<(), WalkError> {
        let tip = self.books.tip;
        let bytes = journal.take(self.disk, RECORD_BYTES as u64);
        let bytes = bytes.map_err(|error| WalkError::Io { file: File::Journal, error })?;
        let record = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, tip.slots, self.route.seed));
        let Some((record, crc)) = record else {
            return Err(self.bad_record("there is no valid record here"));
        };
        if record.previous_crc != tip.crc || record.group != self.group() || record.rows_offset != tip.rows_bytes {
            return Err(self.bad_record("the record does not follow the one before it"));
        }
        match record.kind {
            Kind::Batch => self.batch(&record)?,
            Kind::Adopted => self.adopted(&record)?,
            Kind::Finish => self.agency(&record).standing = Standing::Finished,
            Kind::Exclusion => self.agency(&record).standing = Standing::Excluded,
            Kind::Draw => self.books.drawn = Some(record.count),
            Kind::Seal => {}
        }
        if !self.in_group {
            self.books.before_last = tip;
        }
        self.in_group = !record.last_of_group;
        self.books.tip = Tip {
            slots: tip.slots + 1,
            group: record.group,
            rows_bytes: tip.rows_bytes + u64::from(record.rows_bytes),
            crc,
            sealed: record.kind == Kind::Seal,
        };
        Ok(())
    }

    /// The group that the next record must be of.
    fn group(&self) -> u64 {
        self.books.tip.group + u64::from(!self.in_group)
    }

    fn agency(&mut self, record: &Record) -> &mut Agency {
        &mut self.books.agencies.entry(AgencyId(record.agency)).or_default().agency
    }

    fn batch(&mut self, record: &Record) -> Result<(), WalkError> {
        let known = self.books.agencies.entry(AgencyId(record.agency)).or_default();
        if record.sequence != known.batches.committed {
            return Err(self.bad_record("the record is not of the agency's next batch"));
        }
        known.batches.index.note(record.sequence, record.slot);
        known.batches.committed += 1;
        known.agency.batches += 1;
        known.agency.bets += u64::from(record.count);
        self.checked_rows(record, |_, _| Some(()))
    }

    fn adopted(&mut self, record: &Record) -> Result<(), WalkError> {
        self.checked_rows(record, |agencies, rows| {
            for row in rows.split_inclusive(|&byte| byte == b'\n') {
                let agency = parse_number(&row[..memchr::memchr(b',', row)?])?;
                agencies.entry(AgencyId(agency)).or_default().agency.bets += 1;
            }
            Some(())
        })
    }

    /// Checks a record's rows, gives them to `take` and keeps the winners among them.
    fn checked_rows(
        &mut self,
        record: &Record,
        take: impl Fn(&mut BTreeMap<AgencyId, Known>, &[u8]) -> Option<()>,
    ) -> Result<(), WalkError> {
        let (group, tip) = (self.group(), self.books.tip);
        let bad = |offset, what: String| WalkError::Bad { group, file: File::Rows, offset, what };
        let rows = self.rows.take(self.disk, u64::from(record.rows_bytes));
        let rows = rows.map_err(|error| WalkError::Io { file: File::Rows, error })?;
        let (start, end) = (tip.rows_bytes, tip.rows_bytes + u64::from(record.rows_bytes));
        if !self.route.mutant.is(Mutant::SkipChecksum) {
            if rows.is_empty() && start == 0 && end > 0 {
                return Err(bad(0, "the file is empty or gone, and should have bets; put it back".to_owned()));
            }
            if (rows.len() as u64) < end - start {
                return Err(bad(start + rows.len() as u64, format!("the file ends before byte {end}")));
            }
            if crc32c::crc32c(rows) != record.rows_crc || count_rows(rows) != record.count as usize {
                let of = format!("batch {} of agency {}", record.sequence, record.agency);
                return Err(bad(start, format!("the rows up to byte {end} are not those stored as {of}")));
            }
        }
        take(&mut self.books.agencies, rows).ok_or_else(|| bad(start, "a row cannot be read".to_owned()))?;
        for winner in self.winners.find(rows) {
            let (agency, bet) = winner.map_err(|at| bad(start + at as u64, "the row cannot be read".to_owned()))?;
            self.books.agencies.entry(agency).or_default().agency.winners.push(bet);
        }
        Ok(())
    }

    fn bad_record(&self, what: &str) -> WalkError {
        let offset = record_offset(self.books.tip.slots);
        WalkError::Bad { group: self.group(), file: File::Journal, offset, what: what.to_owned() }
    }
}
