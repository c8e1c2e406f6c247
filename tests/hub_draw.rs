//! The draw, end to end, by hand-written `binary` and echo clients against the real server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod core_kit;

use std::io::Read;
use std::sync::Arc;

use common::machine;
use common::{Hub, binary, binary_batch, binary_bet, hub};
use core_kit::batch;
use core_kit::frames::{finish, hello};
use loteria::lottery::Refusal;
use loteria::wire::{Dialect, Rejection, Reply};

/// Agency `agency` bets once on `number`, and finishes.
fn bet_and_finish(hub: &Hub, agency: u32, document: u32, number: u32) {
    let mut peer = hub.connect();
    peer.send(&binary_batch(agency, document, number));
    peer.expect(&[0]);
    peer.send(&binary(2, &[agency], &[]));
    peer.expect(&[0]);
}

fn winners(documents: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(documents.len()).unwrap().to_be_bytes());
    documents.iter().for_each(|document| bytes.extend(document.to_be_bytes()));
    bytes
}

#[test]
fn early_queries_are_parked_and_the_draw_gives_each_agency_its_own() {
    let hub = hub().env("LOTTERY_AGENCIES", "3").start();
    let mut early: Vec<_> = (1..=3).map(|_| hub.connect()).collect();
    for (agency, peer) in (1..).zip(&mut early) {
        peer.send(&binary(3, &[agency], &[]));
    }
    bet_and_finish(&hub, 1, 11, 7574);
    bet_and_finish(&hub, 2, 22, 1);
    assert!(early.iter_mut().all(common::Peer::is_quiet), "no peer receives anything before the draw");
    assert_eq!(hub.count("action: sorteo | result: success"), 0);
    bet_and_finish(&hub, 3, 33, 7574);
    early[0].expect(&winners(&[11]));
    early[1].expect(&winners(&[]));
    early[2].expect(&winners(&[33]));
    hub.wait_for("action: sorteo | result: success");
    let log = hub.log();
    assert_eq!(log.matches("action: sorteo | result: success").count(), 1);
    let drawn = log.find("action: sorteo | result: success").unwrap();
    assert!(log.rfind("apuesta_almacenada").unwrap() < drawn, "every bet's line comes before the draw's");
    // A query after the draw, and late bets.
    let mut late = hub.connect();
    late.send(&binary(3, &[1], &[]));
    late.expect(&winners(&[11]));
    late.send(&binary_batch(1, 12, 7574));
    late.expect(&[1]);
    late.send(&binary(2, &[1], &[]));
    late.expect(&[0]);
}

#[test]
fn rows_are_the_courses_and_quoted_only_where_needed() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    let mut bets = binary_bet("Santiago Lionel", "Lorca", 30_904_465, 19_990_317, 7574);
    bets.extend(binary_bet("José \"Pepe\"", "Núñez, h.", 7, 20_000_229, 0));
    peer.send(&binary(1, &[1, 2], &bets));
    peer.expect(&[0]);
    let expected = "1,Santiago Lionel,Lorca,30904465,1999-03-17,7574\r\n\
                    1,\"José \"\"Pepe\"\"\",\"Núñez, h.\",00000007,2000-02-29,0\r\n";
    assert_eq!(String::from_utf8(hub.rows()).unwrap(), expected);
    hub.wait_for("action: apuesta_recibida | result: success | cantidad: 2");
}

#[test]
fn one_bad_bet_rejects_its_batch_and_the_connection_goes_on() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    let mut bets = binary_bet("Ana", "Paz", 1, 19_990_317, 1);
    bets.extend(binary_bet("Ana", "Paz", 2, 19_990_231, 1));
    peer.send(&binary(1, &[1, 2], &bets));
    peer.expect(&[1]);
    peer.send(&binary_batch(9, 3, 1));
    peer.expect(&[1]);
    peer.send(&binary_batch(1, 4, 1));
    peer.expect(&[0]);
    assert_eq!(hub.rows(), b"1,Ana,Paz,00000004,1999-03-17,1\r\n");
    hub.wait_for("action: apuesta_recibida | result: fail | cantidad: 2");
    hub.wait_for("action: apuesta_recibida | result: fail | cantidad: 1");
}

#[test]
fn impossible_frames_close_their_connection_and_no_other() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut healthy = hub.connect();
    healthy.send(&binary_batch(1, 1, 1));
    healthy.expect(&[0]);
    let overrun = binary(1, &[1, 1], &[0, 0, 0, 99, b'x']);
    let endless = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 1, 2, 3];
    let trailing = binary(2, &[1], b"more");
    for frame in [overrun.as_slice(), &endless, &trailing] {
        let mut hostile = hub.connect();
        hostile.send(frame);
        assert_eq!(hostile.rest(), [1], "{}", frame.escape_ascii());
    }
    hub.wait_for_count("action: receive_message | result: fail", 3);
    healthy.send(&binary_batch(1, 2, 1));
    healthy.expect(&[0]);
}

#[test]
fn every_split_of_a_conversation_has_the_same_outcome() {
    let mut conversation = binary_batch(1, 11, 7574);
    conversation.extend(binary(2, &[1], &[]));
    conversation.extend(binary(3, &[1], &[]));
    let mut expected = vec![0, 0];
    expected.extend(winners(&[11]));
    for split in 1..conversation.len() {
        let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start();
        let mut peer = hub.connect();
        peer.send(&conversation[..split]);
        // An echo is answered in a turn of its own: by then the first part has been read.
        let mut other = hub.connect();
        other.send(b"ping\n");
        assert_eq!(other.rest(), b"ping\n");
        peer.send(&conversation[split..]);
        peer.expect(&expected);
    }
}

#[test]
fn one_byte_at_a_time_and_all_at_once() {
    for chunk in [1, usize::MAX] {
        let hub = hub().env("LOTTERY_AGENCIES", "1").start();
        let mut peer = hub.connect();
        let mut conversation: Vec<u8> = (0..50).flat_map(|document| binary_batch(1, document, 7574)).collect();
        conversation.extend(binary(2, &[1], &[]));
        conversation.extend(binary(3, &[1], &[]));
        for bytes in conversation.chunks(chunk.min(conversation.len())) {
            peer.send(bytes);
        }
        let mut expected = vec![0; 51];
        expected.extend(winners(&(0..50).collect::<Vec<_>>()));
        peer.expect(&expected);
    }
}

#[test]
fn early_queries_are_rejected_where_configured_and_clients_poll() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LOTTERY_EARLY_QUERY", "reject").start();
    bet_and_finish(&hub, 1, 11, 7574);
    let mut peer = hub.connect();
    let query = binary(3, &[1], &[]);
    peer.send(&[query.clone(), query.clone()].concat());
    peer.expect(&[1, 1]);
    bet_and_finish(&hub, 2, 22, 1);
    peer.send(&query);
    peer.expect(&winners(&[11]));
}

#[test]
fn a_half_closed_peer_still_gets_its_winners() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    bet_and_finish(&hub, 1, 11, 7574);
    let mut peer = hub.connect();
    peer.send(&binary(3, &[1], &[]));
    peer.half_close();
    bet_and_finish(&hub, 2, 22, 1);
    assert_eq!(peer.rest(), winners(&[11]));
}

#[test]
fn a_parked_peer_that_leaves_does_not_delay_the_draw() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    for _ in 0..20 {
        hub.connect().send(&binary(3, &[1], &[]));
    }
    bet_and_finish(&hub, 1, 11, 7574);
    bet_and_finish(&hub, 2, 22, 7574);
    let mut peer = hub.connect();
    peer.send(&binary(3, &[2], &[]));
    peer.expect(&winners(&[22]));
}

#[test]
fn echo_sends_the_line_back_and_closes() {
    let hub = hub().start();
    for message in ["hola\n", "[CLIENT 1] Message N°1\n", "12\n", "12345678901\n", "sin fin de línea"] {
        let mut peer = hub.connect();
        peer.send(message.as_bytes());
        if !message.ends_with('\n') {
            peer.half_close();
        }
        assert_eq!(String::from_utf8(peer.rest()).unwrap(), message);
    }
    let mut quiet = hub.connect();
    quiet.send(b"a line without end...");
    assert_eq!(quiet.rest(), b"a line without end...", "silence ends it");
    let mut sly = hub.connect();
    sly.send(b"a | result: fail\tb\r\n");
    assert_eq!(sly.rest(), b"a | result: fail\tb\r\n");
    hub.wait_for("action: receive_message | result: success | ip: 127.0.0.1 | msg: [CLIENT 1] Message N°1");
    hub.wait_for("msg: a . result: fail.b");
    let long = [&[b'x'; 60_000][..], b"\n"].concat();
    let mut peer = hub.connect();
    peer.send(&long);
    peer.expect(&long);
    let line = hub.wait_for("msg: xxx");
    assert!(line.ends_with(&format!("msg: {}…", "x".repeat(256))), "{line}");
    assert_eq!(hub.count("result: fail"), 1, "a peer's words cannot forge a field");
}

#[test]
fn echo_can_be_switched_off() {
    let hub = hub().env("LIMITS_ECHO", "off").start();
    let mut peer = hub.connect();
    peer.send(b"hola\n");
    assert_eq!(peer.rest(), b"");
    hub.wait_for("reason: no known dialect");
}

#[test]
fn a_restarted_hub_remembers_bets_finishes_and_the_draw() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    bet_and_finish(&hub, 1, 11, 7574);
    let mut peer = hub.connect();
    peer.send(&binary_batch(2, 22, 7574));
    peer.expect(&[0]);
    let folder = hub.kill();
    let hub = common::in_folder(folder).env("LOTTERY_AGENCIES", "2").start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 12, 1));
    peer.expect(&[1]);
    peer.send(&binary(2, &[2], &[]));
    peer.expect(&[0]);
    peer.send(&binary(3, &[2], &[]));
    peer.expect(&winners(&[22]));
    let folder = hub.kill();
    let hub = common::in_folder(folder).env("LOTTERY_AGENCIES", "2").start();
    let mut peer = hub.connect();
    peer.send(&binary(3, &[1], &[]));
    peer.expect(&winners(&[11]));
    assert_eq!(hub.count("action: sorteo"), 0, "the draw is not made again");
}

#[test]
fn an_agency_that_the_store_has_cannot_leave_the_roster() {
    let hub = hub().env("LOTTERY_AGENCIES", "4").start();
    bet_and_finish(&hub, 2, 11, 7574);
    let mut peer = hub.connect();
    peer.send(&binary(2, &[3], &[]));
    peer.expect(&[0]);
    let folder = hub.kill();
    for (agencies, has) in [("1", "bets of agency 2"), ("2", "the finish of agency 3")] {
        let (code, _, err) = common::in_folder(Arc::clone(&folder)).env("LOTTERY_AGENCIES", agencies).run();
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("[LOTTERY] AGENCIES = 1-") && err.ends_with(&format!("bets.csv holds {has}\n")), "{err}");
    }
}

#[test]
fn an_agency_that_joins_after_the_draw_is_too_late_for_bets_and_may_finish() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    bet_and_finish(&hub, 1, 11, 7574);
    let hub = common::in_folder(hub.kill()).env("LOTTERY_AGENCIES", "2").start();
    let mut peer = hub.connect();
    peer.send(&[hello(2), batch(Dialect::Native, 2, 0), finish(Dialect::Native, 2)].concat());
    let late = Rejection::Refused(Refusal::Drawn);
    for reply in [
        Reply::Welcome { next: 0 },
        Reply::Rejected { sequence: 0, why: late },
        Reply::Finished { batches: 0, bets: 0, all_stored: false },
    ] {
        let mut bytes = Vec::new();
        let _ = Dialect::Native.encode(&reply, &mut bytes);
        peer.expect(&bytes);
    }
}

#[test]
fn peers_that_read_a_long_list_steadily_all_get_it() {
    const WINNERS: u32 = 60_000;
    const PEERS: usize = 160;
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let mut agency = hub.connect();
    for batch in 0..4 {
        let documents = batch * WINNERS / 4..(batch + 1) * WINNERS / 4;
        let bets: Vec<u8> =
            documents.flat_map(|document| binary_bet("Ana", "Paz", document, 19_990_317, 7574)).collect();
        agency.send(&binary(1, &[1, WINNERS / 4], &bets));
        agency.expect(&[0]);
    }
    agency.send(&binary(2, &[1], &[]));
    agency.expect(&[0]);
    // In all they are more than the hub has for all buffers, by far.
    let mut peers: Vec<_> = (0..PEERS).map(|_| hub.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.send(b"13\nGET_WINNERS|1"));
    let mut length = None;
    for peer in &mut peers {
        let mut start = [0; 8];
        let read = peer.stream.read_exact(&mut start);
        read.unwrap_or_else(|error| panic!("the list's length: {error}; the hub said:\n{}", hub.log()));
        let whole: usize = std::str::from_utf8(&start[..7]).unwrap().parse().expect("seven digits and a line feed");
        assert_eq!(*length.get_or_insert(whole), whole);
    }
    let length = length.unwrap();
    assert!(length * PEERS > loteria::limits::BUFFERS_BYTES_MAX, "{length} bytes each");
    // Each reads a piece in turn, as peers do that are slower than the hub.
    let mut left = vec![length; PEERS];
    let mut piece = vec![0; 256 * 1024];
    while left.iter().any(|left| *left > 0) {
        for (peer, left) in peers.iter_mut().zip(&mut left).filter(|(_, left)| **left > 0) {
            let bytes = peer.stream.read(&mut piece[..(256 * 1024).min(*left)]).expect("the list goes on");
            assert!(bytes > 0, "the list ends {left} bytes early; the hub said:\n{}", hub.log());
            *left -= bytes;
        }
    }
    let peak = machine::peak_memory_bytes(hub.child.id());
    assert!(peak < 128 * 1024 * 1024, "the list is kept once, not once a peer: {peak} bytes");
}
