//! The replay: the records are read from the first one on, checked together with their rows, and summed up. Nothing is
//! written.

use std::collections::BTreeMap;
use std::io;

use super::redo::LogContents;
use super::scan::Scan;
use crate::lottery::{Agency, AgencyId, Standing, parse_number};
use crate::mutants::{self, Mutant};
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File, ReadAt};
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{Kind, RECORD_BYTES, RECORDS_START, Record, record_offset};
use crate::storage::format::row::parse::{Winners, count_rows};
use crate::storage::state::{Batches, Store, Tip};

/// What the records say, up to the last replayed group.
#[derive(Debug)]
pub(super) struct ReplayState {
    pub tip: Tip,
    /// Where the data ended before the last group.
    pub before_last: Tip,
    pub agencies: BTreeMap<AgencyId, ReplayedAgency>,
    /// The winning number of the draw.
    pub drawn: Option<u32>,
}

/// What the records say of one agency.
#[derive(Debug, Default)]
pub(super) struct ReplayedAgency {
    pub agency: Agency,
    pub batches: Batches,
}

/// Replays the journal up to its last whole group. A defect in the highest group is a turn that was never acknowledged:
/// the replay is repeated without that group. Any other defect is damage.
pub(super) fn replay_whole_groups<D: Disk>(
    store: &mut Store<D>,
    log: &LogContents,
    scan: &Scan,
    rows_bytes: u64,
) -> Result<ReplayState, OpenError> {
    let mut last_group = scan.highest_group;
    loop {
        let draw = scan.draw.filter(|(group, _)| *group <= last_group);
        let winning_number = draw.map_or(store.options.winning_number, |(_, number)| number);
        let (seed, journal_bytes) = (store.journal.seed, scan.journal_bytes);
        let options = ReplayOptions { seed, winning_number, journal_bytes, rows_bytes, last_group };
        match replay(&mut log.overlay(&mut store.disk), options) {
            Ok(state) if state.drawn != draw.map(|(_, number)| number) => {
                // The winners of the replay are those of the first draw's number.
                let what = "there is more than one record of a draw, and they differ".to_owned();
                return Err(store.damaged(File::Journal, RECORDS_START, what));
            }
            Ok(state) => return Ok(state),
            Err(ReplayError::Defect { group, .. }) if group == scan.highest_group && last_group == group => {
                last_group -= 1;
            }
            Err(ReplayError::Defect { file, offset, what, .. }) => return Err(store.damaged(file, offset, what)),
            Err(ReplayError::Io { file, error }) => return Err(store.failed_to("read", file, error)),
        }
    }
}

/// Why a replay stopped.
#[derive(Debug)]
enum ReplayError {
    /// Bytes of `group` are not what was written.
    Defect { group: u64, file: File, offset: u64, what: String },
    /// The disk could not be read.
    Io { file: File, error: io::Error },
}

/// What is replayed.
#[derive(Clone, Copy, Debug)]
struct ReplayOptions {
    /// What the records' checksums start from.
    seed: u32,
    /// Bets on it are kept.
    winning_number: u32,
    /// Length of the journal.
    journal_bytes: u64,
    /// Length of the rows.
    rows_bytes: u64,
    /// The group after which the replay stops.
    last_group: u64,
}

fn replay(disk: &mut impl ReadAt, options: ReplayOptions) -> Result<ReplayState, ReplayError> {
    let start = Tip::start(options.seed);
    let state = ReplayState { tip: start, before_last: start, agencies: BTreeMap::new(), drawn: None };
    let winners = Winners::on(options.winning_number);
    let rows = Stream::new(File::Rows, 0, options.rows_bytes);
    let mut journal = Stream::new(File::Journal, RECORDS_START, options.journal_bytes);
    let mut replay = Replay { disk, options, state, winners, rows, in_group: false };
    while replay.state.tip.group < options.last_group || replay.in_group {
        match replay.step(&mut journal) {
            Ok(()) => {}
            Err(ReplayError::Defect { group, .. })
                if mutants::is(Mutant::PartialGroup) && group == options.last_group =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(replay.state)
}

struct Replay<'d, D> {
    disk: &'d mut D,
    options: ReplayOptions,
    state: ReplayState,
    winners: Winners,
    rows: Stream,
    /// The last record was not the last one of its group.
    in_group: bool,
}

impl<D: ReadAt> Replay<'_, D> {
    /// Replays the next record and its rows.
    fn step(&mut self, journal: &mut Stream) -> Result<(), ReplayError> {
        let tip = self.state.tip;
        let bytes = journal.take(self.disk, RECORD_BYTES as u64);
        let bytes = bytes.map_err(|error| ReplayError::Io { file: File::Journal, error })?;
        let record = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, tip.slots, self.options.seed));
        let Some((record, crc)) = record else {
            return Err(self.bad_record("there is no valid record here"));
        };
        if !tip.is_followed_by(&record, self.in_group) {
            return Err(self.bad_record("the record does not follow the one before it"));
        }
        match record.kind {
            Kind::Batch => self.batch(&record)?,
            Kind::Adopted => self.adopted(&record)?,
            Kind::Finish => self.agency(&record).standing = Standing::Finished,
            Kind::Exclusion => self.agency(&record).standing = Standing::Excluded,
            Kind::Draw => self.state.drawn = Some(record.count),
            Kind::Seal => {}
        }
        if !self.in_group {
            self.state.before_last = tip;
        }
        self.in_group = !record.last_of_group;
        self.state.tip = tip.after(&record, crc);
        Ok(())
    }

    /// The group that the next record must have.
    fn group(&self) -> u64 {
        self.state.tip.group + u64::from(!self.in_group)
    }

    fn agency(&mut self, record: &Record) -> &mut Agency {
        &mut self.state.agencies.entry(AgencyId(record.agency)).or_default().agency
    }

    fn batch(&mut self, record: &Record) -> Result<(), ReplayError> {
        let replayed = self.state.agencies.entry(AgencyId(record.agency)).or_default();
        if record.sequence != replayed.batches.committed {
            return Err(self.bad_record("the record is not of the agency's next batch"));
        }
        replayed.batches.index.note(record.sequence, record.slot);
        replayed.batches.committed += 1;
        replayed.agency.batches += 1;
        replayed.agency.bets += u64::from(record.count);
        self.checked_rows(record, |_, _| Some(()))
    }

    fn adopted(&mut self, record: &Record) -> Result<(), ReplayError> {
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
        take: impl Fn(&mut BTreeMap<AgencyId, ReplayedAgency>, &[u8]) -> Option<()>,
    ) -> Result<(), ReplayError> {
        let (group, tip) = (self.group(), self.state.tip);
        let bad = |offset, what: String| ReplayError::Defect { group, file: File::Rows, offset, what };
        let rows = self.rows.take(self.disk, u64::from(record.rows_bytes));
        let rows = rows.map_err(|error| ReplayError::Io { file: File::Rows, error })?;
        let (start, end) = (tip.rows_bytes, tip.rows_bytes + u64::from(record.rows_bytes));
        if !mutants::is(Mutant::SkipChecksum) {
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
        take(&mut self.state.agencies, rows).ok_or_else(|| bad(start, "a row cannot be read".to_owned()))?;
        for winner in self.winners.find(rows) {
            let (agency, bet) = winner.map_err(|at| bad(start + at as u64, "the row cannot be read".to_owned()))?;
            self.state.agencies.entry(agency).or_default().agency.winners.push(bet);
        }
        Ok(())
    }

    fn bad_record(&self, what: &str) -> ReplayError {
        let offset = record_offset(self.state.tip.slots);
        ReplayError::Defect { group: self.group(), file: File::Journal, offset, what: what.to_owned() }
    }
}
