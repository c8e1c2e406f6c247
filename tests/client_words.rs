//! What the client says to people while it works: on a terminal of any width, in a log, and during long waits.
//!
//! The client speaks every ten seconds, and nothing but time makes these pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;
mod common;

use client_kit::{Ended, FakeHub, Start, client, native_frame, rows};
use common::machine::{has, skip};

/// Runs a program with standard error on a terminal of so many columns, and prints what it wrote there.
const ON_A_TERMINAL: &str = "import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, int(sys.argv[1]), 0, 0))
    os.dup2(os.open('/dev/null', os.O_WRONLY), 1)
    os.execv(sys.argv[2], sys.argv[2:])
try:
    while written := os.read(terminal, 65536):
        sys.stdout.buffer.write(written)
        sys.stdout.flush()
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";

fn agency(hub: &FakeHub, protocol: &str, rows: &str) -> Start {
    let start = client().hub(hub.address).env("CLI_PROTOCOL", protocol).env("CLI_BATCH_MAXAMOUNT", "10");
    start.file(".data/agency-1.csv", rows)
}

/// The pictures of the bar: what is on its line after each drawing.
fn pictures(output: &str) -> Vec<String> {
    let drawn = output.split("\x1b[2K").map(|picture| picture.trim_matches(['\r', '\n']).to_owned());
    drawn.filter(|picture| picture.contains('%')).collect()
}

#[test]
fn the_bar_fits_every_terminal_has_no_colours_and_says_when_there_is_no_connection() {
    if !has("python3") {
        return skip("a terminal needs python3");
    }
    for (columns, numbers) in [(20, ""), (40, "20 bets"), (120, "20 bets  no connection")] {
        let hub = FakeHub::new();
        let width = columns.to_string();
        let start = agency(&hub, "native", &rows(40, "\n")).env("NO_COLOR", "1").env("TERM", "xterm");
        let running = start.under(&["python3", "-c", ON_A_TERMINAL, &width]).start();
        let mut peer = hub.accept();
        peer.native_hello(1, 0);
        for _ in 0..4 {
            peer.native_batch();
        }
        peer.native_ack(2);
        drop(peer);
        let mut peer = hub.accept();
        peer.native_hello(1, 2);
        for _ in 0..2 {
            peer.native_batch();
        }
        peer.native_ack(4);
        peer.native();
        peer.native_write(0x83, &[[0; 8], 40u64.to_be_bytes()].concat());
        peer.native();
        peer.native_write(0x84, &[0, 0, 0, 0]);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let pictures = pictures(&ended.log);
        assert!(!pictures.is_empty(), "{}", ended.log);
        for picture in &pictures {
            // The library fills the line with spaces.
            let (all, shown) = (picture.chars().count(), picture.trim_end().chars().count());
            assert!(shown < columns && all <= columns && !picture.contains('\x1b'), "{columns}: {picture:?}");
        }
        assert!(pictures.iter().any(|picture| picture.contains(numbers)), "{columns}: {pictures:?}");
    }
}

#[test]
fn a_long_upload_without_a_terminal_is_told_of_every_ten_seconds() {
    let hub = FakeHub::new();
    let running = agency(&hub, "native", &rows(40, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(1, 0);
    for _ in 0..4 {
        peer.native_batch();
    }
    peer.native_ack(1);
    running.wait_for("action: upload | result: in_progress | client_id: 1 | bets: 10 | done: 24% | rate: 1/s");
    running.signal("TERM");
    running.end();
}

/// The seconds that each line says the client has waited; on a busy machine it comes late.
fn waited(ended: &Ended) -> Vec<u64> {
    let start = "action: consulta_ganadores | result: in_progress | client_id: 1 | waited: ";
    let lines = ended.said("consulta_ganadores");
    let told = lines.iter().filter_map(|line| line.strip_prefix(start));
    told.map(|rest| rest.split_once("s | reason: ").unwrap().0.parse().unwrap()).collect()
}

#[test]
fn a_client_that_waits_for_the_draw_says_every_ten_seconds_for_how_long() {
    let hub = FakeHub::new();
    let running = agency(&hub, "binary", &rows(1, "\n")).start();
    let mut peer = hub.accept();
    peer.binary_until_the_query();
    running.wait_for("s | reason: no winners yet");
    peer.write(&[0, 0, 0, 0, 0]);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let waited = waited(&ended);
    assert!(waited[0] >= 10, "{waited:?}");
}

#[test]
fn a_client_that_waits_for_the_draw_says_whom_for_where_the_hub_tells() {
    let hub = FakeHub::new();
    let running = agency(&hub, "native", &rows(1, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(1, 0);
    peer.native_batch();
    peer.native_ack(1);
    assert_eq!(peer.native().0, 0x02);
    peer.native_write(0x83, &[[0; 8], 1u64.to_be_bytes()].concat());
    assert_eq!((peer.native().0, peer.native().0), (0x03, 0x05), "the query, and the watch behind it");
    let waiting = |missing: u32, named: &[u32]| {
        let ids = named.iter().flat_map(|id| id.to_be_bytes());
        let named = u8::try_from(named.len()).unwrap();
        missing.to_be_bytes().into_iter().chain([named]).chain(ids).collect::<Vec<u8>>()
    };
    peer.native_write(0x86, &waiting(5, &[2, 5]));
    running.wait_for(" | reason: waiting for agencies 2, 5 (and 3 more)");
    peer.native_write(0x86, &waiting(1, &[5]));
    running.wait_for(" | reason: waiting for agency 5");
    // What an earlier hub says of the watch stands behind the winners; a client that has read them may close at once.
    let unknown = native_frame(0x85, b"\x00\x01unknown kind of frame");
    peer.write(&[native_frame(0x84, &[0, 0, 0, 0]), unknown].concat());
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let waited = waited(&ended);
    assert!(waited[0] < 10 && waited[1] >= 10, "at once, and ten seconds later: {waited:?}");
}

#[test]
fn a_name_that_is_never_known_is_given_up_long_before_a_hub_that_is_away() {
    let start = client().env("CLI_SERVER_ADDRESS", "unknown.invalid:12345").env("CLI_PATIENCE", "1000h");
    let ended = start.file(".data/agency-1.csv", &rows(1, "\n")).run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let said = ended.said("connect");
    assert!(said[0].ends_with("the client tries for 15s at most, as this name was never known"), "{}", ended.log);
    assert!(!ended.log.contains("the client gives up in 9"), "no patience of hours is promised: {}", ended.log);
    let last = *said.last().unwrap();
    assert!(
        last.contains("unknown.invalid cannot be looked up: ") && last.contains("name the hub with --server"),
        "{last}"
    );
}
