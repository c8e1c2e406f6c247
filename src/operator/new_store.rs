//! `loteria new-store`: the store of a draw is moved away under a date, so that the next start makes a new one.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::failure::Failure;
use super::text::clean;
use crate::storage::{OpenError, archive};

/// So many stores can be archived within one second.
const TRIES: usize = 100;

/// Moves all files of `store` into a folder beside it, which has the store's name and the time `now`, and says so in
/// one line. A store that is not there is no error.
///
/// # Errors
/// A hub or a check uses the store; the files cannot be moved.
pub fn new_store(store: &Path, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let name = clean(store.display());
    let (to, moved) = archived(store, now)?;
    // A start makes no folder either: the path may be misspelt.
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    let line = match moved {
        0 if folder.is_some() => format!("{name}: there is no store, and no folder for one\n"),
        0 => format!("{name}: there is no store; the next start of the hub makes one\n"),
        1 => format!("{name}: moved to {}/; the next start of the hub makes a new store\n", clean(to.display())),
        _ => format!(
            "{name}: its {moved} files were moved to {}/; the next start of the hub makes a new store\n",
            clean(to.display())
        ),
    };
    out.write_all(line.as_bytes()).map_err(Failure::Output)
}

/// The folder, and how many files are in it.
fn archived(store: &Path, now: Timestamp) -> Result<(PathBuf, usize), Failure> {
    let mut last = None;
    for number in 1..=TRIES {
        let to = folder(store, now, number);
        match archive(store, &to) {
            Ok(moved) => return Ok((to, moved)),
            // The folder of another store, which stays as it is.
            Err(OpenError::Io { error, file, doing }) if error.kind() == ErrorKind::AlreadyExists => {
                last = Some(OpenError::Io { file, doing, error });
            }
            Err(OpenError::Locked { .. }) => return Err(Failure::InUse { store: store.to_owned() }),
            Err(other) => return Err(other.into()),
        }
    }
    Err(last.map_or_else(|| Failure::InUse { store: store.to_owned() }, Failure::Store))
}

/// `bets.csv-2026-11-28T210000Z`, with `-2` and so on behind it where that is taken.
fn folder(store: &Path, now: Timestamp, number: usize) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(now.strftime("-%Y-%m-%dT%H%M%SZ").to_string());
    if number > 1 {
        name.push(format!("-{number}"));
    }
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_has_the_time_and_no_archive_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("bets.csv");
        let now: Timestamp = "2026-11-28T21:00:00Z".parse().expect("a time");
        for (bytes, name) in [("a", "bets.csv-2026-11-28T210000Z"), ("b", "bets.csv-2026-11-28T210000Z-2")] {
            std::fs::write(&store, bytes).expect("a file");
            let mut line = Vec::new();
            new_store(&store, now, &mut line).expect("moved");
            let line = String::from_utf8(line).expect("text");
            assert!(line.ends_with(&format!("{name}/; the next start of the hub makes a new store\n")), "{line}");
            let kept = std::fs::read_to_string(folder.path().join(name).join("bets.csv"));
            assert_eq!((kept.expect("the rows").as_str(), store.exists()), (bytes, false));
        }
    }
}
