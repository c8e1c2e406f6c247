//! Moving a store away, so that the next start makes a new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::files::disk::{Disk, File};
use super::files::os_disk::OsDisk;
use super::state::{Options, Store};

/// The store's files in the order in which they are moved. The rows are the last: a start on rows without a journal is
/// refused, so that neither a crash between two moves nor a hub that starts meanwhile takes the rest for a new store.
/// The redo log is moved behind the journal, which may lack what the log has.
const ORDER: [File; 4] = [File::Journal, File::Redo, File::Quarantine, File::Rows];

/// Moves the files of the store whose rows are at `store` into the folder `to`, which is made, and syncs both folders.
/// Nothing is copied, and nothing is replaced. Returns how many files there were; 0 where there is no store, and then
/// `to` is not made.
///
/// # Errors
/// A server or a check uses the store; a file is a symbolic link whose target is relative; `to` is there already ([`AlreadyExists`](std::io::ErrorKind::AlreadyExists)); a file cannot be
/// moved. The files that had been moved before it are moved back.
pub fn archive(store: &Path, to: &Path) -> Result<usize, OpenError> {
    let mut held = Store::new(OsDisk::new(store), Options::default());
    if there(&held).is_empty() {
        // A lock would make the rows' file.
        return Ok(0);
    }
    if !held.disk.lock().map_err(|(file, error)| held.failed_to("lock", file, error))? {
        return Err(OpenError::Locked { file: held.disk.name(File::Rows) });
    }
    // The lock may have made the rows' file, which is moved, too: it would be the user's who runs this, and not the hub's.
    let there = there(&held);
    let failed = |doing, path: &Path, error| OpenError::Io { file: path.display().to_string(), doing, error };
    for path in there.iter().map(|file| held.disk.path(*file)) {
        if fs::read_link(path).is_ok_and(|target| target.is_relative()) {
            let what = "it is a symbolic link, which would lead nowhere from there; make its target an absolute path";
            return Err(failed("move", path, io::Error::other(what)));
        }
    }
    fs::create_dir(to).map_err(|error| failed("make the folder", to, error))?;
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    for file in there {
        let from = held.disk.path(file).to_owned();
        let place = to.join(from.file_name().unwrap_or_default());
        if let Err(error) = fs::rename(&from, &place) {
            put_back(&moved, to);
            return Err(failed("move", &from, error));
        }
        moved.push((from, place));
    }
    let mut archived = OsDisk::new(&to.join(store.file_name().unwrap_or_default()));
    for disk in [&mut archived, &mut held.disk] {
        disk.sync_folder().map_err(|error| failed("sync the folder of", disk.path(File::Rows), error))?;
    }
    Ok(moved.len())
}

/// The files of the store that exist, in the order in which they are moved.
fn there(store: &Store<OsDisk>) -> Vec<File> {
    ORDER.into_iter().filter(|file| fs::symlink_metadata(store.disk.path(*file)).is_ok()).collect()
}

/// After a failure: everything is where it was, as far as the system permits.
fn put_back(moved: &[(PathBuf, PathBuf)], to: &Path) {
    for (from, place) in moved.iter().rev() {
        let _the_first_error_is_told = fs::rename(place, from);
    }
    let _it_stays_where_it_has_a_file = fs::remove_dir(to);
}
