//! A hub that is stopped and continued, as by Ctrl-Z and `fg`, `docker pause` or a debugger. Its own pause is no silence of
//! its peers: what came meanwhile is accepted, read and, for writes, tried before any deadline acts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::Read;
use std::time::Duration;

use common::{Hub, Peer, binary, binary_batch, binary_bet, hub, machine};

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
/// The time-out that each test sets, and a pause that is longer than it.
const TIMEOUT: &str = "1s";
const PAUSE: Duration = Duration::from_millis(2500);

/// Stops the hub, lets its peers do something, and continues it when more than the time-out has passed.
fn paused<R>(hub: &Hub, meanwhile: impl FnOnce() -> R) -> R {
    hub.signal(SIGSTOP);
    machine::eventually("the hub is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", hub.child.id())).unwrap();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    });
    let result = meanwhile();
    // The pause itself is what is tested: nothing happens that could be waited for.
    std::thread::sleep(PAUSE);
    hub.signal(SIGCONT);
    result
}

/// A `key-value` batch of one bet, with its length; the dialect keeps its connection.
fn key_value_batch(agency: u32, document: u32) -> Vec<u8> {
    let payload = format!(
        "BATCH_SIZE:1|BET_1:NOMBRE:Ana\\|APELLIDO:Paz\\|DOCUMENTO:{document}\\|NACIMIENTO:1999-03-17\\|NUMERO:7574\\|AGENCY_ID:{agency}\n"
    );
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(payload.as_bytes());
    bytes
}

#[track_caller]
fn expect_success(peer: &mut Peer) {
    let mut length = [0; 4];
    peer.stream.read_exact(&mut length).expect("an answer");
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    peer.stream.read_exact(&mut payload).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    assert!(payload.starts_with("STATUS:SUCCESS"), "{payload}");
}

#[test]
fn a_first_frame_that_came_in_the_pause_is_in_time() {
    let hub = hub().env("LIMITS_HANDSHAKE_TIMEOUT", TIMEOUT).start();
    let mut peer = hub.connect();
    let mut echo = hub.connect();
    hub.wait_for_count("action: accept_connections | result: success", 2);
    paused(&hub, || {
        peer.send(&binary_batch(1, 1, 1));
        echo.send(b"hola\n");
    });
    peer.expect(&[0]);
    echo.expect(b"hola\n");
}

#[test]
fn the_rest_of_a_frame_that_came_in_the_pause_is_in_time() {
    let hub = hub().env("LIMITS_FRAME_TIMEOUT", TIMEOUT).start();
    let mut peer = hub.connect();
    let frame = binary_batch(1, 1, 1);
    // The answer to the first frame says that the second one's start was read with it.
    peer.send(&[&frame[..], &frame[..20]].concat());
    peer.expect(&[0]);
    paused(&hub, || peer.send(&frame[20..]));
    peer.expect(&[0]);
}

#[test]
fn a_peer_that_spoke_in_the_pause_is_not_idle() {
    let hub = hub().env("LIMITS_IDLE_TIMEOUT", TIMEOUT).start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 1, 1));
    peer.expect(&[0]);
    paused(&hub, || peer.send(&binary_batch(1, 2, 1)));
    peer.expect(&[0]);
}

#[test]
fn agencies_that_came_back_in_the_pause_are_not_excluded() {
    const AGENCIES: u32 = 20;
    let hub = hub()
        .env("LOTTERY_AGENCIES", &AGENCIES.to_string())
        .env("LOTTERY_ON_AGENCY_LOSS", "exclude")
        .env("LOTTERY_LOSS_GRACE", TIMEOUT)
        .env("SERVER_LISTEN_BACKLOG", &AGENCIES.to_string())
        .start();
    let upload = |agency: u32| {
        let mut peer = hub.connect();
        peer.send(&key_value_batch(agency, agency));
        peer
    };
    let mut peers: Vec<Peer> = (1..=AGENCIES).map(upload).collect();
    peers.iter_mut().for_each(expect_success);
    // All are lost in one turn, and the hub is stopped before the grace of the first is over.
    hub.signal(SIGSTOP);
    drop(peers);
    hub.signal(SIGCONT);
    hub.wait_for_count("action: agency_lost", AGENCIES as usize);
    let mut peers: Vec<Peer> = paused(&hub, || (1..=AGENCIES).map(upload).collect());
    peers.iter_mut().for_each(expect_success);
    let (_, log) = hub.terminate();
    assert!(!log.contains("agency_excluded"), "{log}");
}

#[test]
fn a_peer_that_reads_its_winners_through_the_pause_gets_them() {
    const WINNERS: u32 = 200_000;
    let hub = hub().env("LIMITS_WRITE_TIMEOUT", TIMEOUT).env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    for batch in 0..10 {
        let documents = batch * WINNERS / 10..(batch + 1) * WINNERS / 10;
        let bets: Vec<u8> =
            documents.flat_map(|document| binary_bet("Ana", "Paz", document, 19_990_317, 7574)).collect();
        peer.send(&binary(1, &[1, WINNERS / 10], &bets));
        peer.expect(&[0]);
    }
    let reader = hub.connect();
    socket2::SockRef::from(&reader.stream).set_recv_buffer_size(64 * 1024).unwrap();
    let mut reader = reader;
    reader.send(b"13\nGET_WINNERS|1");
    let mut start = [0; 8];
    reader.stream.read_exact(&mut start).unwrap();
    let length: usize = std::str::from_utf8(&start[..7]).unwrap().parse().expect("seven digits and a line feed");
    let rest = paused(&hub, || {
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            let mut chunk = vec![0; 64 * 1024];
            while rest.len() < length {
                match reader.stream.read(&mut chunk).unwrap() {
                    0 => break,
                    bytes => rest.extend_from_slice(&chunk[..bytes]),
                }
            }
            rest.len()
        })
    });
    assert_eq!(rest.join().unwrap(), length, "the whole list; the hub said:\n{}", hub.log());
}
