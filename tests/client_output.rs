//! A standard output that is stuck, slow, closed or gone: the client's work does not depend on it, a signal is obeyed,
//! and a reader that reads gets every line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;
mod common;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use client_kit::{FakeHub, Peer, Start, client, rows};
use common::machine::{has, skip};
use rustix::fs::OFlags;

/// Batches whose lines are more than the pipe and the client's own room take together.
const MANY: u32 = 15_000;
/// Winners whose lines are more than that.
const WINNERS: u32 = 150_000;

fn hub() -> common::Hub {
    common::hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start()
}

/// An agency that logs a line for each of [`MANY`] batches.
fn agency(hub: &common::Hub) -> Start {
    client()
        .hub(hub.address)
        .env("CLI_MODE", "agency")
        .env("CLI_BATCH_MAXAMOUNT", "1")
        .file(".data/agency-1.csv", &rows(MANY, "\n"))
}

fn assert_uploaded(hub: &common::Hub) {
    assert_eq!(hub.rows().iter().filter(|byte| **byte == b'\n').count(), MANY as usize);
}

/// Whole lines of the log, without their times.
fn whole_lines(output: impl Read) -> Vec<String> {
    let lines = BufReader::new(output).lines().map(Result::unwrap);
    let lines = lines.inspect(|line| assert!(line.starts_with("20") && line.contains(" action: "), "{line}"));
    lines.map(|line| line[20..].to_owned()).collect()
}

#[test]
fn an_unread_pipe_does_not_stop_an_upload() {
    let hub = hub();
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    let other_end = writer.try_clone().unwrap();
    let ended = agency(&hub).start_unread(writer.into()).end();
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    assert_uploaded(&hub);
    // The flags of the pipe are shared with other programs.
    assert_eq!(rustix::fs::fcntl_getfl(&other_end).unwrap(), flags);
    assert!(!flags.contains(OFlags::NONBLOCK));
    drop(other_end);
    assert!(whole_lines_but_the_last(reader).len() > 100);
}

/// The same of what a client left in a pipe when it gave its reader up, which may end within a line.
fn whole_lines_but_the_last(mut output: impl Read) -> Vec<String> {
    let mut text = Vec::new();
    output.read_to_end(&mut text).unwrap();
    let end = text.iter().rposition(|byte| *byte == b'\n').unwrap();
    whole_lines(&text[..=end])
}

#[test]
fn an_unread_socket_a_closed_output_or_a_full_disk_does_not_delay_the_upload() {
    let hub = hub();
    let (_reader, writer) = UnixStream::pair().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (gone, pipe) = std::io::pipe().unwrap();
    drop(gone);
    for stdout in [OwnedFd::from(writer).into(), full.into(), pipe.into(), Stdio::null()] {
        let ended = agency(&hub).start_unread(stdout).end();
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
        assert_uploaded(&hub);
    }
}

#[test]
fn a_signal_is_obeyed_while_the_output_is_not_read() {
    for signal in ["TERM", "INT"] {
        let hub = FakeHub::new();
        let (_reader, writer) = std::io::pipe().unwrap();
        let start = client().hub(hub.address).env("CLI_MODE", "echo").env("CLI_LOOP_PERIOD", "0s");
        let running = start.env("CLI_LOOP_AMOUNT", "1000000000").start_unread(writer.into());
        // Each turn of the loop has a connection of its own.
        for _ in 0..MANY {
            let mut peer = hub.accept();
            let line = peer.line();
            peer.write(line.as_bytes());
        }
        running.signal(signal);
        let ended = running.end();
        assert_eq!((ended.code, ended.signal), (Some(0), None));
    }
}

/// Plays the hub for an agency in `binary` with one batch and [`WINNERS`] winners.
fn draw(peer: &mut Peer) {
    peer.binary_until_the_query();
    let winners = (0..WINNERS).flat_map(|winner| (10_000_000 + winner).to_be_bytes());
    let answer: Vec<u8> = [0].into_iter().chain(WINNERS.to_be_bytes()).chain(winners).collect();
    peer.write(&answer);
}

fn winning_agency(hub: &FakeHub) -> Start {
    client().hub(hub.address).env("CLI_PROTOCOL", "binary").file(".data/agency-1.csv", &rows(1, "\n"))
}

#[test]
fn a_reader_that_is_slow_gets_every_line_to_the_last() {
    let hub = FakeHub::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = winning_agency(&hub).env("CLI_LOG_LEVEL", "INFO").start_unread(writer.into());
    let reading = std::thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), [0; 8192]);
        loop {
            // Slower than the client, which would otherwise never wait.
            std::thread::sleep(Duration::from_millis(1));
            match reader.read(&mut piece).unwrap() {
                0 => return text,
                bytes => text.extend_from_slice(&piece[..bytes]),
            }
        }
    });
    draw(&mut hub.accept());
    assert_eq!(running.end().code, Some(0));
    let lines = whole_lines(&reading.join().unwrap()[..]);
    let winners = lines.iter().filter(|line| line.contains("action: ganador"));
    let expected = (0..WINNERS).map(|winner| {
        format!("INFO     action: ganador | result: success | client_id: 1 | dni: {}", 10_000_000 + winner)
    });
    assert!(winners.cloned().eq(expected));
    assert!(!lines.iter().any(|line| line.contains("dropped_lines")));
}

#[test]
fn more_winners_than_an_unread_pipe_takes_do_not_keep_the_client() {
    let hub = FakeHub::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let running = winning_agency(&hub).start_unread(writer.into());
    draw(&mut hub.accept());
    assert_eq!(running.end().code, Some(0));
    let lines = whole_lines_but_the_last(reader);
    assert!(lines.iter().any(|line| line.ends_with("cant_ganadores: 150000")));
}

#[test]
fn lines_that_were_dropped_are_counted_for_the_next_reader() {
    let hub = FakeHub::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let running =
        winning_agency(&hub).env("CLI_LINGER", "1000h").env("CLI_LOG_LEVEL", "INFO").start_unread(writer.into());
    let mut peer = hub.accept();
    draw(&mut peer);
    // It no longer waits for its reader, and lingers: what it had no room for is dropped.
    running.wait_until_idle();
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let (mut winners, mut dropped) = (0, None);
    while dropped.is_none() && winners < WINNERS {
        let line = lines.next().unwrap();
        winners += u32::from(line.contains("action: ganador"));
        dropped = line.split_once("dropped_lines: ").map(|(_, rest)| {
            let count: String = rest.chars().take_while(char::is_ascii_digit).collect();
            count.parse::<u32>().unwrap()
        });
    }
    assert_eq!(winners + dropped.expect("some are lost"), WINNERS);
    running.signal("TERM");
    assert!(lines.any(|line| line.contains("action: shutdown | result: success")));
    assert_eq!(running.end().code, Some(0));
}

/// Runs a program on a terminal of its own, which takes no output. What this is told on standard input is typed there.
const ON_A_HELD_TERMINAL: &str = "import os, pty, sys
hold = 'import os, sys, termios; termios.tcflow(1, termios.TCOOFF); os.execv(sys.argv[1], sys.argv[1:])'
sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-c', hold] + sys.argv[1:])))";

#[test]
fn a_stopped_terminal_delays_neither_the_upload_nor_the_end() {
    if !has("python3") {
        return skip("a terminal needs python3");
    }
    // The draw waits for another agency.
    let hub = common::hub().env("LOTTERY_AGENCIES", "2").env("STORAGE_FSYNC", "never").start();
    let start = agency(&hub).under(&["python3", "-c", ON_A_HELD_TERMINAL]);
    let mut running = start.env("TERM", "xterm").stdin(Stdio::piped()).start();
    let mut keyboard = running.stdin();
    hub.wait_for_count("action: apuesta_recibida | result: success", MANY as usize);
    keyboard.write_all(b"\x03").unwrap();
    let ended = running.end();
    assert_eq!((ended.code, ended.log.as_str()), (Some(130), ""));
    assert_uploaded(&hub);
}

#[test]
fn wrong_usage_is_refused_although_standard_error_is_not_read() {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
    while filler.write(&[b'.'; 512]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let ended = client().arg("--no-such-flag").stderr(writer.into()).start_unread(Stdio::null()).end();
    assert_eq!(ended.code, Some(2));
    drop(reader);
}
