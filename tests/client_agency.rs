//! The client in mode agency, against a hub that is played by hand: what it sends, when, and what it makes of
//! every accident.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;

use client_kit::{FakeHub, agency_3, assert_done, binary_draw, client, documents, rows};

#[test]
fn lockstep_sends_a_batch_for_each_answer_and_reports_the_winners() {
    for end in ["\n", "\r\n"] {
        let hub = FakeHub::new();
        let running = agency_3(&hub, "binary", &rows(25, end)).start();
        let mut peer = hub.accept();
        for (first, last) in [(1, 10), (11, 20), (21, 25)] {
            assert_eq!(peer.binary_batch(), documents(first, last));
            peer.write(&[0]);
        }
        binary_draw(&mut peer, &[30_000_007, 30_000_009]);
        let ended = running.end();
        assert_eq!(peer.rest(), b"");
        assert_done(&ended);
        assert_eq!(
            ended.said("consulta_ganadores"),
            ["action: consulta_ganadores | result: success | cant_ganadores: 2"]
        );
        assert_eq!(
            ended.said("ganador"),
            [30_000_007, 30_000_009]
                .map(|dni| format!("action: ganador | result: success | client_id: 3 | dni: {dni}"))
        );
        assert_eq!(
            ended.lines()[0],
            format!(
                "INFO     action: config | result: success | client_id: 3 | server_address: {} | loop_amount: 5 | \
                 loop_period: 5s | log_level: DEBUG",
                hub.address
            )
        );
        assert_eq!(ended.said("close_connection").len(), 1);
        assert_eq!(ended.said("close_file").len(), 1);
    }
}

#[test]
fn native_has_64_batches_on_their_way_before_any_answer() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(1005, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 0);
    for sequence in 0..64 {
        assert_eq!(peer.native_batch(), (sequence, 10));
    }
    peer.native_ack(64);
    for sequence in 64..100 {
        assert_eq!(peer.native_batch(), (sequence, 10));
    }
    assert_eq!(peer.native_batch(), (100, 5));
    peer.native_ack(101);
    assert_eq!(peer.native(), (2, Vec::new()));
    peer.native_write(0x83, &[[0, 0, 0, 0, 0, 0, 0, 101], [0, 0, 0, 0, 0, 0, 3, 237]].concat());
    assert_eq!(peer.native(), (3, Vec::new()));
    peer.native_write(0x84, &[0, 0, 0, 0]);
    let ended = running.end();
    assert_done(&ended);
    assert_eq!(ended.said("consulta_ganadores").len(), 1);
}

#[test]
fn native_goes_on_where_the_hub_says_and_compares_first() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(25, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 2);
    assert_eq!(peer.native_batch(), (1, 10), "the last that the hub has, to compare");
    peer.native_ack(2);
    assert_eq!(peer.native_batch(), (2, 5));
    peer.native_ack(3);
    assert_eq!(peer.native().0, 2);
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(ended.said("resume"), ["action: resume | result: success | client_id: 3 | batches: 2 | bets: 20"]);
}

#[test]
fn native_stops_where_the_hub_has_other_bets() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(25, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 2);
    assert_eq!(peer.native_batch(), (1, 10));
    peer.native_write(0x82, &[&1u64.to_be_bytes()[..], &[0, 9], b"other|bets"].concat());
    let ended = running.end();
    assert_eq!((ended.code, peer.rest().len()), (Some(1), 0), "{}", ended.log);
    let said = ended.said("resume")[0];
    assert!(
        said.contains("result: fail") && said.contains("batch.maxAmount has changed") && said.ends_with("(other.bets)"),
        "{said}"
    );
}

#[test]
fn native_waits_for_a_full_hub_and_sends_again_from_the_batch_it_refused() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(40, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 0);
    (0..4).for_each(|sequence| assert_eq!(peer.native_batch().0, sequence));
    peer.native_write(0x82, &[&1u64.to_be_bytes()[..], &[0, 7], b"no space left"].concat());
    (1..4).for_each(|sequence| assert_eq!(peer.native_batch().0, sequence));
    running.signal("TERM");
    let ended = running.end();
    let full = "action: send_batch | result: in_progress | client_id: 3 | reason: no space left | retry_in: 200ms";
    assert!(ended.said("send_batch").contains(&full), "{}", ended.log);
}

#[test]
fn a_lost_connection_repeats_the_batch_in_flight_alone_and_warns() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "binary", &rows(25, "\n")).start();
    let mut peer = hub.accept();
    assert_eq!(peer.binary_batch(), documents(1, 10));
    peer.write(&[0]);
    assert_eq!(peer.binary_batch(), documents(11, 20));
    drop(peer);
    let mut peer = hub.accept();
    assert_eq!(peer.binary_batch(), documents(11, 20));
    peer.write(&[0]);
    assert_eq!(peer.binary_batch(), documents(21, 25));
    peer.write(&[0]);
    binary_draw(&mut peer, &[]);
    let ended = running.end();
    assert_done(&ended);
    let warnings: Vec<_> = ended.lines().into_iter().filter(|line| line.starts_with("WARNING")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.log);
    assert!(warnings[0].contains("may store it twice"));
    let again = ended.said("connect").into_iter().filter(|line| line.contains("result: in_progress")).count();
    assert_eq!(again, 1, "{}", ended.log);
    assert!(ended.said("connect").last().unwrap().ends_with("| reason: connected again"), "{}", ended.log);
}

#[test]
fn a_hub_that_starts_after_its_clients_is_waited_for() {
    let hub = FakeHub::absent();
    let running = agency_3(&hub, "binary", &rows(1, "\n")).start();
    running.wait_for("retry_in: 200ms");
    hub.appear();
    let mut peer = hub.accept();
    assert_eq!(peer.binary_batch(), documents(1, 1));
    peer.write(&[0]);
    binary_draw(&mut peer, &[]);
    let ended = running.end();
    assert_done(&ended);
    assert!(ended.said("connect").last().unwrap().ends_with("| reason: connected at last"), "{}", ended.log);
    let first = ended.said("connect")[0].replace(&hub.address.to_string(), "HUB");
    assert_eq!(
        first,
        "action: connect | result: in_progress | client_id: 3 | server_address: HUB | \
         reason: Connection refused (os error 111) | retry_in: 100ms | hint: nothing listens there, is the hub running? \
         the address is from CLI_SERVER_ADDRESS; the client tries for 5m0s (patience)"
    );
    let hints = ended.said("connect").into_iter().filter(|line| line.contains("| hint: ")).count();
    assert_eq!(hints, 1, "{}", ended.log);
}

#[test]
fn a_hub_that_stays_away_for_long_is_warned_about() {
    let hub = FakeHub::absent();
    let running = agency_3(&hub, "native", &rows(1, "\n")).start();
    running.wait_for("retry_in: 5s | warning: is the hub running? the client gives up in 4m5");
    running.signal("TERM");
    let ended = running.end();
    let warned = |line: &&str| line.starts_with("WARNING  action: connect | result: in_progress");
    assert_eq!(ended.lines().into_iter().filter(warned).count(), 1, "{}", ended.log);
}

#[test]
fn a_hub_that_stays_away_is_given_up() {
    let hub = FakeHub::absent();
    let ended = agency_3(&hub, "native", &rows(1, "\n")).env("CLI_PATIENCE", "1ms").run();
    assert_eq!(ended.code, Some(1));
    let said = ended.said("connect");
    let last = said.last().unwrap();
    assert!(last.contains("result: fail") && last.contains("Connection refused"), "{last}");
    assert!(last.ends_with("given_up_after: 1ms"), "{last}");
}

#[test]
fn an_unresolvable_host_name_is_retried_and_then_given_up() {
    let ended = client()
        .env("CLI_SERVER_ADDRESS", "unknown.invalid:12345")
        .env("CLI_PATIENCE", "1ms")
        .file(".data/agency-1.csv", &rows(1, "\n"))
        .run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let said = ended.said("connect");
    assert!(said[0].contains("result: in_progress") && said[0].contains("cannot be looked up"), "{}", ended.log);
    assert!(said.last().unwrap().contains("result: fail"), "{}", ended.log);
}

#[test]
fn a_query_before_the_draw_is_repeated() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "binary", "").arg("--empty").start();
    let mut peer = hub.accept();
    assert_eq!(peer.binary().0, 2);
    peer.write(&[0]);
    for answer in [&[1u8][..], &[0, 0, 0, 0, 0]] {
        assert_eq!(peer.binary().0, 3);
        peer.write(answer);
    }
    let ended = running.end();
    assert_done(&ended);
    assert!(ended.said("bets_sent")[0].contains("| bets: 0 | warning: the file has no bets"), "{}", ended.log);
    assert_eq!(
        ended.said("consulta_ganadores"),
        [
            "action: consulta_ganadores | result: in_progress | client_id: 3 | reason: no winners yet, the draw may wait for other agencies",
            "action: consulta_ganadores | result: success | cant_ganadores: 0"
        ]
    );
}

#[test]
fn a_client_whose_query_is_kept_says_that_it_waits_for_the_draw() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "binary", &rows(1, "\n")).start();
    let mut peer = hub.accept();
    peer.binary_until_the_query();
    running.wait_for("action: consulta_ganadores | result: in_progress | client_id: 3 | reason: no winners yet");
    peer.write(&[0, 0, 0, 0, 0]);
    let ended = running.end();
    assert_done(&ended);
    assert_eq!(ended.said("consulta_ganadores").len(), 2, "{}", ended.log);
}

#[test]
fn a_rerun_that_sends_nothing_says_so() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(15, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 2);
    assert_eq!(peer.native_batch(), (1, 5));
    peer.native_ack(2);
    assert_eq!(peer.native().0, 2);
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(
        ended.said("bets_sent"),
        ["action: bets_sent | result: success | client_id: 3 | batches: 2 | bets: 15 | \
          reason: the hub had every bet already, none was sent"]
    );
}

#[test]
fn a_hub_with_more_batches_than_the_file_is_told_with_its_number() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(25, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 9);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    let said = ended.said("resume")[0];
    assert!(said.contains("the hub has 9 batches") && said.contains("these bets make only 3"), "{said}");
}

#[test]
fn a_client_says_nothing_is_stored_of_a_store_that_was_replaced() {
    let finished = |hub: &FakeHub| {
        let mut peer = hub.accept();
        peer.native_hello(3, 0);
        for batch in 0..3 {
            assert_eq!(peer.native_batch().0, batch);
        }
        peer.native_ack(3);
        assert_eq!(peer.native().0, 2);
    };
    // The other store has fewer batches of the agency, or more.
    for next in [2, 7] {
        let hub = FakeHub::new();
        let running = agency_3(&hub, "native", &rows(25, "\n")).start();
        finished(&hub);
        let mut peer = hub.accept();
        peer.native_hello(3, next);
        if next == 2 {
            assert_eq!(peer.native_batch(), (1, 10), "the last that the hub has, to compare");
            peer.native_write(0x82, &[&1u64.to_be_bytes()[..], &[0, 9], b"other|bets"].concat());
        }
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert!(ended.said("resume").last().unwrap().contains("result: fail"), "{}", ended.log);
        assert!(!ended.log.contains("stored"), "{}", ended.log);
    }
}

#[test]
fn winners_are_written_as_the_dialect_carries_them() {
    let draw = |protocol: &str, file: &str| {
        let hub = FakeHub::new();
        let start = agency_3(&hub, protocol, &rows(10, "\n")).arg("--winners").arg(file);
        let path = start.folder().join(file);
        let keep = start.env("CLI_LINGER", "1000h").start();
        let mut peer = hub.accept();
        if protocol == "native" {
            peer.native_hello(3, 0);
            peer.native_batch();
            peer.native_ack(1);
            peer.native();
            peer.native_write(0x83, &[[0; 8], 10u64.to_be_bytes()].concat());
            peer.native();
            peer.native_write(0x84, &[0, 0, 0, 0]);
        } else {
            peer.binary_batch();
            peer.write(&[0]);
            binary_draw(&mut peer, &[30_000_007]);
        }
        keep.wait_for("action: consulta_ganadores | result: success");
        let text = std::fs::read_to_string(path).unwrap();
        keep.signal("TERM");
        assert_eq!(keep.end().said("write_winners").len(), 1);
        text
    };
    assert_eq!(draw("binary", "w.csv"), "agency,document\n3,30000007\n");
    assert_eq!(draw("binary", "w.json"), "{\"agency\": 3, \"winners\": [\n  {\"document\":\"30000007\"}\n]}\n");
    assert_eq!(draw("native", "w.csv"), "agency,first_name,last_name,document,birthdate,number\n");
}

#[test]
fn csv_and_case_id_say_nothing_of_sending_again() {
    for protocol in ["csv", "case-id"] {
        let hub = FakeHub::new();
        let running = agency_3(&hub, protocol, &rows(25, "\n")).start();
        let mut peer = hub.accept();
        peer.read(1);
        drop(peer);
        let ended = running.end();
        assert_eq!(ended.code, Some(1));
        assert!(!ended.log.contains("sent again"), "{}", ended.log);
        assert!(ended.log.contains("error: the connection was lost, and "), "{}", ended.log);
        let (said, why) = (ended.said("connect"), format!("server_address: {} | error: ", hub.address));
        assert!(said.last().unwrap().contains(&why), "the reason of the loss: {}", ended.log);
    }
}

#[test]
fn a_hub_that_closes_behind_its_last_reply_is_no_failure() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "binary", &rows(5, "\n")).start();
    let mut peer = hub.accept();
    peer.binary_until_the_query();
    // The client finds the reply and the end at once.
    running.signal("STOP");
    running.wait_for_state('T');
    peer.write(&[0, 0, 0, 0, 0]);
    drop(peer);
    running.signal("CONT");
    let ended = running.end();
    assert_done(&ended);
    assert!(ended.said("connect").iter().all(|line| line.contains("result: success")), "{}", ended.log);
}

#[test]
fn a_batch_whose_reply_has_not_come_is_said_to_be_in_doubt() {
    for (replies, stored, remains) in [
        (0, "bets: 0 | done: 0%", "the first 10 are sent, and the hub may have stored them; the others remain"),
        (
            1,
            "bets: 10 | done: 39%",
            "these bets are stored, the next 10 are sent, and the hub may have stored them; the others remain",
        ),
    ] {
        let hub = FakeHub::new();
        let running = agency_3(&hub, "binary", &rows(25, "\n")).start();
        let mut peer = hub.accept();
        for _ in 0..replies {
            peer.binary_batch();
            peer.write(&[0]);
        }
        peer.binary_batch();
        running.signal("INT");
        let ended = running.end();
        let again = "starting again would send all bets again, which binary cannot tell from new ones";
        let said = ended.said("upload");
        let end = format!(" | {stored} | warning: {remains}; {again}");
        assert!(said.last().unwrap().ends_with(&end), "{}", ended.log);
    }
}

#[test]
fn a_rejected_batch_stops_the_client_and_names_its_lines() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "binary", &rows(25, "\n")).start();
    let mut peer = hub.accept();
    peer.binary_batch();
    peer.write(&[0]);
    peer.binary_batch();
    peer.write(&[1]);
    let ended = running.end();
    assert_eq!((ended.code, peer.rest().len()), (Some(1), 0));
    let said = ended.said("send_batch");
    assert!(said.last().unwrap().contains("result: fail | client_id: 3 | lines: 11-20 | error: "), "{}", ended.log);
    let remains = ended.said("upload").last().unwrap().to_string();
    assert!(remains.contains(" | warning: these bets are stored, the others remain; "), "no doubt: {remains}");
}

#[test]
fn an_agency_that_the_draw_does_not_know_is_told_so() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(1, "\n")).start();
    let mut peer = hub.accept();
    peer.read(8);
    peer.write(&[0xB7, b'L', b'N', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    let expected = "action: connect | result: fail | client_id: 3 | error: the agency is not of this draw, \
                    or was excluded from it: check --id, and the hub's AGENCIES";
    assert!(ended.said("connect").contains(&expected), "{}", ended.log);
}

#[test]
fn no_batch_is_over_8192_bytes_whatever_the_configuration_says() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "binary", &rows(1000, "\n")).env("CLI_BATCH_MAXAMOUNT", "100000").start();
    let mut peer = hub.accept();
    let mut seen = Vec::new();
    while seen.len() < 1000 {
        // The kit's reader refuses a longer one.
        seen.extend(peer.binary_batch());
        peer.write(&[0]);
    }
    assert_eq!(seen, documents(1, 1000));
    binary_draw(&mut peer, &[]);
    assert_done(&running.end());
}

#[test]
fn what_the_hub_says_cannot_break_a_line() {
    let hub = FakeHub::new();
    let running = agency_3(&hub, "native", &rows(1, "\n")).start();
    let mut peer = hub.accept();
    peer.native_hello(3, 0);
    peer.native_batch();
    peer.native_write(
        0x82,
        &[&0u64.to_be_bytes()[..], &[0, 4], "bad\naction: x | result: y\u{85}".as_bytes()].concat(),
    );
    let ended = running.end();
    let last = *ended.said("send_batch").last().unwrap();
    assert!(last.ends_with("error: bad.action: x . result: y."), "{last}");
}

#[test]
fn a_hub_that_closes_each_connection_is_explained_once() {
    for (mode, served) in [("agency", "native (DIALECTS)"), ("echo", "echo (ECHO)")] {
        let hub = FakeHub::new();
        let running = agency_3(&hub, "native", &rows(1, "\n")).env("CLI_MODE", mode).start();
        for _ in 0..4 {
            let mut peer = hub.accept();
            peer.read(8);
        }
        running.wait_for("retry_in: 800ms");
        running.signal("TERM");
        let ended = running.end();
        let warning = format!(
            "warning: the hub closes each connection without a reply: it may require TLS (set tls.ca), be full, \
             or not serve {served}; its log has the reason"
        );
        let explained = ended.said("connect").into_iter().filter(|line| line.ends_with(&warning)).count();
        assert_eq!(explained, 1, "{}", ended.log);
    }
}

#[test]
fn what_listens_there_and_is_no_hub_ends_the_client_at_once() {
    for (answer, advice) in [
        (&b"\x15\x03\x03\0\x02\x02\x0a"[..], "the hub wants TLS: set tls.ca"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP and is no hub: correct the port in server.address"),
    ] {
        let hub = FakeHub::new();
        let running = agency_3(&hub, "native", &rows(1, "\n")).start();
        hub.accept().write(answer);
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        let last = *ended.said("connect").last().unwrap();
        assert!(last.contains("result: fail") && last.contains(advice), "{}", ended.log);
        assert!(!ended.log.contains("retry_in"), "{}", ended.log);
    }
}
