//! Parked queries that wait for longer than `DEAD_PEER_TIMEOUT`: all are answered, by thousands and through losses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::machine::{Network, has, is_root, skip};
use common::{Hub, binary_batch, hub, under};
use loteria::keepalive::KeepAlive;

/// A query of agency 1, and the finish of either agency.
const QUERY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1];
const FINISHES: [[u8; 12]; 2] = [[0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1], [0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2]];
/// Of the hub's log: a draw that waits, every ten seconds, and a peer that was given up.
const PENDING: &str = "action: sorteo | result: in_progress";
const GIVEN_UP: &str = "reason: Connection timed out";
/// Descriptors of this program that are no peers.
const DESCRIPTORS_BESIDES: usize = 200;

/// A network of its own and a hub in it, where packets can be dropped.
fn lossy(name: &str, dead_peer_timeout: &str) -> Option<(Network, Hub)> {
    if !is_root() || !has("ip") || !has("iptables") {
        skip("a network that loses packets needs root, ip and iptables");
        return None;
    }
    let Some(network) = Network::new(name) else {
        skip("a network of its own needs the right to make one");
        return None;
    };
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&["ip", "netns", "exec", &network.0], folder).env("LOTTERY_AGENCIES", "2");
    // A longer queue than there are peers: none has to try again to connect.
    let start = start.env("LOGGING_LEVEL", "DEBUG");
    let hub = start.env("LIMITS_DEAD_PEER_TIMEOUT", dead_peer_timeout).start();
    Some((network, hub))
}

fn connect(hub: &Hub) -> TcpStream {
    let peer = TcpStream::connect(hub.address).unwrap();
    peer.set_read_timeout(Some(common::PATIENCE)).unwrap();
    peer
}

/// A query that the hub has received: what follows on another connection is answered after it.
fn park(hub: &Hub) -> TcpStream {
    let mut peer = connect(hub);
    peer.write_all(&QUERY).unwrap();
    peer
}

/// Sends a request whose answer is one zero.
fn exchange(agency: &mut TcpStream, request: &[u8]) {
    agency.write_all(request).unwrap();
    let mut answer = [9];
    agency.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0]);
}

/// Each of `peers` receives the winners, which are none.
fn all_are_answered(peers: &mut [TcpStream]) {
    let count = peers.len();
    for (number, peer) in peers.iter_mut().enumerate() {
        let mut winners = [9; 5];
        let read = peer.read_exact(&mut winners);
        assert!(read.is_ok() && winners == [0; 5], "query {number} of {count}: {read:?}");
    }
}

#[test]
fn thousands_of_parked_queries_outlive_the_time_out_and_are_all_answered() {
    let wanted = 6000;
    let count = loteria::reactor::allow_connections(wanted + DESCRIPTORS_BESIDES).saturating_sub(DESCRIPTORS_BESIDES);
    let count = count.min(wanted);
    let start = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_DEAD_PEER_TIMEOUT", "8s");
    let hub = start.env("LIMITS_MAX_CONNECTIONS", "7000").start();
    let mut parked: Vec<_> = (0..count).map(|_| park(&hub)).collect();
    let mut agency = connect(&hub);
    exchange(&mut agency, &FINISHES[0]);
    // Two more of these lines are ten seconds at least: all have been silent for longer than the time-out.
    hub.wait_for_count(PENDING, hub.count(PENDING) + 2);
    exchange(&mut agency, &FINISHES[1]);
    all_are_answered(&mut parked);
}

/// Parks queries, drops the hub's packets for `loss` when they have been silent for `silence`, and draws when a peer
/// that is really gone has been given up.
fn survive(name: &str, dead_peer_timeout: &str, silence: Duration, loss: Duration) {
    let Some((network, hub)) = lossy(name, dead_peer_timeout) else { return };
    let port = hub.address.port();
    let (mut parked, mut idle, mut agency, lost) = network.inside(|| {
        let parked: Vec<_> = (0..200).map(|_| park(&hub)).collect();
        (parked, (0..20).map(|_| connect(&hub)).collect::<Vec<_>>(), connect(&hub), park(&hub))
    });
    for peer in &mut idle {
        exchange(peer, &binary_batch(1, 1, 1));
    }
    exchange(&mut agency, &FINISHES[0]);
    let gone = lost.local_addr().unwrap().port();
    assert!(network.run(&format!("iptables -A INPUT -p tcp --sport {gone} -j DROP")));
    std::thread::sleep(silence);
    let drop_all = format!("INPUT -p tcp --sport {port} -j DROP");
    assert!(network.run(&format!("iptables -A {drop_all}")));
    std::thread::sleep(loss);
    assert!(network.run(&format!("iptables -D {drop_all}")));
    hub.wait_for(GIVEN_UP);
    // What is lost at the draw is sent again.
    let agency_port = agency.local_addr().unwrap().port();
    let drop_answers = format!("INPUT -p tcp --sport {port} ! --dport {agency_port} -j DROP");
    assert!(network.run(&format!("iptables -A {drop_answers}")));
    exchange(&mut agency, &FINISHES[1]);
    hub.wait_for("action: sorteo | result: success");
    assert!(network.run(&format!("iptables -D {drop_answers}")));
    all_are_answered(&mut parked);
    for peer in &mut idle {
        exchange(peer, &FINISHES[1]);
    }
    assert_eq!(hub.count(GIVEN_UP), 1, "{}", hub.log());
}

#[test]
fn a_moment_without_packets_ends_no_connection() {
    survive("moment", "8s", Duration::from_millis(3600), Duration::from_millis(900));
}

#[test]
fn a_few_seconds_without_packets_end_no_connection() {
    survive("seconds", "20s", Duration::from_millis(7500), Duration::from_secs(4));
}

#[test]
fn a_peer_that_was_given_up_finds_out_though_the_reset_was_lost() {
    let Some((network, hub)) = lossy("reset", "5s") else { return };
    let (mut probing, mut speaking, mut agency) = network.inside(|| (park(&hub), park(&hub), connect(&hub)));
    KeepAlive::new(common::PATIENCE).apply(&(&probing).into(), 0).unwrap();
    // Answered after the queries were read.
    exchange(&mut agency, &FINISHES[0]);
    assert!(network.run("iptables -A INPUT -p tcp -j DROP"));
    hub.wait_for_count(GIVEN_UP, 3);
    assert!(network.run("iptables -F INPUT"));
    let error = probing.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Without a keep-alive of its own a peer is told when it sends something.
    speaking.write_all(&QUERY).unwrap();
    let error = speaking.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
