//! Stored bets against the agencies' files, in order, in bounded memory.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::agency::{BetFile, BetReader, BetReaderError};
use crate::limits::{COMPARED_AHEAD, DIFFERENCES_SHOWN};
use crate::lottery::{AgencyId, Bet};
use crate::system;

/// What is open besides the agencies' files: the store's, standard input and output, a connection.
const FILES_BESIDES: u64 = 32;

/// How the stored bets of one agency differ from its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Bets that are the same on both sides.
    pub same: u64,
    /// Bets of the file that are not stored.
    pub missing: u64,
    /// Stored bets that the file does not have.
    pub extra: u64,
    /// Stored bets that stand where the file has another one.
    pub different: u64,
    /// The first of them in words, as many as are shown.
    pub shown: Vec<String>,
}

impl Differences {
    /// Whether there is none.
    pub fn none(&self) -> bool {
        (self.missing, self.extra, self.different) == (0, 0, 0)
    }

    fn show(&mut self, what: impl FnOnce() -> String) {
        if self.shown.len() < DIFFERENCES_SHOWN {
            self.shown.push(what());
        }
    }
}

/// A comparison that is given the stored bets one after another.
#[derive(Debug)]
pub struct Comparison {
    agencies: BTreeMap<AgencyId, Sides>,
    failed: Option<BetReaderError>,
}

impl Comparison {
    /// Compares with the files `agency-N.csv` in `folder`.
    ///
    /// # Errors
    /// The folder has no such file, or cannot be read; a file cannot be opened.
    pub fn with_files_of(folder: &Path) -> Result<Comparison, Failure> {
        let unusable = |why: String| Failure::Usage(format!("--against {}: {why}", folder.display()));
        let entries = std::fs::read_dir(folder).map_err(|error| unusable(error.to_string()))?;
        let mut paths = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|error| unusable(error.to_string()))?;
            if let Some(id) = entry.file_name().to_str().and_then(agency_of) {
                paths.insert(id, entry.path());
            }
        }
        if paths.is_empty() {
            return Err(unusable("there is no file agency-N.csv".to_owned()));
        }
        // They are open at once. Where there are fewer descriptors, a file that cannot be opened says so.
        system::allow_descriptors(paths.len() as u64 + FILES_BESIDES);
        let agencies = paths.into_iter().map(|(id, path)| Ok((id, Sides::with(Some(opened(&path)?)))));
        Ok(Comparison { agencies: agencies.collect::<Result<_, BetReaderError>>()?, failed: None })
    }

    /// The next stored bet of `agency`.
    pub fn stored(&mut self, agency: AgencyId, bet: &Bet) {
        if self.failed.is_none() {
            let sides = self.agencies.entry(agency).or_insert_with(|| Sides::with(None));
            self.failed = sides.stored(bet).err();
        }
    }

    /// There are no more stored bets: what each agency's differ in.
    ///
    /// # Errors
    /// A file could not be read, or has a row that is no bet.
    pub fn end(mut self) -> Result<Vec<(AgencyId, Differences)>, BetReaderError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for sides in self.agencies.values_mut() {
            sides.end()?;
        }
        Ok(self.agencies.into_iter().map(|(id, sides)| (id, sides.found)).collect())
    }
}

/// Opens an agency's file. To open a pipe would wait for its other end.
fn opened(path: &Path) -> Result<BetFile, BetReaderError> {
    if let Some(reason) = system::not_a_file(path) {
        let (source_name, reason) = (path.display().to_string(), reason.to_owned());
        return Err(BetReaderError { source_name, line: None, reason });
    }
    BetFile::open(path)
}

/// The agency of a file called `agency-N.csv`.
fn agency_of(name: &str) -> Option<AgencyId> {
    let id = name.strip_prefix("agency-")?.strip_suffix(".csv")?;
    let is_plain = !id.starts_with('0') && id.bytes().all(|byte| byte.is_ascii_digit());
    id.parse().ok().filter(|_| is_plain).map(AgencyId)
}

/// The bets of one agency that were read and are not compared yet, with their places from 1: bets, and lines.
#[derive(Debug)]
struct Sides {
    file: Option<BetFile>,
    /// At most [`COMPARED_AHEAD`].
    stored: VecDeque<(u64, Bet)>,
    /// As many.
    filed: VecDeque<(u64, Bet)>,
    stored_count: u64,
    found: Differences,
}

impl Sides {
    fn with(file: Option<BetFile>) -> Sides {
        let (stored, filed) = (VecDeque::new(), VecDeque::new());
        Sides { file, stored, filed, stored_count: 0, found: Differences::default() }
    }

    /// Reads from the file until `count` bets of it are there, or it ends.
    fn fill(&mut self, count: usize) -> Result<(), BetReaderError> {
        while self.filed.len() < count
            && let Some(file) = &mut self.file
        {
            if !file.advance()? {
                self.file = None;
            } else if let Some(Ok(bet)) = file.current().map(|bet| Bet::check(&bet)) {
                self.filed.push_back((file.line(), bet));
            }
        }
        Ok(())
    }

    fn stored(&mut self, bet: &Bet) -> Result<(), BetReaderError> {
        self.stored_count += 1;
        self.fill(1)?;
        if self.stored.is_empty() && self.filed.front().is_some_and(|(_, filed)| filed == bet) {
            self.filed.pop_front();
            self.found.same += 1;
            return Ok(());
        }
        self.stored.push_back((self.stored_count, bet.clone()));
        while self.stored.len() >= COMPARED_AHEAD {
            self.step()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BetReaderError> {
        while !self.stored.is_empty() {
            self.step()?;
        }
        loop {
            self.fill(1)?;
            if !self.take_missing() {
                return Ok(());
            }
        }
    }

    /// Compares the first stored bet. Where it is another one than the file's, the nearest place decides: a bet that
    /// comes later on the other side was left out on this one.
    fn step(&mut self) -> Result<(), BetReaderError> {
        self.fill(1)?;
        let (Some((_, stored)), Some((_, filed))) = (self.stored.front(), self.filed.front()) else {
            self.take_extra();
            return Ok(());
        };
        if stored == filed {
            self.stored.pop_front();
            self.filed.pop_front();
            self.found.same += 1;
            return Ok(());
        }
        self.fill(COMPARED_AHEAD)?;
        let (stored, filed) = (&self.stored, &self.filed);
        let at = |side: &VecDeque<(u64, Bet)>, other: &VecDeque<(u64, Bet)>| {
            let first = other.front().map(|(_, bet)| bet);
            side.iter().position(|(_, bet)| Some(bet) == first).unwrap_or(usize::MAX)
        };
        let (missing, extra) = (at(filed, stored), at(stored, filed));
        if missing == usize::MAX && extra == usize::MAX {
            self.take_different();
        } else if missing <= extra {
            (0..missing).for_each(|_| _ = self.take_missing());
        } else {
            (0..extra).for_each(|_| self.take_extra());
        }
        Ok(())
    }

    fn take_missing(&mut self) -> bool {
        let Some((line, bet)) = self.filed.pop_front() else { return false };
        self.found.missing += 1;
        self.found.show(|| format!("missing: line {line} of the file: {}", words(&bet)));
        true
    }

    fn take_extra(&mut self) {
        if let Some((place, bet)) = self.stored.pop_front() {
            self.found.extra += 1;
            self.found.show(|| format!("extra: stored bet {place}: {}", words(&bet)));
        }
    }

    fn take_different(&mut self) {
        if let (Some((place, stored)), Some((line, filed))) = (self.stored.pop_front(), self.filed.pop_front()) {
            self.found.different += 1;
            let told = || {
                format!("different: stored bet {place}: {}; line {line} of the file: {}", words(&stored), words(&filed))
            };
            self.found.show(told);
        }
    }
}

fn words(bet: &Bet) -> String {
    let (first, last, document) = (bet.first_name(), bet.last_name(), bet.document());
    format!("{first},{last},{document},{},{}", bet.birthdate(), bet.number())
}

/// The path of an agency's file, for messages.
pub(super) fn file_of(folder: &Path, id: AgencyId) -> PathBuf {
    folder.join(format!("agency-{id}.csv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agency_has_one_name_of_a_file() {
        assert_eq!(agency_of("agency-10.csv"), Some(AgencyId(10)));
        for name in ["agency-01.csv", "agency-+1.csv", "agency-0.csv", "agency-.csv", "agency-1.csv.bak", "1.csv"] {
            assert_eq!(agency_of(name), None, "{name}");
        }
    }
}
