//! What the operator chooses, and what each dialect answers when things go wrong, against the real server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use common::{Hub, Peer, binary, binary_batch, hub, in_folder};

/// A `text` message with its length.
fn text(message: &str) -> Vec<u8> {
    format!("{}\n{message}", message.len()).into_bytes()
}

/// A `key-value` payload with its length.
fn key_value(payload: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(payload.as_bytes());
    bytes
}

fn key_value_batch(agency: u32, document: u32) -> Vec<u8> {
    key_value(&format!(
        "BATCH_SIZE:1|BET_1:NOMBRE:Ana\\|APELLIDO:Paz\\|DOCUMENTO:{document}\\|NACIMIENTO:1999-03-17\\|NUMERO:7574\\|AGENCY_ID:{agency}\n"
    ))
}

fn csv_batch(document: u32) -> Vec<u8> {
    let bets = format!("Ana,Paz,{document},1999-03-17,7574,");
    let mut bytes = vec![1];
    bytes.extend(u16::try_from(bets.len()).unwrap().to_be_bytes());
    bytes.extend(bets.as_bytes());
    bytes
}

/// Reads a `key-value` answer.
fn key_value_answer(peer: &mut Peer) -> String {
    use std::io::Read;
    let mut length = [0; 4];
    peer.stream.read_exact(&mut length).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    peer.stream.read_exact(&mut payload).unwrap();
    String::from_utf8(payload).unwrap()
}

fn finish(hub: &Hub, agency: u32) {
    let mut peer = hub.connect();
    peer.send(&binary(2, &[agency], &[]));
    peer.expect(&[0]);
}

#[test]
fn text_names_each_error_and_keeps_the_connection() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LOTTERY_EARLY_QUERY", "reject").start();
    let mut peer = hub.connect();
    for (message, answer) in [
        ("Ana|Paz|1|1999-03-17|7574|1", "3\nACK"),
        ("Ana|Paz|2|1999-03-17|1|1\nEva|Sosa|3|2000-02-29|2|1\n", "3\nACK"),
        ("Ana|Paz|1|1999-02-30|7574|1", "19\nERROR_INVALID_BATCH"),
        ("Ana|Paz|1", "19\nERROR_INVALID_BATCH"),
        ("Ana|Paz|1|1999-03-17|7574|7", "20\nERROR_INVALID_AGENCY"),
        ("", "17\nERROR_EMPTY_BATCH"),
        ("GET_WINNERS|uno", "25\nERROR_INVALID_GET_WINNERS"),
        ("GET_WINNERS|1", "25\nERROR_LOTTERY_HASNT_ENDED"),
        ("Ana|Paz|4|1999-03-17|7574|1", "19\nERROR_INVALID_BATCH"),
    ] {
        peer.send(&text(message));
        peer.expect(answer.as_bytes());
    }
    finish(&hub, 2);
    peer.send(&text("GET_WINNERS|1"));
    peer.expect(&text("Ana|Paz|1|1999-03-17|7574|1"));
    assert_eq!(String::from_utf8(hub.rows()).unwrap().lines().count(), 3);
}

#[test]
fn text_works_with_a_connection_per_message() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    for (message, answer) in [
        ("Ana|Paz|1|1999-03-17|7574|1", text("ACK")),
        ("Ana|Paz|2|1999-03-17|1|1", text("ACK")),
        ("GET_WINNERS|1", text("Ana|Paz|1|1999-03-17|7574|1")),
    ] {
        let mut peer = hub.connect();
        peer.send(&text(message));
        peer.half_close();
        assert_eq!(peer.rest(), answer);
    }
}

#[test]
fn unnumbered_connections_get_the_first_free_agency() {
    let hub = hub().env("LOTTERY_AGENCIES", "1-4").env("LOTTERY_UNNUMBERED_AGENCIES", "2-4").start();
    // A stored bet claims agency 2 although its connection is gone.
    let mut claimed = hub.connect();
    claimed.send(&binary_batch(2, 1, 1));
    claimed.expect(&[0]);
    drop(claimed);
    let mut first = hub.connect();
    first.send(&csv_batch(11));
    first.expect(&[2]);
    let mut second = hub.connect();
    second.send(&csv_batch(22));
    second.expect(&[2]);
    let mut third = hub.connect();
    third.send(&csv_batch(33));
    third.expect(&[0xff]);
    let rows = String::from_utf8(hub.rows()).unwrap();
    assert!(rows.contains("3,Ana,Paz,11,") && rows.contains("4,Ana,Paz,22,") && !rows.contains(",33,"), "{rows}");
    for agency in [1, 2] {
        finish(&hub, agency);
    }
    first.send(&[0xff]);
    second.send(&[0xff]);
    assert_eq!(first.rest(), b"\x03\x00\x0211");
    assert_eq!(second.rest(), b"\x03\x00\x0222");
}

#[test]
fn a_lost_agency_is_excluded_after_its_grace_which_completes_the_draw() {
    let hub = hub()
        .env("LOTTERY_AGENCIES", "2")
        .env("LOTTERY_ON_AGENCY_LOSS", "exclude")
        .env("LOTTERY_LOSS_GRACE", "50ms")
        .start();
    let mut lost = hub.connect();
    lost.send(&key_value_batch(1, 11));
    assert!(key_value_answer(&mut lost).starts_with("STATUS:SUCCESS"));
    let mut other = hub.connect();
    other.send(&key_value_batch(2, 22));
    assert!(key_value_answer(&mut other).starts_with("STATUS:SUCCESS"));
    other.send(&key_value("ACTION:FINISH_BETTING|AGENCY_ID:2\n"));
    drop(lost);
    assert_eq!(key_value_answer(&mut other), "STATUS:SUCCESS|WINNERS:22\n");
    hub.wait_for("action: agency_excluded | result: success | agency: 1");
    // It is told so when it returns, also after a restart.
    let hub = in_folder(hub.kill()).env("LOTTERY_AGENCIES", "2").start();
    let mut back = hub.connect();
    back.send(&key_value_batch(1, 12));
    assert!(key_value_answer(&mut back).starts_with("STATUS:ERROR"));
    back.send(&key_value("ACTION:FINISH_BETTING|AGENCY_ID:1\n"));
    assert!(key_value_answer(&mut back).starts_with("STATUS:ERROR"));
    let mut native = hub.connect();
    native.send(b"\xb7LN\x01\0\0\0\x01");
    assert_eq!(native.rest()[..5], *b"\xb7LN\x01\x01");
}

#[test]
fn an_excluded_agency_that_only_asks_is_told_so_before_the_draw() {
    let hub = hub()
        .env("LOTTERY_AGENCIES", "2")
        .env("LOTTERY_ON_AGENCY_LOSS", "exclude")
        .env("LOTTERY_LOSS_GRACE", "10ms")
        .start();
    let mut lost = hub.connect();
    lost.send(&key_value_batch(1, 11));
    key_value_answer(&mut lost);
    drop(lost);
    hub.wait_for("action: agency_excluded | result: success | agency: 1");
    let mut asks = hub.connect();
    asks.send(&binary(3, &[1], &[]));
    asks.expect(&[1]);
}

#[test]
fn an_adopted_agency_is_not_given_to_an_unnumbered_connection() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 11, 7574));
    peer.expect(&[0]);
    let folder = hub.kill();
    std::fs::remove_file(folder.path().join("bets.csv.journal")).unwrap();
    let (code, _, err) = in_folder(std::sync::Arc::clone(&folder)).env("LOTTERY_AGENCIES", "2").run();
    assert_eq!(code, Some(65), "{err}");
    let hub = in_folder(folder).env("LOTTERY_AGENCIES", "2").arg("--adopt").start();
    let mut unnumbered = hub.connect();
    unnumbered.send(&csv_batch(22));
    unnumbered.expect(&[2]);
    let rows = String::from_utf8(hub.rows()).unwrap();
    assert!(rows.contains("2,Ana,Paz,22,"), "{rows}");
}

#[test]
fn an_agency_that_returns_within_its_grace_goes_on_where_it_was() {
    let hub = hub()
        .env("LOTTERY_AGENCIES", "1")
        .env("LOTTERY_ON_AGENCY_LOSS", "exclude")
        .env("LOTTERY_LOSS_GRACE", "1h")
        .start();
    let mut lost = hub.connect();
    lost.send(&key_value_batch(1, 11));
    key_value_answer(&mut lost);
    drop(lost);
    hub.wait_for("action: agency_lost | result: in_progress | agency: 1");
    let mut back = hub.connect();
    back.send(&key_value_batch(1, 12));
    assert!(key_value_answer(&mut back).starts_with("STATUS:SUCCESS"));
    hub.wait_for("action: agency_returned | result: success | agency: 1");
    back.send(&key_value("ACTION:BETTING_FINISHED|AGENCY_ID:1\n"));
    assert_eq!(key_value_answer(&mut back), "STATUS:SUCCESS|WINNERS:11,12\n");
    assert_eq!(back.rest(), b"");
}

#[test]
fn a_connection_per_message_is_not_a_loss() {
    let hub = hub()
        .env("LOTTERY_AGENCIES", "2")
        .env("LOTTERY_ON_AGENCY_LOSS", "exclude")
        .env("LOTTERY_LOSS_GRACE", "10ms")
        .start();
    let mut once = hub.connect();
    once.send(&text("Ana|Paz|1|1999-03-17|7574|1"));
    once.expect(b"3\nACK");
    drop(once);
    // The key-value agency is lost for real, after the text agency's connection ended.
    let mut lost = hub.connect();
    lost.send(&key_value_batch(2, 22));
    key_value_answer(&mut lost);
    drop(lost);
    hub.wait_for("action: agency_excluded | result: success | agency: 2");
    let mut again = hub.connect();
    again.send(&text("GET_WINNERS|1"));
    again.expect(&text("Ana|Paz|1|1999-03-17|7574|1"));
    hub.wait_for_count("action: agency_excluded", 1);
}

#[test]
fn an_agency_that_does_not_return_after_a_restart_is_excluded_too() {
    let hub = hub().env("LOTTERY_AGENCIES", "1-2").start();
    let mut peer = hub.connect();
    peer.send(&key_value_batch(1, 11));
    key_value_answer(&mut peer);
    let hub = in_folder(hub.kill())
        .env("LOTTERY_AGENCIES", "1-2")
        .env("LOTTERY_ON_AGENCY_LOSS", "exclude")
        .env("LOTTERY_LOSS_GRACE", "50ms")
        .start();
    hub.wait_for("action: agency_excluded | result: success | agency: 1");
    let mut other = hub.connect();
    other.send(&key_value("ACTION:FINISH_BETTING|AGENCY_ID:2\n"));
    assert_eq!(key_value_answer(&mut other), "STATUS:SUCCESS|WINNERS:\n");
}

#[test]
fn case_id_says_at_the_finish_whether_every_batch_was_stored() {
    let bet = |agency: u32, date: &str| {
        let mut bytes = agency.to_be_bytes().to_vec();
        for field in ["Ana", "Paz", "30904465", date] {
            bytes.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
            bytes.extend(field.as_bytes());
        }
        bytes.extend(7574u32.to_be_bytes());
        let mut frame = vec![1];
        frame.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        frame.extend(bytes);
        frame
    };
    for (date, answer) in [("1999-03-17", 2), ("1999-03-99", 0)] {
        let hub = hub().env("LOTTERY_AGENCIES", "3").start();
        finish(&hub, 1);
        finish(&hub, 2);
        let mut peer = hub.connect();
        peer.send(&bet(3, "1999-03-17"));
        peer.send(&bet(3, date));
        peer.send(&[2]);
        peer.expect(&[answer]);
        peer.send(&[3, 0, 0, 0, 3]);
        let winners = if answer == 2 { 2 } else { 1 };
        let mut expected = u32::to_be_bytes(12 * winners).to_vec();
        for _ in 0..winners {
            expected.extend(b"\0\0\0\x0830904465");
        }
        assert_eq!(peer.rest(), expected);
    }
}

#[test]
fn case_id_finishes_without_bets_for_the_agency_that_the_query_names() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    peer.send(&[2]);
    peer.expect(&[2]);
    peer.send(&[3, 0, 0, 0, 1]);
    assert_eq!(peer.rest(), [0, 0, 0, 0]);
    hub.wait_for("action: sorteo | result: success");
}

#[test]
fn winners_that_csv_cannot_say_are_refused_and_logged() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    let documents = 1_000_000_000u32..1_000_006_000;
    for chunk in documents.collect::<Vec<_>>().chunks(1000) {
        let bets: String = chunk.iter().map(|document| format!("A,B,{document},1999-03-17,7574,")).collect();
        let mut frame = vec![1];
        frame.extend(u16::try_from(bets.len()).unwrap().to_be_bytes());
        frame.extend(bets.as_bytes());
        peer.send(&frame);
        peer.expect(&[2]);
    }
    peer.send(&[0xff]);
    assert_eq!(peer.rest(), [0xff]);
    hub.wait_for("ERROR    action: send_message | result: fail");
}

#[test]
fn a_finish_that_asks_for_winners_is_held_until_the_draw() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut peer = hub.connect();
    peer.send(&key_value("ACTION:FINISH_BETTING|AGENCY_ID:1\n"));
    hub.wait_for("action: accept_connections | result: success");
    assert!(peer.is_quiet());
    finish(&hub, 2);
    assert_eq!(key_value_answer(&mut peer), "STATUS:SUCCESS|WINNERS:\n");
}
