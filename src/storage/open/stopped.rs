//! Reading the batches of a store that no server uses, without changing it.

use std::path::Path;

use super::check::examine_stopped;
use super::start::Sound;
use crate::lottery::AgencyId;
use crate::storage::error::OpenError;
use crate::storage::files::disk::{Disk, File};
use crate::storage::files::os_disk::OsDisk;
use crate::storage::files::stream::Stream;
use crate::storage::format::record::{Kind, RECORD_BYTES, RECORDS_START, Record, record_offset};
use crate::storage::keep::Known;
use crate::storage::state::{Options, Store};

/// A batch as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBatch<'a> {
    /// Whose.
    pub agency: AgencyId,
    /// Its number among the agency's, from 0.
    pub sequence: u64,
    /// How many bets it has.
    pub bets: u32,
    /// CRC-32C of its rows.
    pub checksum: u32,
    /// Its rows.
    pub rows: &'a [u8],
}

/// A store that was checked, and on which no server can be started until this is dropped. It is not changed.
pub struct StoppedStore {
    store: Store<OsDisk>,
    /// `None`: it has nothing yet.
    sound: Option<Sound>,
}

impl std::fmt::Debug for StoppedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoppedStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl StoppedStore {
    /// Checks the store whose rows are at `path`, up to the end of its last whole group.
    ///
    /// # Errors
    /// A server uses it; it is damaged, is not there or cannot be read.
    pub fn open(path: &Path) -> Result<StoppedStore, OpenError> {
        let mut store = Store::new(OsDisk::reading(path), Options::default());
        if !store.disk.try_lock_shared().map_err(|(file, error)| store.failed_to("lock", file, error))? {
            return Err(OpenError::Locked { file: store.disk.name(File::Rows) });
        }
        if store.len(File::Rows)? == 0 && store.len(File::Journal)? == 0 {
            return Err(store.failed_to("find a store at", File::Rows, rustix::io::Errno::NOENT.into()));
        }
        let sound = examine_stopped(&mut store)?;
        Ok(StoppedStore { store, sound })
    }

    /// Each agency that has bets, has finished or was excluded, ascending.
    pub fn agencies(&self) -> Vec<Known> {
        let agencies = self.sound.iter().flat_map(|sound| &sound.state.agencies);
        let known = agencies.map(|(id, it)| Known {
            agency: *id,
            standing: it.agency.standing,
            batches: it.agency.batches,
            bets: it.agency.bets,
        });
        known.collect()
    }

    /// The winning number of the draw, if there was one.
    pub fn drawn(&self) -> Option<u32> {
        self.sound.as_ref().and_then(|sound| sound.state.drawn)
    }

    /// Gives each batch to `take`, in the order in which they were stored.
    ///
    /// # Errors
    /// Those of `take`; the store cannot be read, or has rows that were adopted, which have no numbers.
    pub fn each_batch<E: From<OpenError>>(
        &mut self,
        mut take: impl FnMut(&StoredBatch<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(Sound { log, state, .. }) = &self.sound else { return Ok(()) };
        let (store, tip) = (&mut self.store, state.tip);
        let mut journal = Stream::new(File::Journal, RECORDS_START, record_offset(tip.slots));
        let mut rows = Stream::new(File::Rows, 0, tip.rows_bytes);
        for slot in 0..tip.slots {
            let bytes = journal.take(&mut log.overlay(&mut store.disk), RECORD_BYTES as u64);
            let bytes = bytes.map_err(|error| store.failed_to("read", File::Journal, error))?;
            let record = bytes.first_chunk().and_then(|bytes| Record::decode(bytes, slot, store.journal.seed));
            let Some((record, _)) = record else {
                let what = "there is no valid record here any more".to_owned();
                return Err(store.damaged(File::Journal, record_offset(slot), what).into());
            };
            match record.kind {
                Kind::Batch => {}
                Kind::Adopted => {
                    let what = "its rows were taken with --adopt, so that they have no batch numbers".to_owned();
                    return Err(store.damaged(File::Journal, record_offset(slot), what).into());
                }
                Kind::Finish | Kind::Exclusion | Kind::Draw | Kind::Seal => continue,
            }
            let here = rows.take(&mut log.overlay(&mut store.disk), u64::from(record.rows_bytes));
            let here = here.map_err(|error| store.failed_to("read", File::Rows, error))?;
            if crc32c::crc32c(here) != record.rows_crc {
                let what = format!("the rows of batch {} of agency {} have changed", record.sequence, record.agency);
                return Err(store.damaged(File::Rows, record.rows_offset, what).into());
            }
            take(&StoredBatch {
                agency: AgencyId(record.agency),
                sequence: record.sequence,
                bets: record.count,
                checksum: record.rows_crc,
                rows: here,
            })?;
        }
        Ok(())
    }
}
