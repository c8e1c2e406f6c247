//! File systems that cannot do all that the store asks for, and places where it cannot be: said in words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::machine::{has, is_root, skip};
use common::{Start, binary_batch, hub, in_folder, under};

fn traced(inject: &str) -> Start {
    let calls = inject.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    under(&["strace", "-D", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject], folder)
}

#[test]
fn missing_advice_calls_and_folder_syncs_are_reported_and_no_error() {
    if !has("strace") {
        return skip("a file system that cannot do something needs strace");
    }
    for (inject, sync, warning) in [
        ("fsync:error=EINVAL", "always", Some("the file system cannot sync a folder (Invalid argument")),
        ("fsync:error=EOPNOTSUPP", "always", Some("the file system cannot sync a folder (Operation not supported")),
        ("fsync:error=ENOSYS", "always", Some("the file system cannot sync a folder (Function not implemented")),
        ("fsync:error=EINVAL", "never", None),
        ("fadvise64:error=ENOSYS", "always", Some("the system cannot drop what memory holds of a file")),
        ("fadvise64:error=EINVAL", "never", Some("the system cannot drop what memory holds of a file")),
    ] {
        let start = traced(inject).env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", sync);
        let hub = start.start_or_end().unwrap_or_else(|(code, log)| panic!("{inject}: {code:?}, {log}"));
        let mut peer = hub.connect();
        peer.send(&binary_batch(1, 1, 1));
        peer.expect(&[0]);
        drop(peer);
        let (status, log) = hub.terminate();
        assert_eq!(status.code(), Some(0), "{inject}: {log}");
        let said: Vec<&str> = log.lines().filter(|line| line.contains("WARNING")).collect();
        assert_eq!(said.len(), usize::from(warning.is_some()), "{inject}: {log}");
        assert!(said.iter().all(|line| line.contains(warning.unwrap())), "{inject}: {said:?}");
    }
}

#[test]
fn a_missing_lock_or_sync_call_ends_the_start_with_the_reason() {
    if !has("strace") {
        return skip("a file system that cannot do something needs strace");
    }
    for (inject, reason) in [
        ("flock:error=ENOLCK", "the file system has no locks"),
        ("flock:error=EOPNOTSUPP", "the file system has no locks"),
        ("fdatasync:error=EINVAL", "the file system cannot sync a file; use another one, or FSYNC = never"),
        ("fsync:error=EIO", "cannot sync the folder of bets.csv"),
    ] {
        let (code, _, err) = traced(inject).run();
        assert_eq!(code, Some(74), "{inject}: {err}");
        assert!(err.contains(reason) && err.lines().count() == 1, "{inject}: {err}");
    }
}

#[test]
fn a_store_without_write_permission_is_reported_with_user_and_mode() {
    if !is_root() || !has("setpriv") {
        return skip("running as another user needs root and setpriv");
    }
    let wrapper = ["setpriv", "--reuid=65533", "--regid=65532", "--clear-groups", "sh", "-c", "exec ./server"];
    let folder = Arc::new(tempfile::tempdir().unwrap());
    // The server itself may lie where only we may look.
    fs::copy(env!("CARGO_BIN_EXE_server"), folder.path().join("server")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let who = "this program runs as user 65533, group 65532, which may not";
    let (code, _, err) = under(&wrapper, Arc::clone(&folder)).run();
    assert_eq!(code, Some(74), "{err}");
    let place = fs::canonicalize(folder.path()).unwrap();
    let told = format!("{who} make files in the folder {} (user 0, group 0, mode 755)", place.display());
    assert!(err.contains(&told) && err.contains("give the folder to that user"), "{err}");
    fs::write(folder.path().join("bets.csv"), "").unwrap();
    let (code, _, err) = under(&wrapper, Arc::clone(&folder)).run();
    assert_eq!(code, Some(74), "{err}");
    assert!(err.contains(&format!("{who} read and write it (user 0, group 0, mode 644)")), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    fs::set_permissions(folder.path().join("bets.csv"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(folder.path().join("bets.csv.journal"), "").unwrap();
    let (_, _, err) = under(&wrapper, Arc::clone(&folder)).run();
    assert!(err.contains("cannot open bets.csv.journal: ") && err.contains("(user 0, group 0, mode 644)"), "{err}");
}

#[test]
fn a_store_path_that_cannot_exist_is_reported_with_the_reason() {
    let start = || hub().with(|command| fs::create_dir(command.get_current_dir().unwrap().join("bets.csv")).unwrap());
    let (code, _, err) = start().run();
    assert_eq!(code, Some(74), "{err}");
    assert!(err.contains("cannot open bets.csv: ") && err.contains("a folder has its name"), "{err}");
    let start = || hub().with(|at| fs::create_dir(at.get_current_dir().unwrap().join("bets.csv.journal")).unwrap());
    let (_, _, err) = start().run();
    assert!(err.contains("cannot open bets.csv.journal: ") && err.contains("a folder has its name"), "{err}");
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let at = folder.path().join("fixed");
    fs::create_dir(&at).unwrap();
    let mount = |options: &[&str]| Command::new("mount").args(options).arg(&at).output();
    if !mount(&["-t", "tmpfs", "-o", "ro", "tmpfs"]).is_ok_and(|output| output.status.success()) {
        return skip("a read-only file system needs the right to mount");
    }
    let _unmounted = Unmount(&at);
    let (code, _, err) = in_folder(Arc::clone(&folder)).env("STORAGE_PATH", "fixed/bets.csv").run();
    assert_eq!(code, Some(74), "{err}");
    assert!(err.contains("cannot open fixed/bets.csv: ") && err.contains("is mounted read-only"), "{err}");
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}
