//! SIGTERM and SIGINT that come twice: a repeat within a moment, as wrappers and shells send it, is the same request;
//! a later one ends the program at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use client_kit::{FakeHub, client};
use common::hub;
use common::machine::{eventually, has, skip};
use rustix::process::{Pid, Signal, kill_process};

/// The pairs that wrappers send.
const PAIRS: [[Signal; 2]; 3] = [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT], [Signal::INT, Signal::TERM]];
/// Signals further apart than this may count as two.
const MOMENT: Duration = Duration::from_millis(100);

fn send(pid: u32, signal: Signal) -> bool {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).is_ok()
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
}

/// Both signals a millisecond apart; says whether it was not much more, on a machine that is busy.
fn send_both(pid: u32, [first, second]: [Signal; 2]) -> bool {
    let began = Instant::now();
    send(pid, first);
    std::thread::sleep(Duration::from_millis(1));
    // It may have ended by now.
    send(pid, second);
    began.elapsed() < MOMENT
}

/// Both signals to a process that is stopped: it finds both when it goes on.
fn send_both_while_stopped(pid: u32) {
    send(pid, Signal::STOP);
    eventually("it is stopped", || is_stopped(pid));
    send(pid, Signal::TERM);
    send(pid, Signal::INT);
    send(pid, Signal::CONT);
}

fn assert_orderly_hub(hub: common::Hub) {
    let (status, log) = hub.end();
    assert_eq!(status.code(), Some(0), "{log}");
    for line in ["close_listener", "close_connection", "close_store", "shutdown"] {
        assert_eq!(log.matches(&format!("action: {line} | result: success")).count(), 1, "{line}: {log}");
    }
}

#[test]
fn a_repeated_signal_counts_once_for_the_hub() {
    for pair in PAIRS {
        let (hub, peer) = loop {
            let hub = hub().start();
            // The hub waits for a peer that is connected, so that the second signal meets it.
            let peer = hub.connect();
            hub.wait_for("action: accept_connections | result: success");
            if send_both(hub.child.id(), pair) {
                break (hub, peer);
            }
        };
        assert_orderly_hub(hub);
        drop(peer);
    }
}

#[test]
fn two_signals_to_a_stopped_hub_count_once() {
    let hub = hub().start();
    let peer = hub.connect();
    hub.wait_for("action: accept_connections | result: success");
    send_both_while_stopped(hub.child.id());
    assert_orderly_hub(hub);
    drop(peer);
}

#[test]
fn a_later_signal_ends_the_hub_at_once() {
    // The hub's orderly end takes no longer than its peers let it, at most half a second: on a busy machine it may be
    // over first.
    let ended_at_once = (0..20).any(|_| {
        let mut hub = hub().start();
        let peer = hub.connect();
        hub.wait_for("action: accept_connections | result: success");
        send(hub.child.id(), Signal::TERM);
        hub.wait_for("action: close_listener");
        let status = loop {
            if let Some(status) = hub.child.try_wait().unwrap() {
                break status;
            }
            send(hub.child.id(), Signal::TERM);
            std::thread::sleep(Duration::from_millis(5));
        };
        drop(peer);
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        status.code() == Some(1) && !hub.log().contains("action: shutdown")
    });
    assert!(ended_at_once);
}

#[test]
fn a_repeated_signal_counts_once_for_the_client() {
    for pair in PAIRS {
        let ended = loop {
            let hub = FakeHub::new();
            let running = client().hub(hub.address).env("CLI_MODE", "echo").start();
            let mut peer = hub.accept();
            peer.line();
            if send_both(running.id(), pair) {
                break running.end();
            }
        };
        assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.log);
        assert_eq!((ended.said("close_connection").len(), ended.said("shutdown").len()), (1, 1), "{}", ended.log);
    }
}

#[test]
fn two_signals_to_a_stopped_client_count_once() {
    let hub = FakeHub::new();
    let running = client().hub(hub.address).env("CLI_MODE", "echo").start();
    let mut peer = hub.accept();
    peer.line();
    send_both_while_stopped(running.id());
    let ended = running.end();
    assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.log);
    assert_eq!((ended.said("close_connection").len(), ended.said("shutdown").len()), (1, 1), "{}", ended.log);
}

/// Whether the program is in a read of the file.
fn reads(pid: u32, file: &Path) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let mut fields = call.split(' ');
    let is_read = fields.next() == Some("0");
    let descriptor = fields.next().and_then(|field| u32::from_str_radix(field.trim_start_matches("0x"), 16).ok());
    let opened = |descriptor| std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok();
    is_read && descriptor.and_then(opened).is_some_and(|opened| opened == file)
}

#[test]
fn a_later_signal_ends_a_client_that_is_blocked_in_a_read() {
    if !has("strace") {
        return skip("a file whose reads take long needs strace");
    }
    std::thread::scope(|scope| {
        for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
            scope.spawn(move || ends_in_a_read(signal, code));
        }
    });
}

fn ends_in_a_read(signal: Signal, code: i32) {
    let start = client().env("CLI_MODE", "agency").env("CLI_DATA", "bets.csv");
    let file = start.folder().canonicalize().unwrap().join("bets.csv");
    std::fs::write(&file, "Ana,Paz,1,1999-03-17,7\n").unwrap();
    // As of a file on a network whose server is away. strace tells of the end once the delay is over.
    let path = file.display().to_string();
    let slow = ["strace", "-D", "-f", "-o", "/dev/null", "-P", &path, "-e", "inject=read:delay_enter=5000000"];
    let running = start.under(&slow).start();
    let pid = running.id();
    eventually("the client reads the file", || reads(pid, &file));
    send(pid, signal);
    let again = std::thread::spawn(move || {
        while send(pid, signal) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let ended = running.end();
    again.join().unwrap();
    assert_eq!((ended.code, ended.said("shutdown").len()), (Some(code), 0), "{}", ended.log);
}
