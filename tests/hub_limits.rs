//! Deadlines, back-pressure and full houses: what one peer may take of the hub, and what others notice of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::machine::{eventually, peak_memory_bytes};
use loteria::limits;

use common::{Hub, PATIENCE, Peer, binary, binary_batch, binary_bet, hub};

const MIB: usize = 1024 * 1024;
/// A finish of agency 2, which no test waits for; its answer is one zero.
const FINISH: [u8; 12] = [0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2];

/// A connection that has shown its dialect.
fn spoken(hub: &Hub) -> Peer {
    let mut peer = hub.connect();
    peer.send(&FINISH);
    peer.expect(&[0]);
    peer
}

/// A connection into which the hub cannot write much that is not read.
fn narrow(hub: &Hub, buffer: usize) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(buffer).unwrap();
    socket.connect(&hub.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Peer { stream }
}

/// Sends bytes one by one, until all are sent or the hub has ended the connection.
fn drip(peer: &mut Peer, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if peer.stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}

/// What comes before the connection ends, one way or another.
fn until_end(peer: &mut Peer) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = peer.stream.read_to_end(&mut rest);
    rest
}

/// Agency 1 bets `thousands` times a thousand bets, all of them on the winning number, and finishes.
fn win(hub: &Hub, thousands: u32) {
    let mut peer = hub.connect();
    for thousand in 0..thousands {
        let documents = thousand * 1000..(thousand + 1) * 1000;
        let bets: Vec<u8> = documents.flat_map(|number| binary_bet("Ana", "Paz", number, 19_990_317, 7574)).collect();
        peer.send(&binary(1, &[1, 1000], &bets));
        peer.expect(&[0]);
    }
    peer.send(&binary(2, &[1], &[]));
    peer.expect(&[0]);
}

/// The query of agency 1 in `native`, the dialect that tells most of a winner.
fn query() -> Vec<u8> {
    let mut bytes = b"\xb7LN\x01\0\0\0\x01\0\0\0\x05\x03".to_vec();
    bytes.extend(crc32c::crc32c(&[3]).to_be_bytes());
    bytes
}

/// Reads the answer to [`query`], and returns how many winners it tells.
fn read_winners(peer: &mut Peer) -> u32 {
    try_read_winners(peer).expect("the whole answer")
}

fn try_read_winners(peer: &mut Peer) -> std::io::Result<u32> {
    let mut start = [0; 13 + 4 + 1 + 4];
    peer.stream.read_exact(&mut start)?;
    assert_eq!(start[17], 0x84, "winners");
    let word = |at: usize| u32::from_be_bytes(start[at..at + 4].try_into().unwrap());
    peer.stream.read_exact(&mut vec![0; word(13) as usize - 5])?;
    Ok(word(18))
}

#[test]
fn a_dialect_has_to_show_within_the_handshake_time_out_however_slowly_its_bytes_come() {
    let hub = hub().env("LIMITS_HANDSHAKE_TIMEOUT", "1s").start();
    let mut silent = hub.connect();
    let mut slow = hub.connect();
    // Ten digits would be an echo line, which the twelve would be sent back as.
    drip(&mut slow, b"123456789012", Duration::from_millis(250));
    assert_eq!(until_end(&mut slow), b"", "the time is counted from the start, not from the last byte");
    assert_eq!(until_end(&mut silent), b"");
    hub.wait_for_count("reason: no dialect within HANDSHAKE_TIMEOUT", 2);
}

#[test]
fn a_frame_has_to_end_within_its_time_out_however_slowly_its_bytes_come() {
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
    let mut idle = spoken(&hub);
    hub.wait_for("reason: nothing received for IDLE_TIMEOUT");
    assert_eq!(idle.rest(), b"");
    assert!(parked.is_quiet());
    let mut other = hub.connect();
    other.send(&binary(2, &[1], &[]));
    parked.expect(&[0, 0, 0, 0, 0]);
}

#[test]
fn a_peer_that_does_not_read_is_dropped_and_may_ask_again() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("LIMITS_WRITE_TIMEOUT", "700ms").start();
    win(&hub, 20);
    let mut deaf = narrow(&hub, 4096);
    deaf.send(&query());
    let mut sipping = narrow(&hub, 4096);
    sipping.send(&query());
    let closed = "reason: the peer does not read what it is sent, for WRITE_TIMEOUT";
    let mut sips = 0;
    while hub.count(closed) < 2 {
        // A byte now and then is not reading.
        sipping.stream.read_exact(&mut [0; 50]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        sips += 1;
        assert!(sips < 200, "{}", hub.log());
    }
    for peer in [&mut deaf, &mut sipping] {
        assert!(until_end(peer).len() < 480_000, "the rest of the answer was dropped");
        peer.stream = hub.connect().stream;
        peer.send(&query());
        assert_eq!(read_winners(peer), 20_000);
    }
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read_from() {
    const REQUESTS: usize = 2_000_000;
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut peer = narrow(&hub, 4096);
    let sent = Arc::new(AtomicUsize::new(0));
    let (mut sender, counter) = (peer.stream.try_clone().unwrap(), Arc::clone(&sent));
    let sending = std::thread::spawn(move || {
        let many = FINISH.repeat(1000);
        for _ in 0..REQUESTS / 1000 {
            sender.write_all(&many).unwrap();
            counter.fetch_add(1000, Ordering::Relaxed);
        }
    });
    let mut before = usize::MAX;
    eventually("the hub stops reading", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < REQUESTS, "all requests were taken though no answer was");
    spoken(&hub);
    // It was held back, not cut off: every request is answered once its answers are read.
    let mut answers = vec![9; REQUESTS];
    peer.stream.read_exact(&mut answers).unwrap();
    assert!(answers.iter().all(|answer| *answer == 0));
    sending.join().unwrap();
}

#[test]
fn requests_of_a_byte_each_cost_no_more_memory_than_large_ones() {
    const REQUESTS: usize = 2 * MIB;
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let before = peak_memory_bytes(hub.child.id());
    let mut peer = hub.connect();
    let mut sender = peer.stream.try_clone().unwrap();
    // A finish of `case-id`.
    let sending = std::thread::spawn(move || sender.write_all(&vec![2; REQUESTS]).unwrap());
    let mut answers = vec![9; REQUESTS];
    peer.stream.read_exact(&mut answers).unwrap();
    assert!(answers.iter().all(|answer| *answer == 2));
    sending.join().unwrap();
    let grown = peak_memory_bytes(hub.child.id()) - before;
    assert!(grown < 8 * MIB, "{grown} bytes more for {REQUESTS} requests");
}

#[test]
fn loud_peers_do_not_starve_a_quiet_one() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let stop = Arc::new(AtomicBool::new(false));
    let loud: Vec<_> = (0..3)
        .map(|_| {
            let mut writer = spoken(&hub).stream;
            let mut reader = writer.try_clone().unwrap();
            let stop = Arc::clone(&stop);
            let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            let writing = std::thread::spawn(move || {
                let many = FINISH.repeat(10_000);
                while !stop.load(Ordering::Relaxed) && writer.write_all(&many).is_ok() {}
                let _ = writer.shutdown(std::net::Shutdown::Both);
            });
            (reading, writing)
        })
        .collect();
    let mut quiet = hub.connect();
    for document in 0..100 {
        quiet.send(&binary_batch(1, document, 1));
        quiet.expect(&[0]);
    }
    // Newcomers are let in, too.
    for _ in 0..20 {
        spoken(&hub);
    }
    stop.store(true, Ordering::Relaxed);
    for (reading, writing) in loud {
        writing.join().unwrap();
        let _ = reading.join().unwrap();
    }
}

#[test]
fn a_stranger_that_is_refused_without_end_does_not_fill_the_log() {
    const REFUSED: usize = 10_000;
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    // A query of nobody in `binary`, and a batch of nobody.
    for (request, line) in [
        (binary(3, &[99], &[]), "action: query | result: fail"),
        (binary_batch(99, 1, 1), "action: apuesta_recibida | result: fail"),
    ] {
        let mut peer = hub.connect();
        let mut sender = peer.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || sender.write_all(&request.repeat(REFUSED)).unwrap());
        peer.expect(&[1; REFUSED]);
        sending.join().unwrap();
        // The 128th, 256th … 8192nd.
        let lines = limits::REFUSALS_LOGGED as usize + 7;
        hub.wait_for_count(line, lines);
        assert_eq!(hub.count(line), lines);
    }
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 1, 1));
    agency.expect(&[0]);
    let lines = 2 * limits::REFUSALS_LOGGED as usize;
    agency.send(&binary(3, &[99], &[]).repeat(lines));
    agency.expect(&vec![1; lines]);
    hub.wait_for_count("action: query | result: fail", lines + limits::REFUSALS_LOGGED as usize + 7);
}

#[test]
fn an_agency_does_not_wait_for_the_strangers_who_came_before_it() {
    const STRANGERS: usize = 500;
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 1, 1));
    agency.expect(&[0]);
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| hub.connect()).collect();
    hub.wait_for_count("action: accept_connections | result: success", STRANGERS + 1);
    // Stopped for a moment, it finds all of them at once, and the agency last.
    hub.signal(19);
    strangers.iter_mut().for_each(|peer| peer.send(b"stranger\n"));
    agency.send(&binary_batch(1, 2, 1));
    hub.signal(18);
    agency.expect(&[0]);
    strangers.iter_mut().for_each(|peer| peer.expect(b"stranger\n"));
    hub.wait_for_count("msg: stranger", STRANGERS);
    let log = hub.log();
    let batch = log.rfind("action: apuesta_recibida").unwrap();
    let before = log[..batch].matches("msg: stranger").count();
    assert!(before <= 2 * limits::UNTRUSTED_PER_TURN, "{before} of {STRANGERS} came first");
}

#[test]
fn a_full_hub_refuses_politely_until_somebody_leaves() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "3").start();
    let mut inside: Vec<_> = (0..3).map(|_| spoken(&hub)).collect();
    let mut refused = hub.connect();
    refused.send(&FINISH);
    assert_eq!(refused.rest(), b"", "an end, not a reset, and no word that could be misread");
    hub.wait_for("action: accept_connections | result: fail | ip: 127.0.0.1 | reason: as many connections as");
    let mut native = hub.connect();
    native.send(b"\xb7LN\x01\0\0\0\x02");
    assert_eq!(native.rest(), b"\xb7LN\x01\x03\0\0\0\0\0\0\0\0", "busy");
    let mut silent = hub.connect();
    assert_eq!(silent.rest(), b"", "closed soon though it says nothing");
    inside[0].send(&FINISH);
    inside[0].expect(&[0]);
    drop(inside.pop());
    eventually("there is room again", || {
        let mut peer = hub.connect();
        peer.send(&FINISH);
        peer.stream.read_exact(&mut [9]).is_ok()
    });
}

#[test]
fn a_newcomer_gets_the_place_of_one_who_has_said_nothing() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "3").start();
    let mut decided = spoken(&hub);
    let silent: Vec<_> = (0..2).map(|_| hub.connect()).collect();
    let mut admitted = Vec::new();
    eventually("both places are given away", || {
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
    assert_eq!(late.rest(), b"", "nobody else has to go");
}

#[test]
fn one_address_cannot_take_every_place_and_one_that_has_bet_keeps_its_own() {
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
    assert_eq!(one_more.rest(), b"", "the crowd has its share");
    let newcomers = [spoken(&hub), spoken(&hub)];
    hub.wait_for_count("ip: 127.0.0.66 | reason: its place is needed", 2);
    let mut third = hub.connect();
    third.send(&FINISH);
    assert_eq!(third.rest(), b"", "six of the crowd are not far more than two");
    agency.send(&binary_batch(1, 2, 1));
    agency.expect(&[0]);
    drop((others, newcomers));
}

#[test]
fn over_the_limit_of_all_buffers_those_who_hold_most_go() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_FRAME", "64MiB").start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 1, 1)[..20]);
    // Frames of 60 MiB of which the last byte never comes.
    let length = 60 * MIB;
    let mut frame = binary(1, &[1, 1_000_000], &[]);
    frame[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    frame.resize(length, b'x');
    let greedy: Vec<_> = (0..6)
        .map(|_| {
            let mut peer = spoken(&hub);
            let _ = peer.stream.write_all(&frame);
            peer
        })
        .collect();
    hub.wait_for("reason: buffers are full");
    agency.send(&binary_batch(1, 1, 1)[20..]);
    agency.expect(&[0]);
    let peak = peak_memory_bytes(hub.child.id());
    assert!(peak < 400 * MIB, "{peak} bytes");
    drop(greedy);
}

#[test]
fn the_draw_answers_all_who_wait_even_where_their_winners_fill_the_buffers() {
    const WAITING: usize = 450;
    let start = hub().env("LOTTERY_AGENCIES", "2");
    let hub = start.env("LIMITS_WRITE_TIMEOUT", "5m").start();
    let mut waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let mut peer = narrow(&hub, 64 * 1024);
            peer.send(&query());
            peer
        })
        .collect();
    win(&hub, 40);
    spoken(&hub);
    hub.wait_for("action: sorteo | result: success");
    // One after the other: for most of them most of their answer has to wait in the hub, or not be there yet.
    // Whoever was too slow for the others may ask again.
    for peer in &mut waiting {
        let heard = try_read_winners(peer).or_else(|_| {
            let mut again = hub.connect();
            again.send(&query());
            try_read_winners(&mut again)
        });
        assert_eq!(heard.unwrap(), 40_000);
    }
    assert_eq!(hub.count("buffers are full"), 0);
    let peak = peak_memory_bytes(hub.child.id());
    assert!(peak < 220 * MIB, "{peak} bytes");
}

#[test]
fn a_slow_reader_holds_up_nobody_elses_winners() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut slow: Vec<_> = (0..20).map(|_| narrow(&hub, 4096)).collect();
    slow.iter_mut().for_each(|peer| peer.send(&query()));
    let mut fast: Vec<_> = (0..20).map(|_| hub.connect()).collect();
    fast.iter_mut().for_each(|peer| peer.send(&query()));
    win(&hub, 10);
    spoken(&hub);
    for peer in &mut fast {
        assert_eq!(read_winners(peer), 10_000);
    }
    for peer in &mut slow {
        assert_eq!(read_winners(peer), 10_000);
    }
}

#[test]
fn a_stream_that_is_closed_for_an_error_still_delivers_its_last_answer() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    for _ in 0..20 {
        let mut peer = spoken(&hub);
        // An impossible length, and more bytes than the hub will ever read of it.
        let mut bytes = binary(1, &[1, 1], &[]);
        bytes[4..8].copy_from_slice(&[0xff; 4]);
        bytes.resize(100_000, b'x');
        peer.stream.write_all(&bytes).unwrap();
        assert_eq!(peer.rest(), [1]);
    }
}

#[test]
fn what_a_client_has_in_flight_behind_its_last_answer_does_not_destroy_it() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    for _ in 0..20 {
        let mut peer = hub.connect();
        peer.send(b"\xb7LN\x01\0\0\0\x01");
        peer.expect(b"\xb7LN\x01\0\0\0\0\0\0\0\0\0");
        // A frame that is damaged, and 63 batches of the same window that leave the client after the hub has closed.
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
fn dialects_that_are_switched_off_are_not_heard() {
    let hub = hub().env("LIMITS_DIALECTS", "native, binary").start();
    // The end of bets of whichever agency is free: the whole of `csv`'s credentials.
    let mut stranger = hub.connect();
    stranger.send(&[0xff]);
    assert_eq!(stranger.rest(), b"");
    hub.wait_for("reason: csv is not one of DIALECTS");
    spoken(&hub);
    let mut echo = hub.connect();
    echo.send(b"hola\n");
    assert_eq!(echo.rest(), b"hola\n", "echo is a matter of ECHO");
}

#[test]
fn unread_bytes_do_not_keep_a_closed_connection() {
    let hub = hub().env("LIMITS_ECHO", "off").start();
    let address: SocketAddr = hub.address;
    let mut babbling = TcpStream::connect(address).unwrap();
    babbling.set_write_timeout(Some(PATIENCE)).unwrap();
    let error = std::iter::repeat(()).find_map(|()| babbling.write_all(&[b'x'; 4096]).err());
    let kind = error.unwrap().kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
    hub.wait_for("reason: no known dialect");
}

#[test]
fn doubled_queries_of_one_agency_do_not_keep_another_out() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "2").start();
    let query = |agency| binary(3, &[agency], &[]);
    let mut first: Vec<_> = (0..2).map(|_| hub.connect()).collect();
    for peer in &mut first {
        peer.send(&[binary(2, &[1], &[]), query(1)].concat());
        peer.expect(&[0]);
    }
    // The search for a slot looks at some of them for each newcomer.
    let mut second = None;
    eventually("agency 2 is let in", || {
        let mut peer = hub.connect();
        peer.send(&[binary(2, &[2], &[]), query(2)].concat());
        let answered = peer.stream.read_exact(&mut [9]).is_ok();
        second = answered.then_some(peer);
        answered
    });
    second.unwrap().expect(&[0, 0, 0, 0, 0]);
    hub.wait_for("action: sorteo | result: success");
    // The one that brought the finish stayed.
    assert_eq!(until_end(&mut first[1]), b"");
    first[0].expect(&[0, 0, 0, 0, 0]);
}
