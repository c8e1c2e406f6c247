//! One peer that asks and reads as fast as it can, and others beside it: everybody gets a turn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::machine::{eventually, has, skip};
use common::{binary, binary_batch, hub, under};
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::Dialect;

/// An upload of agency 1 beside it, in as many answers.
const BATCHES: u32 = 200;

#[test]
fn a_fast_reader_of_many_small_answers_starves_nobody() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start();
    let greedy = hub.connect();
    // Finishes of an agency that there is not: twelve bytes, of which each is answered with one.
    let requests = binary(2, &[9], &[]).repeat(10_000);
    let (mut asking, mut reading) = (greedy.stream.try_clone().unwrap(), greedy.stream.try_clone().unwrap());
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answers);
    let asker = std::thread::spawn(move || while asking.write_all(&requests).is_ok() {});
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(bytes @ 1..) = reading.read(&mut buffer) {
            counted.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    eventually("it is answered", || answers.load(Ordering::Relaxed) > 100_000);
    let before = answers.load(Ordering::Relaxed);
    let mut honest = hub.connect();
    for document in 0..BATCHES {
        honest.send(&binary_batch(1, document, 1));
        honest.expect(&[0]);
    }
    let meanwhile = answers.load(Ordering::Relaxed) - before;
    greedy.stream.shutdown(Shutdown::Both).unwrap();
    asker.join().unwrap();
    reader.join().unwrap();
    // A turn answers 4096 of its requests at most, and each turn answers the other, too; some hundreds are usual.
    let per_batch = meanwhile / BATCHES as usize;
    assert!(meanwhile > 0, "it was busy all the time");
    assert!(per_batch <= 16 * 4096, "{per_batch} answers to the one for each of the other");
}

/// Batches of one agency between two of another: as far apart in the journal as batches of one agency are looked for.
const BETWEEN: u64 = 8000;
/// How often the two come again; each is looked for anew.
const AGAIN: usize = 1000;

/// The next `bytes` bytes.
fn take(peer: &mut common::Peer, bytes: usize) -> Vec<u8> {
    let mut taken = vec![0; bytes];
    peer.stream.read_exact(&mut taken).unwrap();
    taken
}

fn native_batch(agency: u32, sequence: u64, document: &str) -> Vec<u8> {
    let bet = Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"1999-03-17", b"7").unwrap();
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    Dialect::Native.put_bet(AgencyId(agency), 0, &bet.as_raw(), &mut body);
    Dialect::Native.put_batch(AgencyId(agency), sequence, 1, &body, &mut frame);
    frame
}

#[test]
fn batches_that_are_long_looked_for_hold_nobody_up() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("STORAGE_FSYNC", "never").start();
    let enter = |agency: u32| {
        let mut peer = hub.connect();
        let mut hello = Vec::new();
        Dialect::Native.put_hello(AgencyId(agency), &mut hello);
        peer.send(&hello);
        assert_eq!(take(&mut peer, 13)[4], 0, "it is welcome");
        peer
    };
    let acknowledged = |agency: u32, peer: &mut common::Peer, batches: u64| {
        let stored = |bytes: &[u8]| bytes.len() >= 17 && bytes[bytes.len() - 12..][..8] == batches.to_be_bytes();
        let mut heard = Vec::new();
        while !stored(&heard) {
            heard.extend(take(peer, 17));
            assert_eq!(heard[heard.len() - 13], 0x81, "agency {agency} is acknowledged a batch");
        }
    };
    let (mut far, mut near) = (enter(1), enter(2));
    far.send(&native_batch(1, 0, "1"));
    acknowledged(1, &mut far, 1);
    near.send(&(0..BETWEEN).flat_map(|sequence| native_batch(2, sequence, "1")).collect::<Vec<_>>());
    acknowledged(2, &mut near, BETWEEN);
    far.send(&native_batch(1, 1, "1"));
    acknowledged(1, &mut far, 2);
    let both = [native_batch(1, 0, "1"), native_batch(1, 1, "1")].concat();
    // Its last batch is a new one.
    far.send(&[both.repeat(AGAIN), native_batch(1, 2, "3")].concat());
    assert_eq!(take(&mut far, 17)[4], 0x81, "it has begun");
    near.send(&native_batch(2, BETWEEN, "2"));
    acknowledged(2, &mut near, BETWEEN + 1);
    acknowledged(1, &mut far, 3);
    hub.wait_for("dni: 3 ");
    let log = hub.log();
    let at = |document: &str| log.find(document).expect("it is stored");
    assert!(at("dni: 2 ") < at("dni: 3 "), "the other's was stored in between");
}

#[test]
fn a_peer_that_waits_for_each_answer_is_read_once_for_each() {
    if !has("strace") {
        return skip("counting reads needs strace");
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let trace = folder.path().join("reads");
    let strace = ["strace", "-D", "-o", trace.to_str().unwrap(), "-e", "trace=recvfrom,read"];
    let hub = under(&strace, Arc::clone(&folder)).env("LOTTERY_AGENCIES", "1").start();
    let mut peer = hub.connect();
    for document in 0..BATCHES {
        peer.send(&binary_batch(1, document, 1));
        peer.expect(&[0]);
    }
    hub.terminate();
    let traced = || std::fs::read_to_string(&trace).unwrap();
    eventually("the trace is whole", || traced().contains("+++ exited"));
    let reads = traced().lines().filter(|line| line.starts_with("recvfrom(")).count();
    let batches = BATCHES as usize;
    assert!(reads >= batches, "{reads} reads of {batches} batches: they are not what was counted");
    assert!(reads <= batches + 10, "{reads} reads of {batches} batches");
}
