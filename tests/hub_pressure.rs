//! What one peer can take of the hub: memory, time and log lines, by requests and by answers that it does not read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::machine::{eventually, peak_memory_bytes};
use common::{FINISH, Hub, PATIENCE, Peer, binary, binary_batch, binary_bet, hub};
use loteria::limits;

const MIB: usize = 1024 * 1024;
/// A connection with a small receive buffer: the hub can write little before the peer reads.
fn narrow(hub: &Hub, buffer: usize) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(buffer).unwrap();
    socket.connect(&hub.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Peer { stream }
}

/// Agency 1 sends `thousands` batches of a thousand bets on the winning number, and finishes.
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

/// The query of agency 1 in `native`, the dialect with the most bytes for a winner.
fn query() -> Vec<u8> {
    let mut bytes = b"\xb7LN\x01\0\0\0\x01\0\0\0\x05\x03".to_vec();
    bytes.extend(crc32c::crc32c(&[3]).to_be_bytes());
    bytes
}

/// Reads the answer to [`query`] and returns its number of winners.
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
fn a_peer_that_does_not_read_is_closed_and_may_query_again() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("LIMITS_WRITE_TIMEOUT", "700ms").start();
    win(&hub, 20);
    let mut reads_nothing = narrow(&hub, 4096);
    reads_nothing.send(&query());
    let mut reads_little = narrow(&hub, 4096);
    reads_little.send(&query());
    let closed = "reason: the peer does not read what it is sent, for WRITE_TIMEOUT";
    let mut reads = 0;
    while hub.count(closed) < 2 {
        // A few bytes now and then do not count as reading.
        reads_little.stream.read_exact(&mut [0; 50]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        reads += 1;
        assert!(reads < 200, "{}", hub.log());
    }
    for peer in [&mut reads_nothing, &mut reads_little] {
        let mut received = Vec::new();
        // The connection may end with a reset.
        let _ = peer.stream.read_to_end(&mut received);
        assert!(received.len() < 480_000, "the rest of the answer was dropped");
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
    hub.connect_and_speak();
    // Its requests were delayed, not dropped: each is answered once the answers are read.
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
fn over_the_limit_of_all_buffers_the_connections_with_the_largest_are_closed() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_FRAME", "64MiB").start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 1, 1)[..20]);
    // Frames of 60 MiB whose last byte is not sent.
    let length = 60 * MIB;
    let mut frame = binary(1, &[1, 1_000_000], &[]);
    frame[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    frame.resize(length, b'x');
    let greedy: Vec<_> = (0..6)
        .map(|_| {
            let mut peer = hub.connect_and_speak();
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
fn the_draw_answers_every_parked_query_even_where_the_winners_fill_the_buffers() {
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
    hub.connect_and_speak();
    hub.wait_for("action: sorteo | result: success");
    // The peers read one after the other, so that most answers wait in the hub or are not encoded yet. A peer that was
    // closed because it was too slow may ask again.
    for peer in &mut waiting {
        let winners = try_read_winners(peer).or_else(|_| {
            let mut again = hub.connect();
            again.send(&query());
            try_read_winners(&mut again)
        });
        assert_eq!(winners.unwrap(), 40_000);
    }
    assert_eq!(hub.count("buffers are full"), 0);
    let peak = peak_memory_bytes(hub.child.id());
    assert!(peak < 220 * MIB, "{peak} bytes");
}

#[test]
fn slow_readers_do_not_delay_the_winners_of_other_peers() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut slow: Vec<_> = (0..20).map(|_| narrow(&hub, 4096)).collect();
    slow.iter_mut().for_each(|peer| peer.send(&query()));
    let mut fast: Vec<_> = (0..20).map(|_| hub.connect()).collect();
    fast.iter_mut().for_each(|peer| peer.send(&query()));
    win(&hub, 10);
    hub.connect_and_speak();
    for peer in &mut fast {
        assert_eq!(read_winners(peer), 10_000);
    }
    for peer in &mut slow {
        assert_eq!(read_winners(peer), 10_000);
    }
}

#[test]
fn peers_with_many_requests_do_not_starve_one_with_few() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let mut writer = hub.connect_and_speak().stream;
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
    // New connections are accepted, too.
    for _ in 0..20 {
        hub.connect_and_speak();
    }
    stop.store(true, Ordering::Relaxed);
    for (reading, writing) in busy {
        writing.join().unwrap();
        let _ = reading.join().unwrap();
    }
}

#[test]
fn an_agency_does_not_wait_for_untrusted_peers_that_came_before_it() {
    const UNTRUSTED: usize = 500;
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 1, 1));
    agency.expect(&[0]);
    let mut untrusted: Vec<_> = (0..UNTRUSTED).map(|_| hub.connect()).collect();
    hub.wait_for_count("action: accept_connections | result: success", UNTRUSTED + 1);
    // A hub that was stopped finds the bytes of all of them at once, and the agency's last.
    hub.signal(19);
    untrusted.iter_mut().for_each(|peer| peer.send(b"untrusted\n"));
    agency.send(&binary_batch(1, 2, 1));
    hub.signal(18);
    agency.expect(&[0]);
    untrusted.iter_mut().for_each(|peer| peer.expect(b"untrusted\n"));
    hub.wait_for_count("msg: untrusted", UNTRUSTED);
    let log = hub.log();
    let batch = log.rfind("action: apuesta_recibida").unwrap();
    let before = log[..batch].matches("msg: untrusted").count();
    assert!(before <= 2 * limits::UNTRUSTED_PER_TURN, "{before} of {UNTRUSTED} came first");
}

#[test]
fn an_untrusted_peer_that_is_refused_again_and_again_does_not_fill_the_log() {
    const REFUSED: usize = 10_000;
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    // A query and a batch of an unknown agency, in `binary`.
    for (request, line) in [
        (binary(3, &[99], &[]), "action: query | result: fail"),
        (binary_batch(99, 1, 1), "action: apuesta_recibida | result: fail"),
    ] {
        let mut peer = hub.connect();
        let mut sender = peer.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || sender.write_all(&request.repeat(REFUSED)).unwrap());
        peer.expect(&[1; REFUSED]);
        sending.join().unwrap();
        // After the first ones, only the 128th, 256th … 8192nd refusal is logged.
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
