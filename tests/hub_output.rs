//! A standard output that is stuck, closed or gone: no peer of the hub notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::machine::{self, eventually, has, is_root, skip};
use common::{Hub, PATIENCE, binary, binary_batch, binary_bet, hub, under};

/// Batches whose lines are more than the pipe and the hub's own buffer take together.
const MANY: u32 = 60_000;
/// `O_NONBLOCK` of Linux.
const NON_BLOCKING: i32 = 0o4000;

/// Stores `MANY` bets, a batch each, all of them acknowledged.
fn upload(hub: &Hub) {
    let mut peer = hub.connect();
    let frames: Vec<u8> = (0..MANY).flat_map(|document| binary_batch(1, document, 1)).collect();
    let mut sender = peer.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&frames));
    peer.expect(&vec![0; MANY as usize]);
    sending.join().unwrap().unwrap();
}

fn ends_well(mut hub: Hub) {
    hub.signal(15);
    assert_eq!(hub.child.wait().unwrap().code(), Some(0));
}

/// Reads what the hub has kept: whole lines, in order, and the number of those that it could not keep.
fn read_kept(output: impl Read) {
    let (mut stored, mut dropped) = (0, 0);
    for line in BufReader::new(output).lines() {
        let line = line.unwrap();
        assert!(line.starts_with("20") && line.contains(" action: "), "a whole line: {line}");
        if line.contains("action: apuesta_almacenada") {
            assert!(line.ends_with(&format!("dni: {stored:08} | numero: 1")), "the next one: {line}");
            stored += 1;
        }
        if let Some((_, count)) = line.split_once("dropped_lines: ") {
            dropped = count.split(' ').next().unwrap().parse().unwrap();
            break;
        }
    }
    assert!(stored > 100 && dropped > 100, "{stored} lines of bets, {dropped} dropped");
    assert!(dropped < 2 * (MANY as usize - stored) + 10, "{stored} lines of bets, {dropped} dropped");
}

#[test]
fn an_unread_pipe_does_not_delay_uploads_and_lost_lines_are_counted() {
    let (reader, writer) = std::io::pipe().unwrap();
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start_with_output(writer.into());
    upload(&hub);
    machine::assert_waits(hub.child.id());
    read_kept(reader);
    ends_well(hub);
}

/// Stores `batches` batches of a hundred bets, of each of which the log has a line.
fn upload_hundreds(hub: &Hub, batches: u32) {
    let mut peer = hub.connect();
    for batch in 0..batches {
        let bets =
            (0..100).flat_map(|bet| binary_bet("Ana", "Paz", batch * 100 + bet, 19_990_317, 1)).collect::<Vec<_>>();
        peer.send(&binary(1, &[1, 100], &bets));
        peer.expect(&[0]);
    }
}

#[test]
fn lines_for_debugging_are_the_first_to_be_dropped() {
    let (reader, writer) = std::io::pipe().unwrap();
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").env("LOGGING_LEVEL", "DEBUG");
    let hub = hub.start_with_output(writer.into());
    let batches = 400;
    upload_hundreds(&hub, batches);
    let mut peer = hub.connect();
    peer.send(&[binary(2, &[1], &[]), binary(3, &[1], &[])].concat());
    peer.expect(&[0, 0, 0, 0, 0, 0]);
    // The log is read only from here on.
    let reading = std::thread::spawn(move || std::io::read_to_string(reader).unwrap());
    ends_well(hub);
    let text = reading.join().unwrap();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("INFO     action: apuesta_recibida | result: success | cantidad: 100"), batches as usize);
    assert_eq!(count("INFO     action: sorteo | result: success"), 1);
    let shown = count("DEBUG    action: apuesta_almacenada");
    let told = text.lines().find_map(|line| line.split_once("dropped_lines: ")).unwrap().1;
    let dropped = 100 * batches as usize - shown;
    assert!(shown > 1000 && dropped > 1000, "{shown} shown, {dropped} dropped");
    assert_eq!(told, format!("{dropped} | of_them_debug: {dropped}"));
    assert!(text.contains("action: shutdown | result: success\n"));
}

#[test]
fn a_slow_reader_gets_every_line_but_those_for_debugging() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").env("LOGGING_LEVEL", "DEBUG");
    let hub = hub.start_with_output(writer.into());
    let (stop_sleeping, slow) = std::sync::mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let bytes = reader.read(&mut piece).unwrap();
            text.extend_from_slice(&piece[..bytes]);
            if bytes == 0 {
                return String::from_utf8(text).unwrap();
            }
            // Slower than the hub writes, until it is told to go on.
            let _ = slow.recv_timeout(std::time::Duration::from_millis(20));
        }
    });
    upload(&hub);
    upload_hundreds(&hub, 50);
    drop(stop_sleeping);
    ends_well(hub);
    let text = reading.join().unwrap();
    let mut stored = 0;
    for line in text.lines().filter(|line| line.contains("INFO     action: apuesta_almacenada")) {
        assert!(line.ends_with(&format!("dni: {stored:08} | numero: 1")), "the next one: {line}");
        stored += 1;
    }
    assert_eq!(stored, MANY);
    assert_eq!(text.matches("INFO     action: apuesta_recibida").count(), MANY as usize + 50);
    assert!(text.contains("action: shutdown | result: success\n"));
}

#[test]
fn an_unread_socket_does_not_delay_uploads_and_lost_lines_are_counted() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let start = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never");
    let hub = start.start_with_output(OwnedFd::from(writer).into());
    upload(&hub);
    machine::assert_waits(hub.child.id());
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    read_kept(reader);
    ends_well(hub);
}

#[test]
fn an_unread_pipe_that_cannot_be_reopened_does_not_delay_uploads() {
    if !is_root() || !has("setpriv") {
        return skip("a pipe of another user needs root and setpriv");
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // The server itself may lie where only we may look.
    let server = folder.path().join("server");
    std::fs::copy(env!("CARGO_BIN_EXE_server"), &server).unwrap();
    let wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "exec ./server"];
    let (reader, writer) = std::io::pipe().unwrap();
    let start = under(&wrapper, folder).env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never");
    let hub = start.start_with_output(writer.into());
    upload(&hub);
    machine::assert_waits(hub.child.id());
    read_kept(reader);
    ends_well(hub);
}

#[test]
fn a_closed_standard_output_is_survived() {
    let start = under(&["sh", "-c", "exec \"$0\" \"$@\" >&-"], Arc::new(tempfile::tempdir().unwrap()));
    let hub = start.env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start_with_output(Stdio::null());
    upload(&hub);
    machine::assert_waits(hub.child.id());
    ends_well(hub);
}

#[test]
fn a_reader_that_dies_is_survived_and_another_one_gets_the_next_lines() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let open_reader = || OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(&fifo).unwrap();
    let reader = open_reader();
    let writer = OpenOptions::new().write(true).open(&fifo).unwrap();
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start_with_output(writer.into());
    drop(reader);
    upload(&hub);
    machine::assert_waits(hub.child.id());
    let mut reader = open_reader();
    let mut read = Vec::new();
    eventually("the hub finds the new reader", || {
        let _ = reader.read_to_end(&mut read);
        read.windows(15).any(|window| window == b"dropped_lines: ")
    });
    ends_well(hub);
    let _ = reader.read_to_end(&mut read);
    assert!(String::from_utf8(read).unwrap().trim_end().ends_with("action: shutdown | result: success"));
}

#[test]
fn a_file_gets_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let hub = hub()
        .env("LOTTERY_AGENCIES", "1")
        .env("STORAGE_FSYNC", "never")
        .start_with_output(File::create(&log).unwrap().into());
    upload(&hub);
    ends_well(hub);
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!(text.matches("action: apuesta_almacenada").count(), MANY as usize);
    assert!(!text.contains("dropped_lines"));
    assert!(text.contains("action: shutdown | result: success\n"));
}

#[test]
fn a_log_on_a_full_disk_delays_no_upload_and_resumes_when_there_is_space() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start_with_output(full.into());
    upload(&hub);
    machine::assert_waits(hub.child.id());
    ends_well(hub);
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = machine::SmallDisk::mount(folder.path(), "64k") else {
        return skip("a small disk needs the right to mount a tmpfs");
    };
    let log = folder.path().join("log");
    let hub = common::hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never");
    let hub = hub.start_with_output(File::create(&log).unwrap().into());
    upload(&hub);
    machine::assert_waits(hub.child.id());
    disk.resize("64m");
    eventually("the log goes on", || std::fs::read_to_string(&log).unwrap().contains("dropped_lines: "));
    ends_well(hub);
    assert!(std::fs::read_to_string(&log).unwrap().ends_with("action: shutdown | result: success\n"));
}

/// Runs a program on a terminal of its own: what it is told on standard input is typed there.
const ON_A_TERMINAL: &str = "import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

#[test]
fn a_stopped_terminal_does_not_delay_uploads() {
    if !has("python3") {
        return skip("a terminal needs python3");
    }
    let start = under(&["python3", "-c", ON_A_TERMINAL], Arc::new(tempfile::tempdir().unwrap()));
    let start = start.env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never");
    let mut hub = start.with(|command| _ = command.stdin(Stdio::piped())).start();
    let mut keyboard = hub.child.stdin.take().unwrap();
    keyboard.write_all(b"\x13").unwrap();
    upload(&hub);
    keyboard.write_all(b"\x11").unwrap();
    hub.wait_for("dropped_lines: ");
    keyboard.write_all(b"\x03").unwrap();
    hub.wait_for("action: shutdown | result: success");
    assert_eq!(hub.end().0.code(), Some(0));
}

#[test]
fn an_end_with_an_error_does_not_wait_for_a_reader_of_standard_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
    while filler.write(&[b'.'; 512]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut hub = hub().env("SERVER_PORT", "none").with(|command| {
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
    });
    let mut child = None;
    hub = hub.with(|command| child = Some(command.spawn().unwrap()));
    let mut child = child.unwrap();
    eventually("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    drop((hub, reader));
}
