//! `loteria new-store`: the store is moved away whole, or left as it is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod loteria_kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::machine::{has, skip};
use common::{FINISH, binary_batch, hub, in_folder};
use loteria_kit::{ended, loteria};

const FILES: [&str; 3] = ["bets.csv", "bets.csv.journal", "bets.csv.redo"];

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The only folder in `folder`, which must have a store's name and a time.
fn archive(folder: &Path) -> PathBuf {
    let [found] =
        names(folder).into_iter().filter(|name| folder.join(name).is_dir()).collect::<Vec<_>>().try_into().unwrap();
    let time = found.strip_prefix("bets.csv-").unwrap();
    assert!(jiff::civil::DateTime::strptime("%Y-%m-%dT%H%M%SZ", time).is_ok(), "{found}");
    folder.join(found)
}

#[test]
fn it_is_refused_while_a_hub_runs_and_a_stopped_hub_s_store_is_moved_whole() {
    let first = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut peer = first.connect();
    peer.send(&binary_batch(1, 11, 7574));
    peer.expect(&[0]);
    peer.send(&FINISH);
    peer.expect(&[0]);
    let folder = Arc::clone(&first.folder);
    let before = names(folder.path());
    let (code, out, err) = loteria(folder.path(), &["new-store"]);
    assert_eq!((code, out.as_str()), (Some(75), ""), "{err}");
    assert_eq!(err, "loteria: a hub or a check uses the store bets.csv; stop it first, then try again\n");
    assert_eq!(names(folder.path()), before, "nothing has changed");
    // A killed hub has turns in its redo log only.
    drop(first.kill());
    fs::write(folder.path().join("bets.csv.quarantine"), "kept").unwrap();
    fs::write(folder.path().join("bets.csv.mine"), "another program's").unwrap();
    let (code, out, err) = loteria(folder.path(), &["new-store", "--store", "bets.csv"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let archive = archive(folder.path());
    let name = archive.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        out,
        format!("bets.csv: its 4 files were moved to {name}/; the next start of the hub makes a new store\n")
    );
    assert_eq!(names(&archive), &set(&FILES) | &set(&["bets.csv.quarantine"]));
    assert!(!names(folder.path()).iter().any(|name| FILES.contains(&name.as_str())));
    assert!(folder.path().join("bets.csv.mine").exists());
    let (code, out, err) = loteria(folder.path(), &["verify", &format!("{name}/bets.csv")]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("1             1           1         -  betting"), "{out}");
    let again = in_folder(Arc::clone(&folder)).env("LOTTERY_AGENCIES", "2").start();
    assert_eq!((again.count("action: recover"), again.rows()), (0, Vec::new()));
}

#[test]
fn the_store_is_that_of_the_configuration_and_one_that_is_not_there_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.ini"), "[STORAGE]\nPATH = own.csv\n").unwrap();
    let (code, out, err) = loteria(folder.path(), &["new-store"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "own.csv: there is no store; the next start of the hub makes one\n");
    assert_eq!(names(folder.path()), set(&["config.ini"]), "nothing was made");
    let (code, _, err) = loteria(folder.path(), &["new-store", "--socket", "own.sock"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(2), "loteria: --socket names no store: name it with --store (try --help)\n")
    );
    let (code, out, err) = loteria(folder.path(), &["new-store", "--store", "nowhere/bets.csv"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "nowhere/bets.csv: there is no store, and no folder for one\n");
}

#[test]
fn what_is_left_of_a_store_is_moved_and_nothing_stays_for_the_hub_to_stumble_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bets.csv.quarantine"), "bytes").unwrap();
    assert_eq!(loteria(folder.path(), &["new-store"]).0, Some(0));
    let archive = archive(folder.path());
    assert_eq!(names(folder.path()), set(&[archive.file_name().unwrap().to_str().unwrap()]));
    assert_eq!(fs::read_to_string(archive.join("bets.csv.quarantine")).unwrap(), "bytes");
}

#[test]
fn a_store_behind_a_link_is_moved_only_where_the_link_leads_there_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.csv");
    fs::write(&rows, "rows").unwrap();
    let link = folder.path().join("bets.csv");
    std::os::unix::fs::symlink("rows.csv", &link).unwrap();
    let (code, _, err) = loteria(folder.path(), &["new-store"]);
    assert_eq!((code, err.lines().count()), (Some(74), 1), "{err}");
    assert!(err.starts_with("loteria: cannot move bets.csv: it is a symbolic link"), "{err}");
    assert_eq!(names(folder.path()), set(&["bets.csv", "rows.csv"]), "nothing has changed");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&rows, &link).unwrap();
    assert_eq!(loteria(folder.path(), &["new-store"]).0, Some(0));
    assert_eq!(fs::read_to_string(archive(folder.path()).join("bets.csv")).unwrap(), "rows");
}

/// `loteria new-store` in `folder`, under a strace that does `what` to one of its renames.
fn under_strace(folder: &Path, what: &str) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=rename", "-e"]).arg(format!("inject=rename:{what}"));
    command.args([env!("CARGO_BIN_EXE_loteria"), "new-store"]).current_dir(folder);
    ended(command)
}

#[test]
fn after_a_crash_between_two_moves_the_rest_is_no_new_store() {
    if !has("strace") {
        return skip("a crash at a rename needs strace");
    }
    // At the first rename nothing was moved yet.
    for crash in 2..=3 {
        let first = hub().env("LOTTERY_AGENCIES", "2").start();
        let mut peer = first.connect();
        peer.send(&binary_batch(1, 11, 7574));
        peer.expect(&[0]);
        let folder = Arc::clone(&first.folder);
        assert_eq!(first.terminate().0.code(), Some(0));
        let (code, _, _) = under_strace(folder.path(), &format!("signal=KILL:when={crash}"));
        assert_ne!(code, Some(0), "it was killed");
        let archive = archive(folder.path());
        let refused = in_folder(Arc::clone(&folder)).env("LOTTERY_AGENCIES", "2").start_or_end();
        assert_eq!(refused.err().expect("it is damaged").0, Some(65));
        // As docs/DURABILITY.md says: the files are moved back.
        for name in names(&archive) {
            fs::rename(archive.join(&name), folder.path().join(&name)).unwrap();
        }
        let again = in_folder(folder).env("LOTTERY_AGENCIES", "2").start();
        again.wait_for("action: recover | result: success | bets: 1 ");
    }
}

#[test]
fn where_a_file_cannot_be_moved_all_of_them_stay() {
    if !has("strace") {
        return skip("a failing rename needs strace");
    }
    for failing in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        for name in FILES {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let (code, out, err) = under_strace(folder.path(), &format!("error=EIO:when={failing}"));
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(74), "", 1), "{err}");
        assert!(err.starts_with("loteria: cannot move bets.csv"), "{err}");
        assert_eq!(names(folder.path()), set(&FILES), "no file is moved, and no folder is left");
    }
}
