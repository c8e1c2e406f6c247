//! Which connections the hub keeps: deadlines, admission and eviction where all slots are taken, and how a connection is
//! closed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Duration;

use common::machine::eventually;
use common::{FINISH, PATIENCE, Peer, binary, binary_batch, hub};

/// Sends bytes one by one, until all are sent or the hub has closed the connection.
fn drip(peer: &mut Peer, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if peer.stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}

/// The bytes that arrive before the connection ends or is lost.
fn until_end(peer: &mut Peer) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = peer.stream.read_to_end(&mut rest);
    rest
}

#[test]
fn a_dialect_has_to_be_known_within_the_handshake_timeout_however_slowly_its_bytes_come() {
    let hub = hub().env("LIMITS_HANDSHAKE_TIMEOUT", "1s").start();
    let mut silent = hub.connect();
    let mut slow = hub.connect();
    // The tenth digit would decide for `echo`, which sends bytes back.
    drip(&mut slow, b"123456789012", Duration::from_millis(250));
    assert_eq!(until_end(&mut slow), b"", "the time is counted from the start, not from the last byte");
    assert_eq!(until_end(&mut silent), b"");
    hub.wait_for_count("reason: no dialect within HANDSHAKE_TIMEOUT", 2);
}

#[test]
fn a_frame_has_to_end_within_its_timeout_however_slowly_its_bytes_come() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_FRAME_TIMEOUT", "500ms").start();
    let mut slow = hub.connect();
    slow.send(&binary_batch(1, 1, 1)[..20]);
    drip(&mut slow, &binary_batch(1, 1, 1)[20..], Duration::from_millis(100));
    assert_eq!(until_end(&mut slow), b"", "never answered");
    hub.wait_for("reason: a frame begun and not ended within FRAME_TIMEOUT");
    assert_eq!(hub.rows(), b"");
}

#[test]
fn an_idle_peer_is_closed_and_a_parked_one_is_not() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_IDLE_TIMEOUT", "300ms").start();
    let mut parked = hub.connect();
    parked.send(&binary(3, &[1], &[]));
    let mut idle = hub.connect_and_speak();
    hub.wait_for("reason: nothing received for IDLE_TIMEOUT");
    assert_eq!(idle.rest(), b"");
    assert!(parked.is_quiet());
    let mut other = hub.connect();
    other.send(&binary(2, &[1], &[]));
    parked.expect(&[0, 0, 0, 0, 0]);
}

#[test]
fn a_full_hub_refuses_connections_until_a_slot_is_free() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "3").start();
    let mut inside: Vec<_> = (0..3).map(|_| hub.connect_and_speak()).collect();
    let mut refused = hub.connect();
    refused.send(&FINISH);
    assert_eq!(refused.rest(), b"", "an end, not a reset, and no bytes that could be misread");
    hub.wait_for("action: accept_connections | result: fail | ip: 127.0.0.1 | reason: as many connections as");
    let mut native = hub.connect();
    native.send(b"\xb7LN\x01\0\0\0\x02");
    assert_eq!(native.rest(), b"\xb7LN\x01\x03\0\0\0\0\0\0\0\0", "busy");
    let mut silent = hub.connect();
    assert_eq!(silent.rest(), b"", "closed soon although it sends nothing");
    inside[0].send(&FINISH);
    inside[0].expect(&[0]);
    drop(inside.pop());
    eventually("a slot is free", || {
        let mut peer = hub.connect();
        peer.send(&FINISH);
        peer.stream.read_exact(&mut [9]).is_ok()
    });
}

#[test]
fn a_new_connection_gets_the_slot_of_one_that_has_sent_nothing() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "3").start();
    let mut decided = hub.connect_and_speak();
    let silent: Vec<_> = (0..2).map(|_| hub.connect()).collect();
    let mut admitted = Vec::new();
    eventually("both slots are given away", || {
        let mut peer = hub.connect();
        peer.send(&FINISH);
        if peer.stream.read_exact(&mut [9]).is_ok() {
            admitted.push(peer);
        }
        admitted.len() == 2
    });
    hub.wait_for_count("reason: its place is needed", 2);
    for mut peer in silent {
        assert_eq!(until_end(&mut peer), b"");
    }
    decided.send(&FINISH);
    decided.expect(&[0]);
    let mut late = hub.connect();
    late.send(&FINISH);
    assert_eq!(late.rest(), b"", "no other connection is evicted");
}

#[test]
fn one_address_cannot_take_every_slot_and_a_connection_that_has_bet_keeps_its_own() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "8").start();
    let crowd = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
    let mut agency = hub.connect_from(crowd);
    agency.send(&binary_batch(1, 1, 1));
    agency.expect(&[0]);
    let others: Vec<_> = (0..7)
        .map(|_| {
            let mut peer = hub.connect_from(crowd);
            peer.send(&FINISH);
            peer.expect(&[0]);
            peer
        })
        .collect();
    let mut one_more = hub.connect_from(crowd);
    one_more.send(&FINISH);
    assert_eq!(one_more.rest(), b"", "the address has its share");
    let newcomers = [hub.connect_and_speak(), hub.connect_and_speak()];
    hub.wait_for_count("ip: 127.0.0.66 | reason: its place is needed", 2);
    let mut third = hub.connect();
    third.send(&FINISH);
    assert_eq!(third.rest(), b"", "six slots of one address are not far more than two of another");
    agency.send(&binary_batch(1, 2, 1));
    agency.expect(&[0]);
    drop((others, newcomers));
}

#[test]
fn repeated_queries_of_one_agency_do_not_keep_another_agency_out() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "2").start();
    let query = |agency| binary(3, &[agency], &[]);
    let mut first: Vec<_> = (0..2).map(|_| hub.connect()).collect();
    for peer in &mut first {
        peer.send(&[binary(2, &[1], &[]), query(1)].concat());
        peer.expect(&[0]);
    }
    // The search for a slot to evict looks at some connections for each new one.
    let mut second = None;
    eventually("agency 2 is admitted", || {
        let mut peer = hub.connect();
        peer.send(&[binary(2, &[2], &[]), query(2)].concat());
        let answered = peer.stream.read_exact(&mut [9]).is_ok();
        second = answered.then_some(peer);
        answered
    });
    second.unwrap().expect(&[0, 0, 0, 0, 0]);
    hub.wait_for("action: sorteo | result: success");
    // The connection that brought the finish has stayed.
    assert_eq!(until_end(&mut first[1]), b"");
    first[0].expect(&[0, 0, 0, 0, 0]);
}

#[test]
fn dialects_that_are_switched_off_are_refused() {
    let hub = hub().env("LIMITS_DIALECTS", "native, binary").start();
    // The finish of `csv`.
    let mut peer = hub.connect();
    peer.send(&[0xff]);
    assert_eq!(peer.rest(), b"");
    hub.wait_for("reason: csv is not one of DIALECTS");
    hub.connect_and_speak();
    let mut echo = hub.connect();
    echo.send(b"hola\n");
    assert_eq!(echo.rest(), b"hola\n", "the setting for echo is ECHO");
}

#[test]
fn a_stream_that_is_closed_for_an_error_still_delivers_its_last_answer() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    for _ in 0..20 {
        let mut peer = hub.connect_and_speak();
        // A length over the limit, and more bytes than the hub reads of such a frame.
        let mut bytes = binary(1, &[1, 1], &[]);
        bytes[4..8].copy_from_slice(&[0xff; 4]);
        bytes.resize(100_000, b'x');
        peer.stream.write_all(&bytes).unwrap();
        assert_eq!(peer.rest(), [1]);
    }
}

#[test]
fn batches_in_flight_behind_a_bad_frame_do_not_destroy_its_answer() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    for _ in 0..20 {
        let mut peer = hub.connect();
        peer.send(b"\xb7LN\x01\0\0\0\x01");
        peer.expect(b"\xb7LN\x01\0\0\0\0\0\0\0\0\0");
        // A damaged frame, and 63 batches of the same window that are sent after the hub has closed its side.
        peer.send(b"\0\0\0\x05\x03wrong");
        peer.stream.peek(&mut [0]).unwrap();
        for _ in 0..63 {
            peer.send(&[b'x'; 8 * 1024]);
        }
        let answer = peer.rest();
        assert!(answer.len() > 5, "an error in words, and an end: {}", answer.escape_ascii());
    }
    assert!(hub.log().contains("connection closed"), "{}", hub.log());
}

#[test]
fn unread_bytes_do_not_keep_a_closed_connection() {
    let hub = hub().env("LIMITS_ECHO", "off").start();
    let mut babbling = TcpStream::connect(hub.address).unwrap();
    babbling.set_write_timeout(Some(PATIENCE)).unwrap();
    let error = std::iter::repeat(()).find_map(|()| babbling.write_all(&[b'x'; 4096]).err());
    let kind = error.unwrap().kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
    hub.wait_for("reason: no known dialect");
}
