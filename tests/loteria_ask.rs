//! The commands of `loteria` that ask a running hub, against an HTTP server in its place.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod loteria_kit;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::machine::{has, skip};
use loteria::status::report::{
    AgencyState, Connection, ConnectionList, ConnectionState, Engine, Report, VERSION, Winner, Winners,
};
use loteria_kit::reports::{agency, drawn, engine, reporting, waiting};
use loteria_kit::{FakeHub, answer, command, ended, loteria};
use rustix::event::{PollFd, PollFlags, poll};

#[test]
fn status_is_a_screen_of_80_by_24_or_what_the_hub_says() {
    let folder = tempfile::tempdir().unwrap();
    let hub = reporting(folder.path(), &waiting());
    let (code, out, _) = loteria(folder.path(), &["status"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().count() <= 24 && out.lines().all(|line| line.chars().count() < 80), "{out}");
    for told in [
        "draw    waits for 5 agencies: 1,2,3,4,5; 1 query waits for 1m1s",
        "bets    6,200 stored, 512/s; this run: 100 batches, 0 rejected, 0 refused",
        "peers   4 of 10000 (3 speaking, 1 parked), 0 viewers",
        "turns   1,000: p50 80us, p99 1.2ms, max 30.0ms",
        "commits 0: p50 0us, p99 0us, max 0us",
        "store   bets.csv, 1.0 MiB, 20.0 GiB free",
        "health  healthy and ready",
        "     5  lost 3m20s       1,240       0/s      - -               - 10.0.0.9:99",
    ] {
        assert!(out.lines().any(|line| line == told), "{told}: {out}");
    }
    assert!(out.lines().next().is_some_and(|line| line.contains(", log INFO ")), "{out}");
    let (_, json, _) = loteria(folder.path(), &["status", "--json"]);
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), waiting());
    drop(hub);
    let mut ill = waiting();
    ill.unhealthy = Some("the disk is full".to_owned());
    let hub = reporting(folder.path(), &ill);
    assert!(loteria(folder.path(), &["status"]).1.contains("health  NOT HEALTHY: the disk is full\n"));
    let mut alone = waiting();
    alone.agencies.retain(|agency| agency.state == AgencyState::Excluded);
    (alone.draw.waiting_for, alone.draw.waiting_count) = (Vec::new(), 0);
    drop(hub);
    let _hub = reporting(folder.path(), &alone);
    assert!(loteria(folder.path(), &["status"]).1.contains("draw    not made, every agency is excluded\n"));
}

#[test]
fn status_has_lines_for_the_engine_and_the_other_hubs() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = waiting();
    report.engine = Some(engine());
    let hub = reporting(folder.path(), &report);
    let out = loteria(folder.path(), &["status"]).1;
    for told in [
        "engine  postgres db1:5432 connected, answered 0.1s ago; draw 1, epoch 2, turn 48,211, 3 in flight",
        "hubs    norte (this one) seen 0.4s ago, turn 48,209; sur seen 0.9s ago, turn 51,007",
    ] {
        assert!(out.lines().any(|line| line == told), "{told}: {out}");
    }
    assert!(!out.contains("commits "), "PostgreSQL's are not timed: {out}");
    drop(hub);
    let held_because = Some("turns 3 to 4 are gone".to_owned());
    report.engine = Some(Engine { trouble_for: Some(75.0), held: true, held_because, ..engine() });
    (report.not_ready, report.trouble) = (Some("PostgreSQL cannot be used".to_owned()), Some("db1: gone".to_owned()));
    report.draw.waiting_count = 0;
    report.draw.waiting_for.clear();
    let _hub = reporting(folder.path(), &report);
    let out = loteria(folder.path(), &["status"]).1;
    assert!(
        out.contains("draw    due, every agency has finished")
            && out.contains("db1:5432 IN TROUBLE for 1m15s, ")
            && out.contains("THE DRAW IS HELD: turns 3 to 4 are gone\n")
            && out.contains("health  healthy; not ready: db1: gone\n"),
        "{out}"
    );
}

#[test]
fn watch_prints_lines_where_there_is_no_terminal_until_a_signal_and_outlives_a_hub() {
    let folder = tempfile::tempdir().unwrap();
    let hub = reporting(folder.path(), &waiting());
    let mut child = command(folder.path(), &["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    assert!(first.starts_with("2024-08-21T22:11:15Z bets: 6,200 512/s; connections: 4; draw: waits for 5"), "{first}");
    drop(hub);
    assert!(
        lines.any(|line| line.starts_with("no hub answers at /") && line.contains("/bets.csv.sock: ")),
        "it says so"
    );
    let _hub = reporting(folder.path(), &drawn(Some(1.0)));
    assert!(lines.any(|line| line.contains("draw: made on number 7574")), "and goes on");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_while_the_first_answer_is_awaited_ends_watch_as_a_shell_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("bets.csv.sock")).unwrap();
    let child = command(folder.path(), &["status", "--watch"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut asked, _) = listener.accept().unwrap();
    asked.read_exact(&mut [0; 3]).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(130), "loteria: stopped by a signal\n"));
}

#[test]
fn a_hub_that_ends_before_it_accepts_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("bets.csv.sock")).unwrap();
    let child = command(folder.path(), &["status"]).stderr(Stdio::piped()).spawn().unwrap();
    let asked = &mut [PollFd::new(&listener, PollFlags::IN)];
    poll(asked, None).unwrap();
    drop(listener);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.starts_with("loteria: no hub answers at /"), "{said}");
}

/// Runs a program on a terminal of so many columns and rows, types Ctrl-C once it has shown a screen, and prints what the terminal got.
const ON_A_TERMINAL: &str = "import fcntl, os, pty, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', int(sys.argv[2]), int(sys.argv[1]), 0, 0))
    os.execv(sys.argv[3], sys.argv[3:])
seen, typed = b'', False
while True:
    try: piece = os.read(terminal, 65536)
    except OSError: break
    if not piece: break
    seen += piece
    if not typed and b'Ctrl-C ends this' in seen:
        typed = True
        os.write(terminal, b'\\x03')
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";

/// What `loteria status --watch` writes to a terminal of so many columns and rows until Ctrl-C.
fn watched(folder: &Path, columns: usize, rows: usize) -> String {
    let (columns, rows) = (columns.to_string(), rows.to_string());
    let mut python = Command::new("python3");
    python.args(["-c", ON_A_TERMINAL, &columns, &rows, env!("CARGO_BIN_EXE_loteria"), "status", "--watch"]);
    python.current_dir(folder).env("TERM", "xterm").env_remove("STORAGE_PATH").env_remove("STATUS_SOCKET");
    let (code, out, err) = ended(python);
    assert_eq!(code, Some(0), "{err}");
    out
}

#[test]
fn watch_has_every_figure_on_a_narrow_terminal() {
    if !has("python3") {
        return skip("a terminal needs python3");
    }
    let folder = tempfile::tempdir().unwrap();
    let _hub = reporting(folder.path(), &waiting());
    for columns in [40, 60, 80] {
        let out = watched(folder.path(), columns, 40);
        let first = out.split("Ctrl-C ends this").next().unwrap();
        let lines: Vec<&str> =
            first.split("\x1b[K").map(|line| line.trim_start_matches("\x1b[?1049h\x1b[?25l\x1b[H")).collect();
        assert!(lines.iter().all(|line| line.trim().chars().count() < columns), "{columns}: {lines:?}");
        let words = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        for told in [
            "waits for 5 agencies: 1,2,3,4,5; 1 query waits for 1m1s",
            "6,200 stored, 512/s; this run: 100 batches, 0 rejected, 0 refused",
            "1,000: p50 80us, p99 1.2ms, max 30.0ms",
            "bets.csv, 1.0 MiB, 20.0 GiB free",
            "log INFO 2024-08-21T22:11:15Z",
            "3 uploading 1,240 512/s 0.2s",
        ] {
            assert!(words.contains(told), "{columns}: {told}: {words}");
        }
    }
}

#[test]
fn watch_draws_over_a_terminal_and_ctrl_c_restores_it() {
    if !has("python3") {
        return skip("a terminal needs python3");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut many = waiting();
    many.agencies.extend((8..199).map(|id| agency(id, AgencyState::Finished)));
    many.agencies.push(agency(199, AgencyState::NeverSeen));
    let _hub = reporting(folder.path(), &many);
    let out = watched(folder.path(), 80, 24);
    let screen = out.strip_prefix("\x1b[?1049h\x1b[?25l\x1b[H").expect("the alternate screen, without a cursor");
    assert!(screen.ends_with("\x1b[?25h\x1b[?1049l"), "both are restored: {screen:?}");
    let first = screen.split("Ctrl-C ends this").next().unwrap();
    let lines: Vec<&str> = first.split("\x1b[K").collect();
    assert_eq!(lines.len(), 24, "the whole screen, and no more: {lines:?}");
    assert!(lines.iter().all(|line| line.trim().chars().count() < 80), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("… and 187 more")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("   199  never seen")), "the draw waits for it: {lines:?}");
}

#[test]
fn watch_shows_a_lost_agency_before_those_that_have_not_been_seen() {
    if !has("python3") {
        return skip("a terminal needs python3");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut many = waiting();
    many.agencies = (1..100).map(|id| agency(id, AgencyState::NeverSeen)).collect();
    many.agencies.push(agency(100, AgencyState::Lost));
    let _hub = reporting(folder.path(), &many);
    let out = watched(folder.path(), 80, 24);
    assert!(out.contains("   100  lost"), "{out:?}");
}

#[test]
fn connections_are_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection {
        id: 12,
        peer: "[::1]:4321".to_owned(),
        dialect: Some("key-value".to_owned()),
        state: ConnectionState::Waiting,
        agency: Some(3),
        bytes_in: 2_048,
        bytes_out: 12,
        buffered_bytes: 0,
        age: 75.0,
        silent_for: 0.1,
    };
    let unknown = Connection { dialect: None, agency: None, state: ConnectionState::Detecting, ..connection.clone() };
    let list = ConnectionList { version: VERSION, connections: vec![connection, unknown], left_out: 4 };
    let body = serde_json::to_string(&list).unwrap();
    let hub = FakeHub::in_folder(folder.path(), move |_, _, _, _| answer(200, &body));
    let (code, out, _) = loteria(folder.path(), &["connections"]);
    assert_eq!(code, Some(0));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[1],
        ["12", "[::1]:4321", "key-value", "waiting", "3", "2.0", "KiB", "12", "B", "0", "B", "1m15s", "0.1s"]
    );
    assert_eq!(lines[2][2..5], ["-", "detecting", "-"]);
    assert_eq!(lines[3], ["and", "4", "more"]);
    assert_eq!(hub.requests(), ["GET /connections.json"]);
}

#[test]
fn events_are_a_line_each_until_the_hub_ends() {
    let folder = tempfile::tempdir().unwrap();
    let stream = ": welcome\n\nevent: bets\ndata: {\"agency\":1,\"bets\":62}\n\nevent: draw\ndata: {}\n\n";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        20,
        &stream[..20],
        stream.len() - 20,
        &stream[20..]
    );
    let plain = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{stream}");
    let endless = format!("HTTP/1.1 200 OK\r\n\r\ndata: {}", "x".repeat(100_000));
    let _hub = FakeHub::in_folder(folder.path(), move |_, path, _, before| {
        assert_eq!(path, "/events");
        [chunked.clone(), plain.clone(), endless.clone(), answer(503, "too many viewers\n")][before].clone()
    });
    for _ in 0..2 {
        let (code, out, err) = loteria(folder.path(), &["events"]);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "bets {\"agency\":1,\"bets\":62}\ndraw {}\n", ""));
    }
    let (code, _, err) = loteria(folder.path(), &["events"]);
    assert!(code == Some(1) && err.contains("a line of its events is too long"), "{err}");
    let (code, _, err) = loteria(folder.path(), &["events"]);
    assert!(code == Some(1) && err.contains("/events with status 503: too many viewers"), "{err}");
}

#[test]
fn health_is_the_hubs_line_and_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::in_folder(folder.path(), |_, path, _, _| match path {
        "/healthz" => answer(200, "healthy\n"),
        "/readyz" => answer(503, "the hub stops\n"),
        _ => answer(404, ""),
    });
    assert_eq!(loteria(folder.path(), &["health"]), (Some(0), "healthy\n".to_owned(), String::new()));
    assert_eq!(loteria(folder.path(), &["health", "--ready"]), (Some(1), "the hub stops\n".to_owned(), String::new()));
    assert_eq!(hub.requests(), ["GET /healthz", "GET /readyz"]);
}

#[test]
fn a_level_is_sent_and_a_refusal_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::in_folder(folder.path(), |_, _, _, before| {
        if before == 0 { "HTTP/1.1 204 No Content\r\n\r\n".to_owned() } else { answer(400, "which level?\r\nmore") }
    });
    let told = "the hub logs WARNING and above\n".to_owned();
    assert_eq!(loteria(folder.path(), &["log-level", "warning"]), (Some(0), told, String::new()));
    let (code, _, err) = loteria(folder.path(), &["log-level", "DEBUG"]);
    assert_eq!((code, err.as_str()), (Some(1), "loteria: the hub answers /log-level with status 400: which level?\n"));
    assert_eq!(hub.requests(), ["POST /log-level WARNING", "POST /log-level DEBUG"]);
}

#[test]
fn winners_are_asked_of_a_running_hub_before_its_store_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let winner = |agency, document: &str| Winner {
        agency,
        first_name: "Ana, \"la\"".to_owned(),
        last_name: "Paz".to_owned(),
        document: document.to_owned(),
        birthdate: "1999-03-17".to_owned(),
    };
    let all =
        Winners { version: VERSION, left_out: 0, winning_number: 12, winners: vec![winner(1, "7"), winner(2, "8")] };
    let body = serde_json::to_string(&all).unwrap();
    let part = |winners: &[Winner], left_out: usize| {
        let part = Winners { winners: winners.to_vec(), ..all.clone() };
        let mut part = serde_json::to_value(part).unwrap();
        part["left_out"] = left_out.into();
        answer(200, &part.to_string())
    };
    let parts = [part(&all.winners[..1], 1), part(&all.winners[1..], 0)];
    let hub = FakeHub::in_folder(folder.path(), move |_, _, _, before| match before {
        0 | 1 => answer(200, &body),
        2 | 3 => parts[before - 2].clone(),
        4 => answer(409, "the draw has not been made\n"),
        _ => answer(404, "agency 9 is not of this draw\n"),
    });
    let (code, out, _) = loteria(folder.path(), &["winners", "--csv"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("\r\n1,\"Ana, \"\"la\"\"\",Paz,7,1999-03-17,12\r\n"), "{out}");
    let (_, out, _) = loteria(folder.path(), &["winners", "--agency", "2"]);
    assert!(out.starts_with("winning number 12: 1 winner\n") && !out.contains(" 7 "), "{out}");
    let (_, out, _) = loteria(folder.path(), &["winners", "--csv"]);
    assert!(out.lines().count() == 3 && out.contains(",7,") && out.contains(",8,"), "told in two parts: {out}");
    let (code, _, err) = loteria(folder.path(), &["winners"]);
    assert!(code == Some(1) && err == "loteria: the draw has not been made, so there are no winners yet\n", "{err}");
    let (code, _, err) = loteria(folder.path(), &["winners", "--agency", "9"]);
    assert_eq!((code, err.as_str()), (Some(1), "loteria: agency 9 is not of this draw\n"));
    assert_eq!(
        hub.requests(),
        [
            "GET /winners.json",
            "GET /winners.json?agency=2",
            "GET /winners.json",
            "GET /winners.json?from=1",
            "GET /winners.json",
            "GET /winners.json?agency=9"
        ]
    );
}

#[test]
fn winners_of_another_draw_than_the_configuration_names_are_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let configure = |draw: i32| {
        let config = format!("[LOTTERY]\nDRAW = {draw}\n[STORAGE]\nENGINE = postgres\n[STATUS]\nSOCKET = hub.sock\n");
        std::fs::write(folder.path().join("config.ini"), config).unwrap();
    };
    let report = Report { engine: Some(engine()), ..waiting() };
    let serves = engine().draw;
    let winners = Winners { version: VERSION, left_out: 0, winning_number: 12, winners: Vec::new() };
    let (report, winners) = (serde_json::to_string(&report).unwrap(), serde_json::to_string(&winners).unwrap());
    let _hub = FakeHub::at(&folder.path().join("hub.sock"), move |_, path, _, _| {
        answer(200, if path == "/status.json" { &report } else { &winners })
    });
    configure(serves);
    assert_eq!(loteria(folder.path(), &["winners"]).1, "winning number 12: 0 winners\n");
    configure(serves + 1);
    let (code, out, err) = loteria(folder.path(), &["winners"]);
    let other = serves + 1;
    let expected =
        format!("loteria: the hub serves draw {serves}, and [LOTTERY] DRAW is {other}; --stored reads draw {other}\n");
    assert_eq!((code, out.as_str(), err), (Some(1), "", expected));
}

#[test]
fn the_hub_is_found_by_flags_environment_or_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| FakeHub::at(&folder.path().join(name), |_, _, _, _| answer(200, "fine\n"));
    std::fs::write(folder.path().join("config.ini"), "[STORAGE]\nPATH = one.csv\n").unwrap();
    std::fs::write(folder.path().join("other.ini"), "[STATUS]\nSOCKET = three\n").unwrap();
    let from_environment = |name: &str, value: &str| {
        let mut command = command(folder.path(), &["health"]);
        command.env(name, value);
        ended(command)
    };
    let mut found = Vec::new();
    for (socket, arguments) in [
        ("one.csv.sock", &["health"][..]),
        ("two.csv.sock", &["--store", "two.csv", "health"]),
        ("three", &["health", "--config", "other.ini"]),
        ("four", &["health", "--socket", "four", "--store", "two.csv"]),
    ] {
        let _hub = at(socket);
        found.push((socket, loteria(folder.path(), arguments)));
    }
    for (socket, name, value) in [("five.csv.sock", "STORAGE_PATH", "five.csv"), ("six", "STATUS_SOCKET", "six")] {
        let _hub = at(socket);
        found.push((socket, from_environment(name, value)));
    }
    let (code, _, err) = loteria(folder.path(), &["health", "--config", "nowhere.ini"]);
    assert!(code == Some(2) && err.starts_with("loteria: nowhere.ini: No such file"), "{err}");
    let (code, _, err) = from_environment("STATUS_SOCKET", "off");
    assert!(code == Some(1) && err.contains("[STATUS] SOCKET = off"), "{err}");
    for (socket, result) in found {
        assert_eq!(result, (Some(0), "fine\n".to_owned(), String::new()), "{socket}");
    }
}

#[test]
fn a_hub_that_is_not_there_or_speaks_otherwise_is_one_line_and_exit_1() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["status"][..], &["status", "--watch"], &["why"], &["connections"], &["events"], &["health"]] {
        let (code, out, err) = loteria(folder.path(), arguments);
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
        let place = folder.path().canonicalize().unwrap().join("bets.csv.sock");
        assert!(err.starts_with(&format!("loteria: no hub answers at {}: No such file", place.display())), "{err}");
        assert!(["--store PATH", "--socket PATH", "--config FILE"].iter().all(|flag| err.contains(flag)), "{err}");
    }
    let (code, _, err) = loteria(folder.path(), &["health", "--socket", &"x".repeat(200)]);
    assert!(code == Some(1) && err.contains("/xxx"), "{err}");
    let answers = [
        "SSH-2.0\r\n".to_owned(),
        String::new(),
        answer(200, "{\"version\":2}"),
        answer(200, "{\"version\":1}"),
        answer(200, "hello"),
        answer(500, ""),
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(),
    ];
    let says = [
        "bets.csv.sock did not answer as expected",
        "bets.csv.sock did not answer as expected",
        "it has version 2, and this loteria reads version 1",
        "/status.json cannot be read: missing field",
        "/status.json cannot be read: expected value",
        "/status.json with status 500\n",
        "bets.csv.sock did not answer as expected",
    ];
    let _hub = FakeHub::in_folder(folder.path(), move |_, _, _, before| answers[before].clone());
    for says in says {
        let (code, out, err) = loteria(folder.path(), &["status"]);
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
        assert!(err.contains(says), "{says}: {err}");
    }
}

#[test]
fn a_reader_that_leaves_ends_it_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let stream = format!("HTTP/1.1 200 OK\r\n\r\n{}", "data: x\n\n".repeat(100_000));
    let _hub = FakeHub::in_folder(folder.path(), move |_, _, _, _| stream.clone());
    let mut child = command(folder.path(), &["events"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 2]).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(1), ""));
}
