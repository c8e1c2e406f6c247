//! The lines of the log beside the course's: who speaks for whom, what the draw waits for, what a signal asks for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use common::{Peer, binary, binary_batch, binary_bet, hub};

/// SIGUSR1 on Linux, where CI and the servers run.
const SIGUSR1: i32 = 10;

/// The address of the test's end of a connection, as a line has it.
fn from(peer: &Peer) -> String {
    let address = peer.stream.local_addr().unwrap();
    format!("ip: {} | port: {}", address.ip(), address.port())
}

/// The log from a line's action on.
fn lines(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| Some(&line[line.find("action: ")?..])).collect()
}

#[test]
fn the_first_line_says_what_the_hub_is() {
    let hub = hub().env("LOTTERY_AGENCIES", "1-3,9").env("LIMITS_DIALECTS", "native,binary").start();
    let address = hub.address;
    let (version, line) = (env!("CARGO_PKG_VERSION"), hub.wait_for("action: start"));
    let fields = format!(
        "INFO     action: start | result: success | version: {version} | address: {address} | store: bets.csv | \
         agencies: 4 | ids: 1-3,9 | dialects: native,binary | tls: off | status: bets.csv.sock | timezone: UTC"
    );
    assert!(line.ends_with(&fields), "{line}");
}

#[test]
fn a_connection_says_who_it_is_what_it_stored_and_that_it_ended() {
    let hub = hub().env("LOTTERY_AGENCIES", "1-2").env("LOGGING_LEVEL", "DEBUG").start();
    let mut peer = hub.connect();
    let from = from(&peer);
    peer.send(&binary_batch(2, 30_904_465, 1));
    peer.expect(&[0]);
    let two = [binary_bet("Ana", "Paz", 2, 19_990_317, 1), binary_bet("Ana", "Paz", 3, 19_990_317, 1)].concat();
    peer.send(&binary(1, &[2, 2], &two));
    peer.expect(&[0]);
    peer.send(&binary(2, &[2], &[]));
    peer.expect(&[0]);
    drop(peer);
    hub.wait_for(&format!("INFO     action: disconnect | result: success | {from} | dialect: binary | agency: 2"));
    let silent = hub.connect();
    let silent_from = self::from(&silent);
    drop(silent);
    hub.wait_for(&format!("DEBUG    action: disconnect | result: success | {silent_from} | dialect: unknown"));
    let log = hub.log();
    let of_agency: Vec<&str> = lines(&log).into_iter().filter(|line| line.contains("agenc")).collect();
    let hello = format!("action: hello | result: success | {from} | dialect: binary | agency: 2");
    let finish = format!("action: finish | result: success | {from} | dialect: binary | agency: 2 | bets: 3");
    let at = of_agency.iter().position(|line| *line == hello).unwrap_or_else(|| panic!("no hello in\n{log}"));
    assert_eq!(
        of_agency[at + 1..at + 4],
        [
            "action: apuesta_recibida | result: success | cantidad: 1 | agencia: 2 | apuestas: 1",
            "action: apuesta_recibida | result: success | cantidad: 2 | agencia: 2 | apuestas: 3",
            &finish,
        ]
    );
}

#[test]
fn totals_go_on_where_an_earlier_run_ended_and_its_agency_is_lost_until_it_returns() {
    let first = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = first.connect();
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[0]);
    let hub = common::in_folder(first.kill()).env("LOTTERY_AGENCIES", "1").start();
    hub.wait_for("WARNING  action: agency_lost | result: in_progress | agency: 1");
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 2, 1));
    peer.expect(&[0]);
    hub.wait_for("INFO     action: agency_returned | result: success | agency: 1");
    hub.wait_for("action: apuesta_recibida | result: success | cantidad: 1 | agencia: 1 | apuestas: 2");
}

#[test]
fn without_lines_for_batches_a_summary_stands_for_them() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LOG_BATCHES", "off").env("LOGGING_LEVEL", "DEBUG").start();
    let mut peer = hub.connect();
    for agency in [1, 2, 2] {
        peer.send(&binary_batch(agency, 1, 1));
        peer.expect(&[0]);
    }
    peer.send(&binary_batch(3, 1, 1));
    peer.expect(&[1]);
    hub.wait_for("action: batches_stored | result: success | batches: ");
    // The end brings what the last second did not.
    peer.send(&binary_batch(1, 2, 1));
    peer.expect(&[0]);
    let (_, log) = hub.terminate();
    let summaries: Vec<u64> = log
        .lines()
        .filter_map(|line| line.split_once("batches_stored | result: success | batches: "))
        .map(|(_, rest)| rest.split(' ').next().unwrap().parse::<u64>().unwrap())
        .collect();
    assert_eq!(summaries.iter().sum::<u64>(), 4, "{log}");
    assert!(log.contains("| total: 4"), "{log}");
    assert!(!log.contains("apuesta_almacenada") && !log.contains("apuesta_recibida | result: success"), "{log}");
    assert!(log.contains("apuesta_recibida | result: fail | cantidad: 1"), "what is rejected has its line: {log}");
}

#[test]
fn what_is_rejected_or_refused_names_the_agency_and_the_address() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(3, 1, 1));
    peer.expect(&[1]);
    peer.send(&binary(2, &[9], &[]));
    peer.expect(&[1]);
    let unknown = "reason: the agency is not of this draw";
    hub.wait_for(&format!("apuesta_recibida | result: fail | cantidad: 1 | agencia: 3 | ip: 127.0.0.1 | {unknown}"));
    hub.wait_for(&format!("query | result: fail | ip: 127.0.0.1 | agency: 9 | {unknown}"));
    let mut native = hub.connect();
    native.send(b"\xb7LN\x01\0\0\0\x07");
    hub.wait_for(&format!("receive_message | result: fail | ip: 127.0.0.1 | agency: 7 | {unknown}, connection closed"));
}

#[test]
fn a_signal_writes_the_state_into_the_log_and_ends_nothing() {
    let hub = hub().env("LOTTERY_AGENCIES", "3").start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(2, 1, 1));
    peer.expect(&[0]);
    peer.send(&binary(2, &[3], &[]));
    peer.expect(&[0]);
    for times in 1..=2 {
        hub.signal(SIGUSR1);
        hub.wait_for_count("activity: speaking", times);
    }
    let log = hub.log();
    let state: Vec<&str> = lines(&log).into_iter().filter(|line| line.starts_with("action: state ")).collect();
    assert_eq!(state.len() % 2, 0, "{state:?}");
    let (first, second) = state.split_at(state.len() / 2);
    assert_eq!(first, second);
    let head = "action: state | result: success |";
    let buffered = first[0].split("buffered_bytes: ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(
        first,
        [
            &format!(
                "{head} draw: open | agencies: 3 | finished: 1 | excluded: 0 | bets: 1 | connections: 1 | parked: 0 | \
                 buffered_bytes: {buffered} | store: writable"
            ),
            &format!("{head} agency: 1 | standing: never seen | bets: 0 | batches: 0 | connections: 0 | parked: 0"),
            // By the connection, which goes on with another agency.
            &format!("{head} agency: 2 | standing: connected | bets: 1 | batches: 1 | connections: 1 | parked: 0"),
            &format!("{head} agency: 3 | standing: finished | bets: 0 | batches: 0 | connections: 1 | parked: 0"),
            &format!("{head} connections: 1 | dialect: binary | activity: speaking"),
        ]
    );
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[0]);
}

#[test]
fn of_many_agencies_the_state_has_those_that_have_been_seen() {
    let hub = hub().env("LOTTERY_AGENCIES", "150").start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(140, 1, 1));
    peer.expect(&[0]);
    hub.signal(SIGUSR1);
    hub.wait_for("action: state | result: success | agencies_left_out: 50");
    assert_eq!(hub.count("action: state | result: success | agency: 140 | standing: connected | bets: 1 "), 1);
}

#[test]
fn a_frame_that_times_out_says_as_what_it_was_read_and_how_much_of_it_came() {
    let hub = hub().env("LIMITS_FRAME_TIMEOUT", "50ms").env("LIMITS_ECHO", "on").start();
    let mut peer = hub.connect();
    // A length of key-value, 656,645 bytes behind its own four, and the first of them.
    let mut frame = 656_645_u32.to_be_bytes().to_vec();
    frame.extend(std::iter::repeat_n(b'x', 336));
    peer.send(&frame);
    let reason = "reason: a frame begun and not ended within FRAME_TIMEOUT, read as";
    hub.wait_for(&format!("{reason} key-value: 340 of 656,649 bytes"));
    let mut peer = hub.connect_and_speak();
    peer.send(&[0, 0, 0]);
    hub.wait_for(&format!("{reason} binary: 3 bytes"));
}

#[test]
fn an_echoed_line_that_looks_like_a_bet_is_a_warning() {
    let hub = hub().start();
    let bet = "Santiago Lionel,Lorca,30904465,1999-03-17,7574";
    for line in [bet, "Message 1, of 2, on 2024-08-21", "a,b,c,d,e"] {
        let mut peer = hub.connect();
        peer.send(format!("{line}\n").as_bytes());
        peer.expect(format!("{line}\n").as_bytes());
    }
    let warning = "WARNING  action: receive_message | result: fail | ip: 127.0.0.1 | reason: it looks like a bet";
    assert!(hub.wait_for(warning).ends_with(&format!("| msg: {bet}")));
    hub.wait_for(
        "INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: Message 1, of 2, on 2024-08-21",
    );
    hub.wait_for("INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: a,b,c,d,e");
    assert_eq!(hub.count("WARNING"), 1);
    let mut peer = hub.connect();
    peer.send(b"\x16\x03\x01\x00\x02hi");
    peer.expect(b"\x16\x03\x01\x00\x02hi");
    hub.wait_for(
        "| reason: it looks like TLS, and this hub has no [TLS] CERT, so it was sent back and nothing is stored",
    );
}

#[test]
fn in_json_each_line_is_an_object_with_the_same_keys() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("LOG_FORMAT", "json").env("LOGGING_LEVEL", "DEBUG");
    let hub = hub.start_with_output(std::process::Stdio::piped());
    let mut hub = hub;
    let mut out = hub.child.stdout.take().unwrap();
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 1, 7574));
    peer.expect(&[0]);
    let mut odd = hub.connect();
    let line = b"quote \" backslash \\ | \x01 \xff\n";
    odd.send(line);
    odd.expect(line);
    drop((peer, odd));
    hub.signal(15);
    let mut log = String::new();
    std::io::Read::read_to_string(&mut out, &mut log).unwrap();
    let log: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(log.len() > 8, "{log:?}");
    assert!(log.iter().all(|line| line["time"].as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z'))));
    let of = |action: &str| log.iter().find(|line| line["action"] == action).unwrap_or_else(|| panic!("no {action}"));
    assert_eq!((&of("apuesta_recibida")["cantidad"], &of("apuesta_recibida")["agencia"]), (&1.into(), &1.into()));
    assert_eq!(of("apuesta_almacenada")["dni"], "00000001");
    assert_eq!(of("receive_message")["msg"], "quote \" backslash \\ . . \u{fffd}");
    assert_eq!((&of("shutdown")["level"], &of("shutdown")["result"]), (&"INFO".into(), &"success".into()));
    hub.child.wait().unwrap();
}
