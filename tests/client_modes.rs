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
            "INFO     action: mode | result: success | client_id: 7 | address_from: CLI_SERVER_ADDRESS | mode: echo",
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
    let running = client().hub(hub.address).env("CLI_MODE", "echo").env("CLI_LOOP_PERIOD", "1ms").start();
    let mut peer = hub.accept();
    let line = peer.line();
    peer.write(&line.as_bytes()[..5]);
    drop(peer);
    let mut peer = hub.accept();
    assert_eq!(peer.line(), line);
    peer.write(line.as_bytes());
    let mut peer = hub.accept();
    assert_eq!(peer.line(), line.replace("N°1", "N°2"));
    peer.write(b"[CLIENT 1] Mess|ge\n");
    let ended = running.end();
    let again = ended.said("connect").into_iter().filter(|line| line.ends_with("| reason: connected again")).count();
    assert_eq!(again, 1, "{}", ended.log);
    assert_eq!(ended.code, Some(1));
    let expected = "action: receive_message | result: fail | client_id: 1 | msg: [CLIENT 1] Mess.ge | \
                    error: the answer is not what was sent";
    assert_eq!(ended.said("receive_message")[1..], [expected]);
}

#[test]
fn a_loop_of_no_messages_is_finished_at_once() {
    let ended = client().env("CLI_MODE", "echo").env("CLI_LOOP_AMOUNT", "0").run();
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
    assert!(ended.said("finish")[0].contains("reason: the agency has not finished: "), "{}", ended.log);
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
fn auto_is_bet_then_agency_and_echo_is_asked_for() {
    let hub = FakeHub::new();
    let data = |start: Start| start.file(".data/agency-1.csv", &rows(1, "\n"));
    for (start, mode) in [
        (with_bet(data(client())), "bet"),
        (data(client()), "agency"),
        (with_bet(data(client())).env("CLI_MODE", "agency"), "agency"),
        (with_bet(data(client())).env("CLI_MODE", "echo"), "echo"),
    ] {
        let running = start.hub(hub.address).start();
        running.wait_for(&format!(
            "action: mode | result: success | client_id: 1 | address_from: CLI_SERVER_ADDRESS | mode: {mode}"
        ));
        running.signal("TERM");
        assert_eq!(running.end().code, Some(0));
    }
}

#[test]
fn flags_go_before_the_environment_and_the_file() {
    let hub = FakeHub::new();
    let start = client().env("CLI_ID", "2").env("CLI_PROTOCOL", "native").env("CLI_SERVER_ADDRESS", "wrong:1");
    let start = start.file("config.yaml", "id: 1\ndata: wrong.csv\n").file("own.csv", &rows(1, "\n"));
    let address = hub.address.to_string();
    let flags = ["--id", "3", "--server", &address, "--data", "own.csv", "--protocol", "binary"];
    let running = flags.into_iter().fold(start, Start::arg).start();
    let mut peer = hub.accept();
    assert_eq!(peer.binary_batch(), [30_000_001]);
    peer.write(&[0]);
    assert_eq!(peer.binary(), (2, vec![0, 0, 0, 3]));
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(
        ended.said("mode"),
        ["action: mode | result: success | client_id: 3 | address_from: --server | mode: agency | protocol: binary | \
          data: own.csv | batch_max: 62"]
    );
}

#[test]
fn a_file_of_the_command_line_is_uploaded_although_a_bet_is_in_the_environment() {
    let hub = FakeHub::new();
    for mode in ["auto", "bet"] {
        let start = with_bet(client().hub(hub.address).env("CLI_MODE", mode).env("CLI_PROTOCOL", "binary"));
        let running = start.file("own.csv", &rows(1, "\n")).arg("--data").arg("own.csv").start();
        assert_eq!(hub.accept().binary_batch(), [30_000_001]);
        running.signal("TERM");
        running.end();
    }
}

#[test]
fn a_misspelt_variable_is_warned_about_before_the_error_that_ends_the_client() {
    let warning = "client: warning: environment: nothing reads CLI_SERVER_ADRESS; CLI_SERVER_ADDRESS is read\n";
    for (name, value, says) in [("CLI_DATA", "missing.csv", "client: data is"), ("CLI_ID", "x", "client: environment:")]
    {
        let ended = client().env("CLI_SERVER_ADRESS", "hub:1").env(name, value).run();
        assert_eq!(ended.code, Some(2));
        assert!(ended.errors.strip_prefix(warning).is_some_and(|rest| rest.starts_with(says)), "{}", ended.errors);
    }
}

#[test]
fn without_any_word_of_the_hub_it_is_the_same_machine_s_and_the_image_has_another_default() {
    let rows = rows(1, "\n");
    let start = || client().env("CLI_PATIENCE", "0s").file(".data/agency-1.csv", &rows);
    for (start, address, from) in [
        (start(), "localhost:12345", "default"),
        (start().env("CLI_SERVER_ADDRESS_DEFAULT", "localhost:1"), "localhost:1", "CLI_SERVER_ADDRESS_DEFAULT"),
    ] {
        let running = start.start();
        running.wait_for(&format!("server_address: {address} | loop_amount"));
        running.wait_for(&format!("address_from: {from} |"));
        running.signal("TERM");
        running.end();
    }
}

#[test]
fn variables_that_look_like_ours_are_warned_about_and_others_are_not() {
    let start =
        client().env("CLI_IDD", "3").env("CLICOLOR", "1").env("CLI_WIDTH", "80").env("CLI_BATCH_MAX_AMOUNT", "7");
    let ended = start.env("CLI_MODE", "echo").env("CLI_LOOP_AMOUNT", "0").run();
    let warned: Vec<_> = ended.lines().into_iter().filter(|line| line.starts_with("WARNING")).collect();
    let warning = |name: &str, meant: &str| {
        format!(
            "WARNING  action: config | result: success | client_id: 1 | warning: environment: nothing reads {name}; {meant} is read"
        )
    };
    let expected = [warning("CLI_BATCH_MAX_AMOUNT", "CLI_BATCH_MAXAMOUNT"), warning("CLI_IDD", "CLI_ID")];
    assert_eq!(warned, expected);
    assert_eq!(ended.code, Some(0));
}

#[test]
fn a_missing_file_or_a_folder_in_its_place_is_refused_and_never_echoed() {
    let missing = "client: data is '.data/agency-1.csv': there is no such file; name the agency's file with --data";
    let folder = "client: data is '.data/agency-1.csv': it is a folder; name";
    for mode in ["auto", "agency"] {
        for (start, says) in [
            (client(), missing),
            (client().file(".data/agency-1.csv/kept", ""), folder),
            (client().arg("--data").arg("bets.csv"), "client: data is 'bets.csv': there is no such file; name"),
        ] {
            let ended = start.env("CLI_MODE", mode).run();
            assert_eq!((ended.code, ended.log.as_str()), (Some(2), ""), "{}", ended.errors);
            assert!(ended.errors.starts_with(says) && ended.errors.lines().count() == 1, "{}", ended.errors);
        }
    }
}

#[test]
fn a_wrong_value_is_one_line_on_standard_error_and_exit_2() {
    for (start, says) in [
        (client().file("config.yaml", "loop: {period: 5}"), "client: config.yaml: loop.period is '5', not a duration"),
        (client().file("config.yaml", "loop: [1"), "client: config.yaml line "),
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
        (client().arg("--id").arg("zero"), "client: --id is 'zero', not a number"),
        (client().arg("--winners").arg("list"), "client: --winners is 'list', not a file ending in .csv or .json"),
        (client().arg("--check").arg("absent.csv"), "client: --check is 'absent.csv': No such file"),
        (
            client().env("CLI_MODE", "echo").arg("--winners").arg("w.csv"),
            "client: winners needs mode agency, and the mode is echo",
        ),
        (
            client().file("own.csv", "").arg("--data").arg("own.csv").arg("--winners").arg("absent/w.csv"),
            "client: winners is 'absent/w.csv': there is no such folder",
        ),
        (
            // Not even root may make files there.
            client().file("own.csv", "").arg("--data").arg("own.csv").arg("--winners").arg("/proc/sys/w.csv"),
            "client: winners is '/proc/sys/w.csv': no file can be made in its folder: ",
        ),
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
            "WARNING  action: config | result: success | client_id: 4 | warning: own.yaml: nothing reads the key log.levle; log.level is read",
            "INFO     action: mode | result: success | client_id: 4 | address_from: own.yaml | mode: echo",
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
