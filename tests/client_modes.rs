//! The client's echo loop, its single bet, its choice between them, and its configuration.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;

use client_kit::{FakeHub, Start, client, rows};

const BET: [(&str, &str); 5] = [
    ("NOMBRE", "Santiago Lionel"),
    ("APELLIDO", "Lorca"),
    ("DOCUMENTO", "30904465"),
    ("NACIMIENTO", "1999-03-17"),
    ("NUMERO", "7574"),
];

fn with_bet(start: Start) -> Start {
    BET.iter().fold(start, |start, (name, value)| start.env(name, value))
}

#[test]
fn the_echo_loop_sends_numbered_lines_each_on_a_connection_of_its_own() {
    let hub = FakeHub::new();
    let running = client()
        .hub(hub.address)
        .env("CLI_ID", "7")
        .env("CLI_MODE", "echo")
        .env("CLI_LOOP_AMOUNT", "3")
        .env("CLI_LOOP_PERIOD", "1ms")
        .env("CLI_LOG_LEVEL", "INFO")
        .start();
    for number in 1..=3 {
        let mut peer = hub.accept();
        let line = peer.line();
        assert_eq!(line, format!("[CLIENT 7] Message N°{number}\n"));
        // However the answer is cut, it is one message.
        for byte in line.as_bytes() {
            peer.write(&[*byte]);
        }
        assert_eq!(peer.rest(), b"");
    }
    let ended = running.end();
    let lines = ended.lines();
    assert_eq!(
        lines[1..],
        [
            "INFO     action: receive_message | result: success | client_id: 7 | msg: [CLIENT 7] Message N°1",
            "INFO     action: receive_message | result: success | client_id: 7 | msg: [CLIENT 7] Message N°2",
            "INFO     action: receive_message | result: success | client_id: 7 | msg: [CLIENT 7] Message N°3",
            "INFO     action: loop_finished | result: success | client_id: 7",
        ]
    );
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
}

#[test]
fn a_lost_echo_is_sent_again_and_a_wrong_one_stops_the_loop() {
    let hub = FakeHub::new();
    let running = client().hub(hub.address).start();
    let mut peer = hub.accept();
    let line = peer.line();
    peer.write(&line.as_bytes()[..5]);
    drop(peer);
    let mut peer = hub.accept();
    assert_eq!(peer.line(), line);
    peer.write(b"[CLIENT 1] Mess|ge\n");
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    let expected = "action: receive_message | result: fail | client_id: 1 | msg: [CLIENT 1] Mess.ge | \
                    error: the answer is not what was sent";
    assert_eq!(ended.said("receive_message"), [expected]);
}

#[test]
fn a_loop_of_no_messages_is_finished_at_once() {
    let ended = client().env("CLI_LOOP_AMOUNT", "0").run();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.said("loop_finished").len(), 1);
}

#[test]
fn a_single_bet_is_sent_confirmed_and_logged() {
    let hub = FakeHub::new();
    let running = with_bet(client().hub(hub.address).env("CLI_PROTOCOL", "binary")).start();
    let mut peer = hub.accept();
    assert_eq!(peer.binary_batch(), [30_904_465]);
    peer.write(&[0]);
    let ended = running.end();
    assert_eq!((ended.code, peer.rest().len()), (Some(0), 0), "{}", ended.log);
    assert_eq!(
        ended.said("apuesta_enviada"),
        ["action: apuesta_enviada | result: success | dni: 30904465 | numero: 7574"]
    );
}

#[test]
fn a_single_bet_that_is_rejected_is_a_failure() {
    let hub = FakeHub::new();
    let running = with_bet(client().hub(hub.address).env("CLI_PROTOCOL", "binary")).start();
    let mut peer = hub.accept();
    peer.binary_batch();
    peer.write(&[1]);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    let said = ended.said("apuesta_enviada");
    assert!(said[0].starts_with("action: apuesta_enviada | result: fail | dni: 30904465 | numero: 7574 | error: "));
}

#[test]
fn auto_is_bet_then_agency_then_echo() {
    let hub = FakeHub::new();
    let data = |start: Start| start.file(".data/agency-1.csv", &rows(1, "\n"));
    for (start, mode, unasked) in [
        (with_bet(data(client())), "bet", true),
        (data(client()), "agency", true),
        (client(), "echo", true),
        (with_bet(data(client())).env("CLI_MODE", "agency"), "agency", false),
        (with_bet(data(client())).env("CLI_MODE", "echo"), "echo", false),
    ] {
        let running = start.hub(hub.address).start();
        running.wait_for(&format!("action: mode | result: success | client_id: 1 | mode: {mode}"));
        if mode == "echo" && unasked {
            running.wait_for("| mode: echo | data: .data/agency-1.csv | warning: there is no such file, so no bets");
        }
        running.signal("TERM");
        let ended = running.end();
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.log.contains("no such file"), mode == "echo" && unasked, "{}", ended.log);
    }
}

#[test]
fn a_wrong_value_is_one_line_on_standard_error_and_exit_2() {
    for (start, says) in [
        (client().file("config.yaml", "loop: {period: 5}"), "client: config.yaml: loop.period is '5', not a duration"),
        (client().file("config.yaml", "loop: [1"), "client: config.yaml: "),
        (client().env("CLI_ID", "zero"), "client: environment: CLI_ID is 'zero'"),
        (client().env("CLI_PROTOCOL", "echo"), "client: environment: CLI_PROTOCOL is 'echo', not one of binary, "),
        (client().env("NOMBRE", "Ana"), "client: environment: APELLIDO, DOCUMENTO, NACIMIENTO, NUMERO missing"),
        (with_bet(client()).env("CLI_NACIMIENTO", "ayer"), "client: environment: CLI_NACIMIENTO is 'ayer': birthdate"),
        (
            with_bet(client()).env("CLI_PROTOCOL", "case-id"),
            "client: protocol is case-id, which does not acknowledge batches",
        ),
        (client().arg("--config").arg("absent.yaml"), "client: absent.yaml: No such file"),
        (client().arg("--config"), "client: a value is required for '--config <FILE>'"),
        (client().arg("now"), "client: unexpected argument"),
    ] {
        let ended = start.run();
        assert_eq!((ended.code, ended.log.as_str()), (Some(2), ""), "{}", ended.errors);
        assert!(ended.errors.starts_with(says) && ended.errors.lines().count() == 1, "{}", ended.errors);
    }
}

#[test]
fn the_file_is_read_and_unknown_keys_are_warned_about() {
    let ended = client()
        .env("CLI_LOG_LEVEL", "")
        .file(
            "own.yaml",
            "id: 4\nmode: echo\nloop: {amount: 0, period: 150ms}\nserver: {address: 'hub:1'}\nlog: {levle: DEBUG}\n",
        )
        .arg("--config")
        .arg("own.yaml")
        .run();
    assert_eq!(
        ended.lines(),
        [
            "INFO     action: config | result: success | client_id: 4 | server_address: hub:1 | loop_amount: 0 | \
             loop_period: 150ms | log_level: INFO",
            "WARNING  action: config | result: success | client_id: 4 | warning: own.yaml: nothing reads the key log.levle",
            "INFO     action: loop_finished | result: success | client_id: 4",
        ]
    );
}

#[test]
fn help_and_version_are_asked_for_and_nothing_else_is_done() {
    let help = client().arg("--help").run();
    assert!(help.code == Some(0) && help.log.contains("usage: client") && help.log.contains("exit codes"));
    let version = client().arg("--version").run();
    assert_eq!((version.code, version.log), (Some(0), format!("client {}\n", env!("CARGO_PKG_VERSION"))));
}
