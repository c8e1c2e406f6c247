//! `loteria import`: a store of files becomes a draw of the engine's.

use std::io::Write;
use std::path::Path;

use super::failure::Failure;
use super::place::no_folder;
use super::text::{clean, counted};
use crate::storage::{OpenError, Reader, StoppedStore, Waiting, import_store};

/// Brings `store` into the draw that the reader's options name, in one transaction, and says so in one line. The store stays as
/// it is. `place` is what a person calls the draw.
///
/// # Errors
/// A hub uses the store, or it cannot be read; the draw is in use, or has another winning number or other agencies.
pub fn import<N: Waiting>(
    reader: &mut Reader<N>,
    place: &str,
    store: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    no_folder(store)?;
    let mut stopped = StoppedStore::open(store).map_err(|error| match error {
        OpenError::Locked { .. } => Failure::InUse { store: store.to_owned() },
        OpenError::Damaged { .. } | OpenError::Io { .. } => error.into(),
    })?;
    let imported = import_store(reader, &mut stopped, &store.display().to_string())?;
    let drawn = if imported.drawn { "; its draw has been made" } else { "" };
    let line = format!(
        "{}: {} in {} imported into {}{drawn}\n",
        clean(store.display()),
        counted(imported.bets, "bet", "bets"),
        counted(imported.batches, "batch", "batches"),
        clean(place)
    );
    out.write_all(line.as_bytes()).map_err(Failure::Output)
}
