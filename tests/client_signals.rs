//! SIGTERM and SIGINT end the client in whatever state it is: everything closed and logged. The exit code is 0, or 130
//! after SIGINT where bets or winners remain.
//!
//! The waits that are cut short here are hours long, so that a client that waited would never end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;

use std::io::Write;

use client_kit::{Client, Ended, FakeHub, Start, client, rows};

fn agency(hub: &FakeHub, protocol: &str) -> Start {
    client().hub(hub.address).env("CLI_PROTOCOL", protocol).file(".data/agency-1.csv", &rows(5, "\n"))
}

/// Signals it, and checks its end; `closes` are the resources that it must have closed.
fn stop(running: Client, signal: &str, closes: &[&str]) -> Ended {
    running.signal(signal);
    let ended = running.end();
    let remains = ended.said("upload").len();
    assert_eq!(remains > 0, closes.contains(&"file") && !ended.log.contains("cant_ganadores"), "{}", ended.log);
    let code = if signal == "INT" && remains > 0 { 130 } else { 0 };
    assert_eq!((ended.code, ended.signal, ended.errors.as_str()), (Some(code), None, ""), "{}", ended.log);
    assert!(!ended.log.contains("result: fail"), "{}", ended.log);
    let mut expected: Vec<_> =
        closes.iter().map(|what| format!("INFO     action: close_{what} | result: success | client_id: 1")).collect();
    expected.push("INFO     action: shutdown | result: success | client_id: 1".to_owned());
    let lines = ended.lines();
    assert_eq!(lines[lines.len() - expected.len()..], expected, "{}", ended.log);
    ended
}

#[test]
fn in_a_pause_before_connecting_again() {
    let hub = FakeHub::absent();
    for signal in ["TERM", "INT"] {
        let running = agency(&hub, "native").start();
        running.wait_for("retry_in: 1.6s");
        stop(running, signal, &["file"]);
    }
}

#[test]
fn while_connecting() {
    let (hub, _pending) = FakeHub::unresponsive();
    let running = agency(&hub, "native").start();
    running.wait_for("action: mode");
    stop(running, "TERM", &["file"]);
}

#[test]
fn while_the_welcome_is_awaited() {
    let hub = FakeHub::new();
    let running = agency(&hub, "native").start();
    let mut peer = hub.accept();
    peer.read(8);
    stop(running, "TERM", &["connection", "file"]);
    assert_eq!(peer.rest(), b"");
}

#[test]
fn while_a_batch_is_on_its_way() {
    for signal in ["TERM", "INT"] {
        let hub = FakeHub::new();
        let running = agency(&hub, "binary").start();
        let mut peer = hub.accept();
        peer.binary_batch();
        stop(running, signal, &["connection", "file"]);
        assert_eq!(peer.rest(), b"");
    }
}

/// A client whose data is the pipe at the path that is returned.
fn of_a_pipe(hub: &FakeHub) -> (Start, std::path::PathBuf) {
    let start = client().hub(hub.address).env("CLI_BATCH_MAXAMOUNT", "2").arg("--data").arg("pipe");
    let pipe = start.folder().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    (start, pipe)
}

#[test]
fn while_a_program_is_awaited_that_writes_to_its_pipe() {
    let (start, _pipe) = of_a_pipe(&FakeHub::absent());
    let running = start.start();
    running.wait_for("action: mode");
    stop(running, "TERM", &[]);
}

#[test]
fn while_more_bets_are_awaited_from_a_pipe() {
    for signal in ["TERM", "INT"] {
        let hub = FakeHub::new();
        let (start, pipe) = of_a_pipe(&hub);
        let running = start.start();
        let mut writer = std::fs::File::options().write(true).open(pipe).unwrap();
        writer.write_all(rows(2, "\n").as_bytes()).unwrap();
        let mut peer = hub.accept();
        peer.native_hello(1, 0);
        while rustix::io::ioctl_fionread(&writer).unwrap() > 0 {
            std::thread::yield_now();
        }
        stop(running, signal, &["connection", "file"]);
    }
}

#[test]
fn while_the_winners_are_awaited() {
    let hub = FakeHub::new();
    let running = agency(&hub, "binary").start();
    let mut peer = hub.accept();
    peer.binary_until_the_query();
    stop(running, "TERM", &["connection", "file"]);
    assert_eq!(peer.rest(), b"");
}

#[test]
fn between_two_queries() {
    let hub = FakeHub::new();
    let running = agency(&hub, "binary").start();
    let mut peer = hub.accept();
    peer.binary_until_the_query();
    peer.write(&[1]);
    running.wait_for("action: consulta_ganadores | result: in_progress");
    stop(running, "TERM", &["connection", "file"]);
}

#[test]
fn while_a_full_hub_is_waited_for() {
    let hub = FakeHub::new();
    let running = agency(&hub, "native").start();
    let mut peer = hub.accept();
    peer.native_hello(1, 0);
    for _ in 0..4 {
        peer.native_batch();
        peer.native_write(0x82, &[&0u64.to_be_bytes()[..], &[0, 7], b"full"].concat());
    }
    running.wait_for("retry_in: 1.6s");
    stop(running, "TERM", &["connection", "file"]);
}

#[test]
fn while_lingering_after_the_work() {
    let hub = FakeHub::new();
    let running = agency(&hub, "binary").env("CLI_LINGER", "1000h").start();
    let mut peer = hub.accept();
    peer.binary_until_the_query();
    peer.write(&[0, 0, 0, 0, 0]);
    running.wait_for("cant_ganadores: 0");
    stop(running, "TERM", &["connection", "file"]);
}

#[test]
fn lingering_after_a_failure_does_not_make_it_a_success() {
    let hub = FakeHub::new();
    let running = agency(&hub, "binary").env("CLI_LINGER", "1000h").start();
    let mut peer = hub.accept();
    peer.binary_batch();
    peer.write(&[1]);
    running.wait_for("result: fail");
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.said("shutdown").len(), 1);
}

#[test]
fn between_two_messages_of_the_echo_loop() {
    let hub = FakeHub::new();
    let running = client().hub(hub.address).env("CLI_MODE", "echo").env("CLI_LOOP_PERIOD", "1000h").start();
    let mut peer = hub.accept();
    let line = peer.line();
    peer.write(line.as_bytes());
    running.wait_for("Message N°1");
    stop(running, "TERM", &[]);
}

#[test]
fn while_an_echo_is_awaited() {
    let hub = FakeHub::new();
    let running = client().hub(hub.address).env("CLI_MODE", "echo").start();
    let mut peer = hub.accept();
    peer.line();
    stop(running, "INT", &["connection"]);
    assert_eq!(peer.rest(), b"");
}
