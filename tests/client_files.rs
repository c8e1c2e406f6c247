//! The client's check of an agency's file, before it sends anything and as it goes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;

use std::io::Write;

use client_kit::{FakeHub, agency_3, client, documents, rows};

#[test]
fn a_bad_row_stops_the_client_before_anything_of_its_batch_is_sent() {
    for (end, protocol) in [("\n", "binary"), ("\r\n", "binary"), ("\r\n", "native")] {
        let hub = FakeHub::new();
        let text = rows(25, end).replace("30000017,1999-03-17", "30000017,1999-02-29");
        let running = agency_3(&hub, protocol, &text).arg("--no-check").start();
        let mut peer = hub.accept();
        if protocol == "binary" {
            assert_eq!(peer.binary_batch(), documents(1, 10));
            peer.write(&[0]);
        } else {
            peer.native_hello(3, 0);
            assert_eq!(peer.native_batch(), (0, 10));
            peer.native_ack(1);
        }
        assert_eq!(peer.rest(), b"", "nothing more is sent");
        let ended = running.end();
        assert_eq!(ended.code, Some(1));
        let critical: Vec<_> = ended.lines().into_iter().filter(|line| line.starts_with("CRITICAL")).collect();
        assert_eq!(
            critical,
            ["CRITICAL action: read_bets | result: fail | client_id: 3 | file: .data/agency-3.csv | line: 17 | \
              error: birthdate must be a real date YYYY-MM-DD, 1900 to 9999"]
        );
        let again = match protocol {
            "native" => "when the error above is corrected, starting again goes on from here",
            _ => "starting again would send all bets again, which binary cannot tell from new ones",
        };
        let remains = ended.said("upload");
        let expected = format!("warning: these bets are stored, the others remain; {again}");
        assert!(remains[0].contains("| bets: 10 | ") && remains[0].ends_with(&expected), "{remains:?}");
    }
}

#[test]
fn nothing_of_a_file_with_bad_rows_is_sent() {
    let hub = FakeHub::new();
    let text = rows(25, "\n").replace("1999-03-17", "17/03/1999").replacen("Ana,Ib\u{e1}\u{f1}ez,30000001", "Ana", 1);
    let ended = agency_3(&hub, "native", &text).run();
    assert_eq!(ended.code, Some(1));
    let said = ended.said("check");
    let start = "action: check | result: fail | client_id: 3 | file: .data/agency-3.csv |";
    assert_eq!(said[0], format!("{start} error: line 1: 'Ana,17/03/1999,1' has 3 fields, where a bet has 5"));
    assert_eq!(
        said[9],
        format!("{start} error: line 10: birthdate is '17/03/1999', must be a real date YYYY-MM-DD, 1900 to 9999")
    );
    let nothing = "error: nothing is sent; client --check shows more rows, --no-check sends up to the first";
    assert_eq!(said[10..], [format!("{start} bets: 0 | bad_rows: 25 | not_shown: 15 | {nothing}")]);
    assert!(ended.said("connect").is_empty(), "{}", ended.log);
}

#[test]
fn the_check_lists_bad_rows_guesses_and_ends_with_one() {
    let check = |text: &str| client().file("own.csv", text).arg("--check").arg("own.csv").run();
    let good = rows(3, "\n");
    let ended = check(&good);
    assert_eq!((ended.code, ended.log.as_str()), (Some(0), "own.csv: 3 bets, 0 bad rows\n"));
    let ended = check(&format!("nombre,apellido,documento,nacimiento,numero\n{good}"));
    assert_eq!(
        (ended.code, ended.log.as_str()),
        (
            Some(1),
            "own.csv: line 1: document is 'documento', must be 1 to 10 digits, at most 4294967295; birthdate is \
             'nacimiento', must be a real date YYYY-MM-DD, 1900 to 9999; number is 'numero', must be 0 to 4294967295\n\
             own.csv: line 1 looks like a header: the file must have none\n\
             own.csv: 3 bets, 1 bad row\n"
        )
    );
    let ended = check(&rows(5000, "\n").replace(',', ";"));
    assert_eq!((ended.code, ended.log.lines().count()), (Some(1), 1003));
    assert!(
        ended.log.ends_with(
            "own.csv: and 4000 more bad rows\n\
             own.csv: fields seem to be separated by ';': a bet has commas\n\
             own.csv: 0 bets, 5000 bad rows\n"
        ),
        "{}",
        &ended.log[ended.log.len() - 300..]
    );
    // A check is the moment to be strict.
    for (start, says) in [
        (client().env("CLI_IDD", "3"), "client: warning: environment: nothing reads CLI_IDD; CLI_ID is read"),
        (client().file("config.yaml", "log: {levle: debug}\n"), "nothing reads the key log.levle; log.level is read"),
    ] {
        let ended = start.file("own.csv", &good).arg("--check").arg("own.csv").run();
        assert_eq!((ended.code, ended.log.as_str()), (Some(2), "own.csv: 3 bets, 0 bad rows\n"));
        assert!(ended.errors.contains(says), "{}", ended.errors);
    }
    let ended = check("\n");
    assert!(ended.code == Some(1) && ended.log.contains("there are no bets in it"), "{}", ended.log);
}

#[test]
fn an_agency_without_bets_does_not_finish_unless_it_is_told_to() {
    for text in ["", "\n\r\n", "\u{feff}"] {
        for no_check in [false, true] {
            let hub = FakeHub::new();
            let start = agency_3(&hub, "native", text);
            let running = if no_check { start.arg("--no-check").start() } else { start.start() };
            if no_check {
                let mut peer = hub.accept();
                peer.native_hello(3, 0);
                assert_eq!(peer.rest(), b"", "no finish");
            }
            let ended = running.end();
            assert_eq!(ended.code, Some(2), "{}", ended.log);
            assert_eq!(
                ended.said("read_bets"),
                ["action: read_bets | result: fail | client_id: 3 | file: .data/agency-3.csv | \
                  error: there are no bets in it; with --empty (CLI_EMPTY=true) the agency finishes without any"]
            );
        }
    }
}

#[test]
fn a_pipe_is_checked_as_it_goes() {
    let hub = FakeHub::new();
    let start = agency_3(&hub, "native", "").arg("--data").arg("pipe");
    let pipe = start.folder().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let running = start.start();
    std::fs::write(&pipe, rows(15, "\n").replace("30000012,", "x,")).unwrap();
    let mut peer = hub.accept();
    peer.native_hello(3, 0);
    assert_eq!(peer.native_batch(), (0, 10));
    peer.native_ack(1);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.said("read_bets")[0].contains("| line: 12 |"), "{}", ended.log);
    assert!(ended.said("upload")[0].contains("| bets: 10 | done: unknown | "), "{}", ended.log);
}

#[test]
fn a_full_batch_of_a_slow_pipe_is_sent_and_answered_before_the_next_bet_comes() {
    let hub = FakeHub::new();
    let start = agency_3(&hub, "native", "").env("CLI_BATCH_MAXAMOUNT", "2").arg("--data").arg("pipe");
    let pipe = start.folder().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let running = start.start();
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    let text = rows(5, "\n");
    // Two rows and the beginning of a third.
    let (begun, rest) = text.split_at(text.match_indices('\n').nth(1).unwrap().0 + 5);
    writer.write_all(begun.as_bytes()).unwrap();
    let mut peer = hub.accept();
    peer.native_hello(3, 0);
    assert_eq!(peer.native_batch(), (0, 2));
    peer.native_ack(1);
    running.wait_for("action: send_batch | result: success | client_id: 3 | batches: 1 | bets: 2");
    writer.write_all(rest.as_bytes()).unwrap();
    assert_eq!(peer.native_batch(), (1, 2));
    drop(writer);
    assert_eq!(peer.native_batch(), (2, 1));
}
