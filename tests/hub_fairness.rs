//! One peer that asks and reads as fast as it can, and others beside it: each peer is served.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::machine::{eventually, has, skip};
use common::{Hub, binary, binary_batch, binary_bet, hub, under};
use loteria::limits;
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::Dialect;

/// An upload of agency 1 beside it, in as many answers.
const BATCHES: u32 = 200;

#[test]
fn a_fast_reader_of_many_small_answers_does_not_starve_an_upload() {
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
fn batches_that_are_compared_with_a_long_journal_do_not_delay_others() {
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
        let mut received = Vec::new();
        while !stored(&received) {
            received.extend(take(peer, 17));
            assert_eq!(received[received.len() - 13], 0x81, "agency {agency} is acknowledged a batch");
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

/// A hub of one agency whose `calls` are written down, in the order of their ends.
struct Traced {
    hub: Hub,
    trace: PathBuf,
}

impl Traced {
    /// `None` where the machine has no strace.
    fn start(calls: &str) -> Option<Traced> {
        if !has("strace") {
            skip("what the hub asks of the system needs strace");
            return None;
        }
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let trace = folder.path().join("calls");
        let strace =
            ["strace", "-D", "-f", "--seccomp-bpf", "-o", trace.to_str().unwrap(), "-e", &format!("trace={calls}")];
        let hub = under(&strace, folder).env("LOTTERY_AGENCIES", "1").start();
        Some(Traced { hub, trace })
    }

    /// The calls, up to the hub's end.
    fn end(self) -> Vec<String> {
        let _folder = Arc::clone(&self.hub.folder);
        self.hub.terminate();
        let traced = || std::fs::read_to_string(&self.trace).unwrap();
        eventually("the trace is whole", || traced().contains("+++ exited"));
        // With the number of the process before each.
        let call = |line: &str| line.split_once(' ').map(|(_, call)| call.trim_start().to_owned());
        traced().lines().filter_map(call).collect()
    }
}

#[test]
fn a_peer_that_waits_for_each_answer_is_read_once_for_each() {
    let Some(traced) = Traced::start("recvfrom,read") else { return };
    let mut peer = traced.hub.connect();
    for document in 0..BATCHES {
        peer.send(&binary_batch(1, document, 1));
        peer.expect(&[0]);
    }
    let reads = traced.end().iter().filter(|line| line.starts_with("recvfrom(")).count();
    let batches = BATCHES as usize;
    assert!(reads >= batches, "{reads} reads of {batches} batches: they are not what was counted");
    assert!(reads <= batches + 10, "{reads} reads of {batches} batches");
}

/// The most bytes that were read between two syncs.
fn most_in_a_turn(calls: &[String]) -> usize {
    let read = |line: &String| line.rsplit_once("= ").and_then(|(_, bytes)| bytes.trim().parse().ok()).unwrap_or(0);
    let turns = calls.split(|line| line.starts_with("fdatasync("));
    turns.map(|turn| turn.iter().filter(|line| line.starts_with("recvfrom(")).map(read).sum()).max().unwrap_or(0)
}

/// A batch of a hundred bets.
fn long_batch() -> Vec<u8> {
    binary(1, &[1, 100], &binary_bet("Ana", "Paz", 1, 19_990_317, 1).repeat(100))
}

#[test]
fn a_turn_reads_so_much_of_one_peer_and_no_more() {
    let Some(traced) = Traced::start("recvfrom,fdatasync") else { return };
    let batches = 8 * limits::TURN_BYTES_PER_CONNECTION / long_batch().len();
    let mut peer = traced.hub.connect();
    let mut sending = peer.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || sending.write_all(&long_batch().repeat(batches)).unwrap());
    peer.expect(&vec![0; batches]);
    sender.join().unwrap();
    let most = most_in_a_turn(&traced.end());
    assert!(most <= limits::TURN_BYTES_PER_CONNECTION, "{most} bytes");
    assert!(most > limits::TURN_BYTES_PER_CONNECTION_MIN, "{most} bytes: it has sent too slowly to show anything");
}

#[test]
fn queued_untrusted_peers_do_not_make_an_agency_s_turns_smaller() {
    let Some(traced) = Traced::start("recvfrom,fdatasync") else { return };
    let hub = &traced.hub;
    let mut agency = hub.connect();
    agency.send(&long_batch());
    agency.expect(&[0]);
    // Finishes of an agency that there is not.
    let ask = |peer: &mut common::Peer| peer.send(&binary(2, &[9], &[]));
    let receive = |peer: &mut common::Peer| assert_eq!(take(peer, 1).len(), 1);
    let join = |_| {
        let mut peer = hub.connect();
        ask(&mut peer);
        receive(&mut peer);
        peer
    };
    // Of a turn that were divided by so many, each part would be the least there is.
    let mut untrusted: Vec<_> = (0..2 * limits::TURN_BYTES / limits::TURN_BYTES_PER_CONNECTION_MIN).map(join).collect();
    // All of them, and the agency, have something when the hub looks again.
    let batches = 4 * limits::TURN_BYTES_PER_CONNECTION_MIN / long_batch().len();
    hub.signal(19);
    agency.send(&long_batch().repeat(batches));
    untrusted.iter_mut().for_each(ask);
    hub.signal(18);
    agency.expect(&vec![0; batches]);
    untrusted.iter_mut().for_each(receive);
    let most = most_in_a_turn(&traced.end());
    assert!(most > 2 * limits::TURN_BYTES_PER_CONNECTION_MIN, "{most} bytes");
}

#[test]
fn a_turn_reads_so_much_of_all_peers_and_no_more() {
    let Some(traced) = Traced::start("recvfrom,fdatasync") else { return };
    let hub = &traced.hub;
    let count = 2 * limits::TURN_BYTES / limits::TURN_BYTES_PER_CONNECTION_MIN;
    let store = |_| {
        let mut peer = hub.connect();
        peer.send(&long_batch());
        peer.expect(&[0]);
        peer
    };
    let mut peers: Vec<_> = (0..count).map(store).collect();
    // All of them have more than their part when the hub looks again.
    let batches = 2 * limits::TURN_BYTES_PER_CONNECTION_MIN / long_batch().len();
    hub.signal(19);
    peers.iter_mut().for_each(|peer| peer.send(&long_batch().repeat(batches)));
    hub.signal(18);
    peers.iter_mut().for_each(|peer| peer.expect(&vec![0; batches]));
    let most = most_in_a_turn(&traced.end());
    assert!(most <= limits::TURN_BYTES + limits::TURN_BYTES_PER_CONNECTION_MIN, "{most} bytes");
    assert!(most > limits::TURN_BYTES / 2, "{most} bytes: too few have sent at once to show anything");
}
