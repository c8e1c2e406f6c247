//! Hostile and slow peers of a hub that speaks TLS.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::authority::{Authority, Secured, authority, client_config, connect, expect, secure, secured};
use crate::common::machine::{descriptors, eventually, peak_memory_bytes};
use crate::common::{Hub, binary, binary_batch, binary_bet};

#[test]
fn a_slow_handshake_ends_with_its_time_out() {
    let authority = authority!();
    let hub = secure(authority).env("LIMITS_HANDSHAKE_TIMEOUT", "500ms").start();
    let mut peer = hub.connect();
    // A record of which a byte comes now and then.
    let mut sent = 0;
    while hub.count("no dialect within HANDSHAKE_TIMEOUT") == 0 {
        let _ = peer.stream.write_all(&[[0x16, 3, 1, 2, 0, 1][sent.min(5)]]);
        sent += 1;
        assert!(sent < 600);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // A handshake alone says nothing of a dialect.
    let mut mute = connect(authority, &hub, None);
    mute.flush().unwrap();
    assert_eq!(mute.read(&mut [0]).unwrap(), 0, "the end");
    hub.wait_for_count("no dialect within HANDSHAKE_TIMEOUT", 2);
}

#[test]
fn bytes_that_are_no_tls_are_refused_with_an_alert_and_cost_little() {
    let authority = authority!();
    let hub = secure(authority).start();
    let mut healthy = connect(authority, &hub, None);
    healthy.write_all(&binary_batch(1, 1, 1)).unwrap();
    expect(&mut healthy, &[0]);
    let record = |length: u16, bytes: &[u8]| {
        let mut record = vec![0x16, 3, 1];
        record.extend(length.to_be_bytes());
        record.extend(bytes);
        record
    };
    // A message of 16 MiB in records of 16 KiB, which would have to be kept until it is whole.
    let mut endless = record(16_384, &[&[1, 0xff, 0xff, 0xff][..], &[0; 16_380]].concat());
    endless.extend(record(16_384, &[0; 16_384]).repeat(4));
    for bytes in [
        record(5, b"hello"),
        record(0xffff, &[1; 100]),
        record(4, &[1, 0, 0, 0]),
        record(0, b"").repeat(100),
        [0x16, 3].repeat(200),
        endless,
    ] {
        let mut peer = hub.connect();
        let _ = peer.stream.write_all(&bytes);
        let _ = peer.stream.shutdown(Shutdown::Write);
        let mut received = Vec::new();
        let _ = peer.stream.read_to_end(&mut received);
        assert!(received.is_empty() || received[0] == 21, "an alert, if anything: {}", received.escape_ascii());
    }
    hub.wait_for_count("action: tls | result: fail", 5);
    // Records that are not encrypted, after a good handshake.
    let mut peer = connect(authority, &hub, None);
    peer.write_all(&binary(2, &[2], &[])).unwrap();
    expect(&mut peer, &[0]);
    peer.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
    peer.sock.write_all(&[7; 40]).unwrap();
    assert!(peer.read(&mut [0]).is_err(), "an alert");
    hub.wait_for("reason: cannot decrypt peer's message");
    healthy.write_all(&binary_batch(1, 2, 1)).unwrap();
    expect(&mut healthy, &[0]);
    assert_eq!(hub.count("the TLS library failed"), 0);
}

#[test]
fn a_connection_cut_in_the_middle_of_a_handshake_leaves_nothing() {
    let authority = authority!();
    let hub = secure(authority).start();
    let before = descriptors(hub.child.id());
    for sent in [1, 2, 5, 50, 200] {
        let mut client =
            ClientConnection::new(client_config(authority, None), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut peer = hub.connect();
        peer.send(&hello[..sent.min(hello.len())]);
    }
    eventually("nothing is left of them", || descriptors(hub.child.id()) == before);
}

#[test]
fn many_handshakes_at_once_do_not_delay_uploads_and_cost_what_is_counted() {
    const PEERS: usize = 200;
    let authority = authority!();
    let hub = secure(authority).start();
    let mut healthy = hub.connect();
    healthy.send(&binary_batch(1, 0, 1));
    healthy.expect(&[0]);
    let before = peak_memory_bytes(hub.child.id());
    let mut peers: Vec<_> = (0..PEERS).map(|_| connect(authority, &hub, None)).collect();
    std::thread::scope(|scope| {
        for some in peers.chunks_mut(PEERS / 4) {
            scope.spawn(|| {
                for peer in some {
                    peer.write_all(&binary(2, &[2], &[])).unwrap();
                    expect(peer, &[0]);
                }
            });
        }
        for document in 1..50 {
            healthy.send(&binary_batch(1, document, 1));
            healthy.expect(&[0]);
        }
    });
    let each = (peak_memory_bytes(hub.child.id()) - before) / PEERS;
    assert!(each < 2 * loteria::limits::TLS_CONNECTION_BYTES, "{each} bytes for each connection");
}

/// Agency 1, of which a hundred thousand bets are stored, all on the winning number.
fn agency_of_winners(authority: &Authority, hub: &Hub) -> Secured {
    let mut agency = connect(authority, hub, None);
    for hundred in 0..100 {
        let documents = hundred * 1000..(hundred + 1) * 1000;
        let bets: Vec<u8> = documents.flat_map(|number| binary_bet("A", "B", number, 19_990_317, 7574)).collect();
        agency.write_all(&binary(1, &[1, 1000], &bets)).unwrap();
        expect(&mut agency, &[0]);
    }
    agency
}

#[test]
fn a_peer_that_does_not_read_encrypted_winners_is_dropped_and_may_ask_again() {
    let authority = authority!();
    let hub = secure(authority).env("LOTTERY_AGENCIES", "1").env("LIMITS_WRITE_TIMEOUT", "700ms").start();
    let mut agency = agency_of_winners(authority, &hub);
    agency.write_all(&[binary(2, &[1], &[]), binary(3, &[1], &[])].concat()).unwrap();
    let mut winners = vec![9; 1 + 1 + 4 + 4 * 100_000];
    agency.read_exact(&mut winners).unwrap();
    assert_eq!(winners[..6], [0, 0, 0, 1, 0x86, 0xa0]);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&hub.address.into()).unwrap();
    let mut unread = secured(authority, socket.into(), None);
    // Enough answers that they do not fit between the two.
    unread.write_all(&binary(3, &[1], &[]).repeat(4)).unwrap();
    hub.wait_for("reason: the peer does not read what it is sent, for WRITE_TIMEOUT");
    assert!(unread.read_to_end(&mut Vec::new()).is_err(), "truncated, and no close_notify that would hide it");
    let mut again = connect(authority, &hub, None);
    again.write_all(&binary(3, &[1], &[])).unwrap();
    expect(&mut again, &winners[1..]);
}

#[test]
fn a_peer_that_begins_to_read_as_it_is_dropped_does_not_harm_others() {
    let authority = authority!();
    let hub = secure(authority).env("LOTTERY_AGENCIES", "1").env("LIMITS_WRITE_TIMEOUT", "500ms").start();
    let mut agency = agency_of_winners(authority, &hub);
    agency.write_all(&binary(2, &[1], &[])).unwrap();
    expect(&mut agency, &[0]);
    let mut unread = connect(authority, &hub, None);
    unread.write_all(&binary(3, &[1], &[]).repeat(20)).unwrap();
    let mut start = vec![0; 1000];
    unread.read_exact(&mut start).unwrap();
    // While the hub stands still its patience ends, and the socket takes more than before.
    hub.signal(19);
    std::thread::sleep(Duration::from_millis(600));
    unread.sock.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while unread.read(&mut [0; 16 * 1024]).is_ok() {}
    hub.signal(18);
    hub.wait_for("reason: the peer does not read what it is sent, for WRITE_TIMEOUT");
    agency.write_all(&binary(3, &[1], &[])).unwrap();
    expect(&mut agency, &start[..6]);
}
