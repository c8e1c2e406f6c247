//! The server as a process: configuration, exit codes, signals.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use std::sync::Arc;

use common::machine::{eventually, has, skip};
use common::{binary, binary_batch, hub, in_folder, under};

#[test]
fn sigterm_and_sigint_end_it_in_every_state_with_everything_closed() {
    for signal in [15, 2] {
        let hub = hub().env("LOTTERY_AGENCIES", "2").env("LOGGING_LEVEL", "DEBUG").start();
        let mut silent = hub.connect();
        let mut half = hub.connect();
        half.send(&binary_batch(1, 1, 1)[..20]);
        let mut parked = hub.connect();
        parked.send(&binary_batch(1, 11, 7574));
        parked.expect(&[0]);
        parked.send(&binary(2, &[1], &[]));
        parked.expect(&[0]);
        parked.send(&binary(3, &[1], &[]));
        let mut undecided = hub.connect();
        undecided.send(b"12");
        hub.wait_for_count("action: accept_connections | result: success", 4);
        let began = Instant::now();
        hub.signal(signal);
        let (status, log) = hub.end();
        assert_eq!(status.code(), Some(0), "{log}");
        // Not a measurement: an end that waits for the peers would take their time-outs.
        assert!(began.elapsed() < Duration::from_secs(5), "it ends without waiting for a peer");
        let closed = log.lines().filter(|line| line.contains("action: close_connection | result: success")).count();
        assert_eq!(closed, 4, "{log}");
        for line in ["action: close_listener", "action: close_store", "action: shutdown"] {
            assert!(log.contains(&format!("{line} | result: success")), "{line} in {log}");
        }
        assert!(log.trim_end().ends_with("action: shutdown | result: success"), "{log}");
        assert!(!log.contains("result: fail"), "{log}");
        for peer in [&mut silent, &mut half, &mut parked, &mut undecided] {
            let mut rest = Vec::new();
            let _ = peer.stream.read_to_end(&mut rest);
            assert_eq!(rest, b"");
        }
    }
}

#[test]
fn sigterm_without_any_client_logs_the_start_at_debug_and_the_end() {
    let hub = hub().env("SERVER_LISTEN_BACKLOG", "").env("LOGGING_LEVEL", "DEBUG").start();
    hub.wait_for("DEBUG    action: config | result: success | port: 0 | listen_backlog: 5 | logging_level: DEBUG");
    hub.wait_for("INFO     action: accept_connections | result: in_progress");
    let (status, log) = hub.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn acknowledged_bets_are_there_after_sigterm() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    for document in 0..100 {
        peer.send(&binary_batch(1, document, 1));
    }
    peer.expect(&[0; 100]);
    let rows = hub.path("bets.csv");
    let folder = std::sync::Arc::clone(&hub.folder);
    assert_eq!(hub.terminate().0.code(), Some(0));
    assert_eq!(std::fs::read_to_string(rows).unwrap().lines().count(), 100);
    drop(folder);
}

#[test]
fn wrong_values_are_refused_with_one_line_that_names_the_key() {
    for (key, value) in [
        ("SERVER_PORT", "65536"),
        ("SERVER_LISTEN_BACKLOG", "many"),
        ("LOGGING_LEVEL", "LOUD"),
        ("BIND_ADDRESS", "here"),
        ("PROXY_FROM", "balancer"),
        ("LOTTERY_AGENCIES", "-1"),
        ("LOTTERY_WINNING_NUMBER", "4294967296"),
        ("LOTTERY_EARLY_QUERY", "maybe"),
        ("LOTTERY_ON_AGENCY_LOSS", "cry"),
        ("LOTTERY_LOSS_GRACE", "10"),
        ("LOTTERY_UNNUMBERED_AGENCIES", "7"),
        ("STORAGE_FSYNC", "sometimes"),
        ("LIMITS_MAX_CONNECTIONS", "0"),
        ("LIMITS_MAX_FRAME", "1KiB"),
        ("LIMITS_HANDSHAKE_TIMEOUT", "0s"),
        ("LIMITS_FRAME_TIMEOUT", "-1s"),
        ("LIMITS_IDLE_TIMEOUT", "soon"),
        ("LIMITS_WRITE_TIMEOUT", "1 minute"),
        ("LIMITS_DEAD_PEER_TIMEOUT", "1s"),
        ("LIMITS_ECHO", "perhaps"),
        ("LIMITS_DIALECTS", "native,latin"),
        ("LOG_FORMAT", "xml"),
        ("LOG_BATCHES", "some"),
    ] {
        let (code, out, err) = hub().env(key, value).run();
        assert_eq!(code, Some(2), "{key}: {out}{err}");
        assert_eq!(err.lines().count(), 1, "{key}: {err}");
        assert!(err.contains(key) && err.contains(value), "{key}: {err}");
    }
    let (code, _, err) = hub().file("config.ini", "[LOTTERY]\nAGENCIES = five\n").run();
    assert_eq!(code, Some(2));
    assert!(err.contains("config.ini: [LOTTERY] AGENCIES = 'five'"), "{err}");
    for (path, folder) in [("nowhere/bets.csv", "nowhere"), ("config.ini/bets.csv", "config.ini")] {
        for start in [hub(), hub().arg("--check")] {
            let (code, _, err) = start.file("config.ini", "").env("STORAGE_PATH", path).run();
            assert_eq!(code, Some(2), "{err}");
            assert!(err.contains(&format!("[STORAGE] PATH = {path}: there is no folder {folder};")), "{err}");
        }
    }
    for (text, says) in [
        ("[TLS]\nKEY = hub.key\n", "server: config.ini: [TLS] KEY needs [TLS] CERT beside it\n"),
        ("[LOTTERY\n", "server: config.ini:1: the section's name must end with ']'\n"),
        ("[LOTTERY]\nAGENCIES 5\n", "server: config.ini:2: must be KEY = value, but there is no '='\n"),
        ("[LOTTERY]\n\n= 5\n", "server: config.ini:3: there is no key before the '='\n"),
        ("[STORAGE]\nPATH = \"a\n", "server: config.ini:2: the value has a quote that is never closed\n"),
    ] {
        let (code, _, err) = hub().file("config.ini", text).run();
        assert_eq!((code, err.as_str()), (Some(2), says));
    }
    let (code, _, err) = hub().arg("--config").arg("nowhere.ini").run();
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = hub().arg("--fast").run();
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn fewer_connections_than_agencies_are_refused_naming_both_keys() {
    for start in [hub(), hub().arg("--check")] {
        let (code, _, err) = start.env("LOTTERY_AGENCIES", "1-5,9").env("LIMITS_MAX_CONNECTIONS", "5").run();
        assert_eq!(code, Some(2), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains("MAX_CONNECTIONS = 5") && err.contains("6 agencies of [LOTTERY] AGENCIES"), "{err}");
    }
    let hub = hub().env("LOTTERY_AGENCIES", "1-5,9").env("LIMITS_MAX_CONNECTIONS", "6").start();
    assert_eq!(hub.terminate().0.code(), Some(0));
}

#[test]
fn the_courses_four_keys_are_enough_and_others_are_warned_about() {
    let file =
        "[DEFAULT]\nSERVER_PORT = 0\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = 7\nLOGGING_LEVEL = DEBUG\nEXTRA = 1\n";
    let hub = hub().file("config.ini", file).env("SERVER_LISTEN_BACKLOG", "").start();
    hub.wait_for("action: config | result: success | port: 0 | listen_backlog: 7 | logging_level: DEBUG");
    hub.wait_for(
        "WARNING  action: config | result: in_progress | file: config.ini | reason: unknown key [DEFAULT] EXTRA",
    );
    let hub = common::hub().file("config.ini", "[LOTTERY]\nAGENCYS = 3\n").start();
    hub.wait_for("| reason: unknown key [LOTTERY] AGENCYS; [LOTTERY] AGENCIES is known");
}

#[test]
fn paths_cannot_break_a_line() {
    let name = "a|b\nc.ini";
    let hub = hub().file(name, "[DEFAULT]\nEXTRA = 1\n").arg("--config").arg(name).start();
    hub.wait_for("| file: a.b.c.ini | reason: unknown key [DEFAULT] EXTRA");
    let (code, _, err) =
        common::hub().file(name, "[DEFAULT]\nSERVER_PORT = x\n").arg("--config").arg(name).env("SERVER_PORT", "").run();
    assert_eq!((code, err.lines().count()), (Some(2), 1), "{err}");
    assert!(err.contains("a.b.c.ini: [DEFAULT] SERVER_PORT"), "{err}");
    let (code, out, err) = common::hub()
        .file(name, "[DEFAULT]\nEXTRA = 1\nSERVER_IP = hub\n")
        .arg("--config")
        .arg(name)
        .arg("--check")
        .run();
    assert!(out.contains("# a.b.c.ini\nSERVER_IP = hub\n"), "{out}");
    assert_eq!((code, err.as_str()), (Some(2), "server: a.b.c.ini: [DEFAULT] EXTRA is not a key of this program\n"));
}

#[test]
fn a_store_whose_path_has_line_breaks_is_told_of_in_one_line() {
    let first = hub().env("LOTTERY_AGENCIES", "2").env("STORAGE_PATH", "b|e\nts.csv").start();
    let mut peer = first.connect();
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[0]);
    let folder = first.kill();
    let rows = folder.path().join("b|e\nts.csv");
    let mut file = std::fs::File::options().append(true).open(rows).unwrap();
    file.write_all(b"a row without acknowledgement").unwrap();
    let again = in_folder(folder).env("LOTTERY_AGENCIES", "2").env("STORAGE_PATH", "b|e\nts.csv").start();
    again.wait_for("was cut off, 29 bytes of bets and 0 of journal, kept in b.e.ts.csv.quarantine");
}

#[test]
fn check_prints_the_configuration_and_touches_nothing() {
    let start =
        hub().env("LOTTERY_AGENCIES", "1-5,9").file("config.ini", "[STORAGE]\nPATH = other.csv\n").arg("--check");
    let (code, out, err) = start.run();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("\n# environment\nAGENCIES = 1-5,9\n"), "{out}");
    assert!(out.contains("\n# config.ini\nPATH = other.csv\n"), "{out}");
    assert!(out.contains("\n# default\nWINNING_NUMBER = 7574\n"), "{out}");
}

#[test]
fn what_check_prints_is_a_configuration_with_the_same_values() {
    let values = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let start = hub().env("LOTTERY_AGENCIES", "1-5,9").env("STORAGE_PATH", "a b; 'c' #\n\"d.csv").arg("--check");
    let (code, first, err) = start.file("config.ini", "[STATUS]\nADDRESS =\n[LOG]\nFORMAT = json\n").run();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let again = hub().env("SERVER_PORT", "").env("BIND_ADDRESS", "").env("SERVER_LISTEN_BACKLOG", "");
    let (code, second, err) = again.file("own.ini", &first).arg("--config").arg("own.ini").arg("--check").run();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(values(&second), values(&first));
    assert!(second.contains("# own.ini\nFORMAT = json\n") && !second.contains("# default"), "{second}");
}

/// Values by section and key.
type Values = BTreeMap<(String, String), String>;

/// The values of an INI file.
fn values_of(ini: &str) -> Values {
    let mut section = String::new();
    let mut values = BTreeMap::new();
    for line in ini.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            values.insert((section.clone(), key.trim().to_owned()), value.trim().to_owned());
        }
    }
    values
}

/// The defaults in the table of the server's keys in `docs/CONFIGURATION.md`.
fn values_of_the_document() -> Values {
    let document = std::fs::read_to_string("docs/CONFIGURATION.md").unwrap();
    let table = document.split("\n| section | key |").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut section = String::new();
    let mut values = BTreeMap::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        section = names(cells[1]).pop().unwrap_or(section);
        let default = if cells[3].starts_with('(') { "" } else { cells[3] };
        values.extend(names(cells[2]).into_iter().map(|key| ((section.clone(), key), default.to_owned())));
    }
    values
}

/// Each key that is not alike in both, with its values.
fn differences(written: &Values, read: &Values) -> Vec<String> {
    let keys: BTreeSet<_> = written.keys().chain(read.keys()).collect();
    let different = keys.into_iter().filter(|key| written.get(*key) != read.get(*key));
    let line = |key: &(String, String)| {
        format!("[{}] {}: written {:?}, read {:?}", key.0, key.1, written.get(key), read.get(key))
    };
    different.map(line).collect()
}

#[test]
fn the_shipped_file_and_the_document_have_every_key_with_its_default() {
    let start = hub().env("SERVER_PORT", "").env("BIND_ADDRESS", "").env("SERVER_LISTEN_BACKLOG", "");
    let (code, files, err) = start.arg("--check").run();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    // PostgreSQL is not there: the values are printed all the same. Without csv the key of its ids may stay empty.
    let (_, engine, _) = hub().env("STORAGE_ENGINE", "postgres").env("LIMITS_DIALECTS", "native").arg("--check").run();
    let mut values = values_of(&files);
    values.extend(values_of(&engine).into_iter().filter(|((section, key), _)| section == "POSTGRES" || key == "DRAW"));
    // Where all hosts are this machine, as they are by default, TLS is off by default.
    values.insert(("POSTGRES".to_owned(), "TLS".to_owned()), "verify-full".to_owned());
    assert_eq!(differences(&values_of_the_document(), &values), [""; 0], "docs/CONFIGURATION.md differs from the code");
    let shipped = std::fs::read_to_string("config.ini").unwrap().replace("\n# ", "\n");
    values.insert(("STATUS".to_owned(), "ADDRESS".to_owned()), "127.0.0.1:9100".to_owned());
    assert_eq!(differences(&values_of(&shipped), &values), [""; 0], "config.ini differs from the code");
}

#[test]
fn check_refuses_misspelt_variables_which_a_start_warns_about() {
    let (code, out, err) =
        hub().env("LOTERY_AGENCIES", "5").file("config.ini", "LISTEN_BACKLOGG = 1\n").arg("--check").run();
    assert_eq!(code, Some(2), "{err}");
    assert!(out.contains("AGENCIES"), "what is read is printed: {out}");
    assert!(
        err.contains("environment: LOTERY_AGENCIES is not a variable of this program, LOTTERY_AGENCIES is"),
        "{err}"
    );
    assert!(err.contains("config.ini: ") && err.lines().count() == 1, "{err}");
}

#[test]
fn check_refuses_unknown_keys_and_names_those_that_may_be_meant() {
    let file = "SERVER_PROT = 1\nAGENCIES = 3\n[LOTERY]\nWINNING_NUMBER = 3\n[OTHER]\nX = 1\n";
    let (code, out, err) = hub().file("config.ini", file).arg("--check").run();
    assert_eq!(code, Some(2));
    assert!(out.contains("\n# default\nAGENCIES = 5\n"), "what counts is printed: {out}");
    assert_eq!(
        err,
        "server: config.ini: [DEFAULT] SERVER_PROT is not a key of this program, [DEFAULT] SERVER_PORT is; \
         [DEFAULT] AGENCIES is not a key of this program, [LOTTERY] AGENCIES is; \
         [LOTERY] WINNING_NUMBER is not a key of this program, [LOTTERY] WINNING_NUMBER is; \
         [OTHER] X is not a key of this program\n"
    );
    let file = "[LOTTERY]\nDRAW = 2\n[POSTGRES]\nHOSTS = a\n";
    let (code, _, err) = hub().file("config.ini", file).arg("--check").run();
    assert_eq!(code, Some(2));
    let rest = "is not a key of this program without [STORAGE] ENGINE = postgres";
    assert_eq!(err, format!("server: config.ini: [LOTTERY] DRAW {rest}; [POSTGRES] HOSTS {rest}\n"));
}

#[test]
fn a_port_in_use_is_69_and_a_store_in_use_75_with_the_data_untouched() {
    let first = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = first.connect();
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[0]);
    let rows = first.rows();
    let journal = std::fs::read(first.path("bets.csv.journal")).unwrap();
    let port = first.address.port().to_string();
    let (code, _, err) = hub().env("SERVER_PORT", &port).run();
    assert_eq!(code, Some(69), "{err}");
    assert!(err.contains(&port) && err.ends_with("choose another port: --port\n") && err.lines().count() == 1, "{err}");
    let (code, _, err) = in_folder(std::sync::Arc::clone(&first.folder)).run();
    assert_eq!(code, Some(75), "{err}");
    let mend = "bets.csv; stop it, or name another store: --store or [STORAGE] PATH\n";
    assert!(err.ends_with(mend) && err.lines().count() == 1, "{err}");
    assert_eq!(first.rows(), rows);
    assert_eq!(std::fs::read(first.path("bets.csv.journal")).unwrap(), journal);
}

#[test]
fn of_two_hubs_that_start_at_once_on_a_port_the_second_leaves_its_store_as_it_is() {
    if !has("strace") {
        return skip("a slow start needs strace");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let slow =
        ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=300000"];
    let first = under(&slow, Arc::new(tempfile::tempdir().unwrap())).env("SERVER_PORT", &port);
    let (path, starting) = (first.folder().join("bets.csv"), std::thread::spawn(|| first.start()));
    eventually("the first one is opening its store", || path.exists());
    let second = Arc::new(tempfile::tempdir().unwrap());
    let ended = in_folder(Arc::clone(&second)).env("SERVER_PORT", &port).start_or_end();
    assert_eq!(ended.err().expect("the port is taken").0, Some(69));
    assert_eq!(std::fs::read_dir(second.path()).unwrap().count(), 0, "it has made no file");
    // Peers wait until the store is open.
    let first = starting.join().unwrap();
    let mut peer = first.connect();
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[0]);
}

#[test]
fn a_hub_without_agencies_takes_no_bets() {
    let hub = hub().env("LOTTERY_AGENCIES", "0").start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[1]);
    peer.send(&binary(2, &[1], &[]));
    peer.expect(&[1]);
    assert_eq!(hub.count("action: sorteo"), 0);
}

#[test]
fn a_store_with_bets_of_an_agency_that_is_not_configured_is_refused() {
    let first = hub().env("LOTTERY_AGENCIES", "3").start();
    let mut peer = first.connect();
    peer.send(&binary_batch(3, 1, 1));
    peer.expect(&[0]);
    let (code, _, err) = in_folder(first.kill()).env("LOTTERY_AGENCIES", "2").run();
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("AGENCIES") && err.contains("agency 3"), "{err}");
}

#[test]
fn flags_go_before_the_environment_and_misspelt_variables_are_told() {
    let start = || {
        let start = hub().env("LOTTERY_AGENCIES", "7").env("STORAGE_PATH", "other.csv").env("LOTERY_AGENCIES", "3");
        let start = start.env("SERVER_HOST", "elsewhere").env("TLS_KEYS_DIR", "x");
        start.arg("--port").arg("0").arg("--agencies").arg("1-2,9").arg("--store").arg("own.csv")
    };
    let (code, checked, errors) = start().arg("--check").run();
    assert_eq!(code, Some(2), "{errors}");
    for line in ["# --port\nSERVER_PORT = 0\n", "# --agencies\nAGENCIES = 1-2,9\n", "# --store\nPATH = own.csv\n"] {
        assert!(checked.contains(line), "{checked}");
    }
    assert_eq!(errors, "server: environment: LOTERY_AGENCIES is not a variable of this program, LOTTERY_AGENCIES is\n");
    let hub = start().start();
    hub.wait_for(
        "reason: the environment has LOTERY_AGENCIES, which is no variable of this program; LOTTERY_AGENCIES is",
    );
    assert!(hub.path("own.csv").exists());
    let (_, log) = hub.terminate();
    assert_eq!(log.matches("which is no variable").count(), 1, "{log}");
    let (code, _, errors) = hub_with_a_wrong_port();
    assert_eq!((code, errors.as_str()), (Some(2), "server: --port = 'x': must be a whole number from 0 to 65535\n"));
}

fn hub_with_a_wrong_port() -> (Option<i32>, String, String) {
    hub().arg("--port").arg("x").run()
}
