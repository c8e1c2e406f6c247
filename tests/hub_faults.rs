//! Real faults against the real server: kills at any system call, a disk that fails, stalls, fills or loses
//! its power. What was acknowledged is there afterwards, what was not is whole or absent, and in order.
//!
//! A fault that this machine cannot make is skipped, and says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::machine::{eventually, has, skip};
use common::{Hub, Start, binary, binary_batch, binary_bet, in_folder, under};

fn folder() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

/// A server whose system calls are tampered with. `-D` keeps the server itself our child.
fn traced(inject: &str, folder: &Arc<tempfile::TempDir>) -> Start {
    let calls = inject.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    under(&["strace", "-D", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject], Arc::clone(folder))
}

/// One agency that bets in lockstep: documents 0, 1, 2 … in batches of one.
struct Agency {
    next: u32,
    acknowledged: u32,
}

impl Agency {
    fn new() -> Agency {
        Agency { next: 0, acknowledged: 0 }
    }

    /// Sends up to `batches` more; stops at the end of the connection.
    fn upload(&mut self, hub: &Hub, batches: u32) {
        let Ok(mut stream) = std::net::TcpStream::connect(hub.address) else { return };
        stream.set_nodelay(true).unwrap();
        for _ in 0..batches {
            let mut answer = [9];
            let sent = stream.write_all(&binary_batch(1, self.next, 7574));
            if sent.is_err() || stream.read_exact(&mut answer).is_err() {
                return;
            }
            assert_eq!(answer, [0], "an honest batch is never rejected here");
            self.next += 1;
            self.acknowledged = self.next;
        }
    }

    /// The store holds whole batches in order: all that were acknowledged, and at most the one in flight.
    fn check(&mut self, rows: &Path) {
        let text = std::fs::read_to_string(rows).unwrap_or_default();
        let expected: String =
            (0..).take(text.lines().count()).map(|i| format!("1,Ana,Paz,{i:08},1999-03-17,7574\r\n")).collect();
        assert_eq!(text, expected, "whole batches in order");
        let stored = u32::try_from(text.lines().count()).unwrap();
        assert!(
            (self.acknowledged..=self.acknowledged + 1).contains(&stored),
            "{} acknowledged, {stored} stored",
            self.acknowledged
        );
        self.next = stored;
        self.acknowledged = stored;
    }
}

fn configured(start: Start) -> Start {
    start.env("LOTTERY_AGENCIES", "1")
}

#[test]
fn killed_at_any_write_or_sync_it_keeps_what_it_acknowledged() {
    if !has("strace") {
        return skip("killing at a system call needs strace");
    }
    for call in ["fdatasync", "pwrite64", "ftruncate"] {
        let folder = folder();
        let mut agency = Agency::new();
        for when in 1..=14 {
            let inject = format!("{call}:signal=KILL:when={when}");
            if let Ok(hub) = configured(traced(&inject, &folder)).start_or_end() {
                agency.upload(&hub, 8);
                hub.kill();
            }
            let hub = configured(in_folder(Arc::clone(&folder))).start();
            agency.check(&folder.path().join("bets.csv"));
            agency.upload(&hub, 2);
            hub.kill();
        }
        assert!(agency.acknowledged >= 28);
    }
}

#[test]
fn the_first_failed_sync_is_final_and_a_restart_is_exact() {
    if !has("strace") {
        return skip("a failing fdatasync needs strace");
    }
    let folder = folder();
    let mut agency = Agency::new();
    let mut failed_while_serving = 0;
    for when in 1..=14 {
        let inject = format!("fdatasync:error=EIO:when={when}");
        match configured(traced(&inject, &folder)).start_or_end() {
            Ok(hub) => {
                agency.upload(&hub, 8);
                if agency.acknowledged > 0 && hub.count("shutdown") == 0 {
                    let (status, log) = hub.end();
                    assert_eq!(status.code(), Some(74), "{log}");
                    assert!(log.contains("CRITICAL action: store | result: fail"), "{log}");
                    failed_while_serving += 1;
                }
            }
            Err((code, log)) => assert_eq!(code, Some(74), "{log}"),
        }
        let hub = configured(in_folder(Arc::clone(&folder))).start();
        agency.check(&folder.path().join("bets.csv"));
        hub.kill();
    }
    assert!(failed_while_serving >= 5, "{failed_while_serving}");
}

#[test]
fn sigterm_while_the_store_is_being_opened_ends_it_in_order() {
    if !has("strace") {
        return skip("a signal in the middle of a start needs strace");
    }
    let folder = folder();
    let mut agency = Agency::new();
    let hub = configured(in_folder(Arc::clone(&folder))).start();
    agency.upload(&hub, 50);
    hub.kill();
    let mut early = 0;
    for when in 1..=12 {
        match configured(traced(&format!("pread64:signal=TERM:when={when}"), &folder)).start_or_end() {
            // So many reads there were not.
            Ok(hub) => drop(hub.kill()),
            // Before the program itself has begun: the system's loader reads too.
            Err((None, log)) if log.is_empty() => {}
            Err((code, log)) => {
                assert_eq!(code, Some(0), "{log}");
                assert!(log.trim_end().ends_with("action: shutdown | result: success"), "{log}");
                early += 1;
            }
        }
        agency.check(&folder.path().join("bets.csv"));
    }
    assert!(early >= 3, "{early}");
}

#[test]
fn no_connection_times_out_while_the_hub_writes_its_seal() {
    if !has("strace") {
        return skip("a slow fdatasync needs strace");
    }
    let folder = folder();
    let hub = |start: Start| configured(start).env("LIMITS_IDLE_TIMEOUT", "3s").start();
    hub(in_folder(Arc::clone(&folder))).terminate();
    // A start has four of them and the batch two; the next is the seal's, a second later.
    let hub = hub(traced("fdatasync:delay_enter=2500000:when=7", &folder));
    let (mut first, mut second) = (hub.connect(), hub.connect());
    second.send(&binary_batch(1, 7, 1)[..30]);
    first.send(&binary_batch(1, 1, 1));
    first.expect(&[0]);
    let journal = hub.path("bets.csv.journal");
    let before = std::fs::read(&journal).unwrap();
    eventually("the seal is written", || std::fs::read(&journal).unwrap() != before);
    let began = Instant::now();
    second.send(&binary_batch(1, 7, 1)[30..]);
    second.expect(&[0]);
    assert!(began.elapsed() > Duration::from_secs(2), "the seal was not what took long");
    // By the clock on the wall it was silent for longer than it may be.
    first.send(&binary_batch(1, 2, 1));
    first.expect(&[0]);
    assert_eq!(hub.count("IDLE_TIMEOUT"), 0, "{}", hub.log());
}

#[test]
fn no_connection_times_out_while_the_hub_waits_for_its_disk() {
    if !has("strace") {
        return skip("a slow fdatasync needs strace");
    }
    let folder = folder();
    let slow = |start: Start| {
        configured(start).env("LIMITS_IDLE_TIMEOUT", "400ms").env("LIMITS_HANDSHAKE_TIMEOUT", "400ms").start()
    };
    slow(in_folder(Arc::clone(&folder))).terminate();
    let hub = slow(traced("fdatasync:delay_enter=1500000:when=4+", &folder));
    let mut first = hub.connect();
    let mut second = hub.connect();
    second.send(&binary_batch(1, 7, 1)[..30]);
    first.send(&binary_batch(1, 1, 1));
    second.send(&binary_batch(1, 7, 1)[30..]);
    first.expect(&[0]);
    second.expect(&[0]);
    first.send(&binary_batch(1, 2, 1));
    first.expect(&[0]);
    assert_eq!(hub.count("IDLE_TIMEOUT"), 0, "{}", hub.log());
}

/// A file system that is unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, arguments: &[&str]) -> Option<Mounted> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(arguments).arg(at).output().is_ok_and(|output| output.status.success());
        done.then(|| Mounted(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A batch of a hundred bets; its answer.
fn upload_hundred(peer: &mut common::Peer, first: u32) -> u8 {
    let bets: Vec<u8> =
        (first..first + 100).flat_map(|document| binary_bet("Ana", "Paz", document, 19_990_317, 1)).collect();
    peer.send(&binary(1, &[1, 100], &bets));
    let mut answer = [9];
    peer.stream.read_exact(&mut answer).unwrap();
    answer[0]
}

/// Uploads until the disk is full; then the draw must still succeed, and uploads after there is space again.
fn fill_then_recover(hub: Hub, make_space: impl FnOnce(&Hub), store: &Path, restart: impl FnOnce() -> Hub) {
    let mut peer = hub.connect();
    let mut stored = Vec::new();
    let mut next = 0;
    while upload_hundred(&mut peer, next) == 0 {
        stored.push(next);
        next += 100;
        assert!(next < 10_000_000, "the disk never filled");
    }
    assert_eq!(upload_hundred(&mut peer, next), 1, "still full");
    peer.send(&binary(2, &[2], &[]));
    peer.expect(&[0]);
    hub.wait_for("action: store | result: in_progress");
    make_space(&hub);
    // The hub tries the disk again after a pause of its own; no event tells when.
    let until = std::time::Instant::now() + common::PATIENCE;
    while upload_hundred(&mut peer, next) != 0 {
        assert!(std::time::Instant::now() < until, "uploads never resumed");
    }
    let again = "INFO     action: store | result: success | reason: there is space again";
    hub.wait_for(again);
    assert_eq!((upload_hundred(&mut peer, next + 100), hub.count(again)), (0, 1), "it is said once");
    stored.extend([next, next + 100]);
    let expected: String = stored
        .iter()
        .flat_map(|first| *first..*first + 100)
        .map(|document| format!("1,Ana,Paz,{document:08},1999-03-17,1\r\n"))
        .collect();
    assert!(std::fs::read_to_string(store).unwrap() == expected, "exactly the acknowledged batches");
    hub.kill();
    let hub = restart();
    assert!(std::fs::read_to_string(store).unwrap() == expected, "after a restart too");
    let mut peer = hub.connect();
    peer.send(&binary(2, &[1], &[]));
    peer.expect(&[0]);
    peer.send(&binary(3, &[1], &[]));
    peer.expect(&[0, 0, 0, 0, 0]);
    hub.wait_for("action: sorteo | result: success");
}

#[test]
fn a_full_disk_rejects_uploads_but_no_finish_and_uploads_resume() {
    let folder = folder();
    let at = folder.path().join("small");
    let Some(mounted) = Mounted::new(&at, &["-t", "tmpfs", "-o", "size=3m", "tmpfs"]) else {
        return skip("a full disk needs the right to mount a tmpfs");
    };
    let start = || {
        let start = in_folder(Arc::clone(&folder)).env("LOTTERY_AGENCIES", "2");
        start.env("STORAGE_PATH", "small/bets.csv").start()
    };
    fill_then_recover(start(), |_| mounted.remount("size=64m"), &at.join("bets.csv"), start);
}

#[test]
fn a_draw_is_made_on_a_full_disk() {
    let folder = folder();
    let at = folder.path().join("small");
    let Some(_mounted) = Mounted::new(&at, &["-t", "tmpfs", "-o", "size=3m", "tmpfs"]) else {
        return skip("a full disk needs the right to mount a tmpfs");
    };
    let start = in_folder(Arc::clone(&folder)).env("LOTTERY_AGENCIES", "1").env("STORAGE_PATH", "small/bets.csv");
    let hub = start.start();
    let mut peer = hub.connect();
    let mut next = 0;
    while upload_hundred(&mut peer, next) == 0 {
        next += 100;
    }
    // Another file takes the rest of the space.
    let _ = std::fs::write(at.join("other"), vec![0; 4 << 20]);
    peer.send(&binary(2, &[1], &[]));
    peer.expect(&[0]);
    peer.send(&binary(3, &[1], &[]));
    peer.expect(&[0, 0, 0, 0, 0]);
    hub.wait_for("action: sorteo | result: success");
}

#[test]
fn a_file_size_limit_is_a_full_disk() {
    if !has("prlimit") {
        return skip("a limit on the size of files needs prlimit");
    }
    for extra in [0, 1, 61, 64, 4097] {
        let folder = folder();
        let limit = format!("--fsize={}:unlimited", 1_200_000 + extra);
        let limited = under(&["prlimit", &limit], Arc::clone(&folder)).env("LOTTERY_AGENCIES", "2").start();
        let lift = |hub: &Hub| {
            let pid = format!("--pid={}", hub.child.id());
            assert!(Command::new("prlimit").args([&pid, "--fsize=unlimited:unlimited"]).status().unwrap().success());
        };
        let restart = || in_folder(Arc::clone(&folder)).env("LOTTERY_AGENCIES", "2").start();
        fill_then_recover(limited, lift, &folder.path().join("bets.csv"), restart);
    }
}

/// Stops an ext4 file system as a power cut would: nothing that is not on the disk gets there any more.
const CUT_POWER: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let shm = Path::new("/dev/shm");
    let folder = Arc::new(if shm.exists() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() });
    let mut image = folder.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return skip("a power cut needs mkfs.ext4");
    }
    let mut agency = Agency::new();
    for cycle in 0..12 {
        let (disk, at) = (format!("disk-{cycle}/bets.csv"), folder.path().join(format!("disk-{cycle}")));
        let Some(_mounted) = Mounted::new(&at, &["-o", "loop", image.to_str().unwrap()]) else {
            return skip("a power cut needs the right to mount a loop device");
        };
        let hub = configured(in_folder(Arc::clone(&folder))).env("STORAGE_PATH", &disk).start();
        agency.check(&at.join("bets.csv"));
        agency.upload(&hub, 1 + cycle * 3);
        // The cut comes while another batch is on its way.
        let mut peer = hub.connect();
        peer.send(&binary_batch(1, agency.next, 7574));
        let cut = Command::new("python3").args(["-c", CUT_POWER]).arg(&at).status();
        if !cut.is_ok_and(|status| status.success()) {
            return skip("a power cut needs python3 and the right to shut a file system down");
        }
        if peer.stream.read_exact(&mut [9]).is_ok() {
            agency.next += 1;
            agency.acknowledged += 1;
        }
        hub.kill();
        // What has reached the device by now is what a machine would find. A copy of it: the file system that was
        // cut off lives on while any other program's view of the mounts has it.
        let next = folder.path().join(format!("image-{cycle}"));
        std::fs::copy(&image, &next).unwrap();
        std::fs::remove_file(std::mem::replace(&mut image, next)).unwrap();
    }
    assert!(agency.acknowledged > 100);
}
