//! Peers that vanish, and descriptors that run out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use common::machine::{self, Network, descriptors, eventually, has, is_root, skip};
use common::{Hub, Peer, binary, binary_batch, hub, under};

/// A finish of agency 2, which no test waits for; its answer is one zero.
const FINISH: [u8; 12] = [0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2];
/// A query of agency 1, which is parked.
const QUERY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1];

/// Ends a connection with a reset.
fn reset(peer: Peer) {
    socket2::SockRef::from(&peer.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// Ends its own side first.
fn end_and_leave(mut peer: Peer) {
    peer.half_close();
}

fn is_alive(hub: &Hub) {
    let mut peer = hub.connect();
    peer.send(&FINISH);
    peer.expect(&[0]);
}

#[test]
fn a_reset_in_the_middle_of_a_frame_has_no_effect() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LOGGING_LEVEL", "DEBUG").start();
    let before = descriptors(hub.child.id());
    for cut in [1, 4, 5, 8, 20, 40] {
        let mut peer = hub.connect();
        peer.send(&FINISH);
        peer.expect(&[0]);
        peer.send(&binary_batch(1, 1, 1)[..cut]);
        reset(peer);
    }
    hub.wait_for_count("action: receive_message | result: in_progress | reason: Connection reset", 6);
    eventually("nothing is left of them", || descriptors(hub.child.id()) == before);
    assert_eq!(hub.rows(), b"");
    is_alive(&hub);
}

#[test]
fn a_reset_of_a_connection_that_is_not_read_from_frees_its_slot() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let before = descriptors(hub.child.id());
    for _ in 0..5 {
        // Parked, and with more behind the query than the hub keeps of it.
        let mut parked = hub.connect();
        parked.send(&QUERY);
        parked.send(&FINISH.repeat(4000));
        is_alive(&hub);
        reset(parked);
    }
    eventually("nothing is left of them", || descriptors(hub.child.id()) == before);
    machine::assert_waits(hub.child.id());
}

#[test]
fn a_parked_peer_that_ends_its_side_and_is_lost_then_frees_its_slot() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let before = descriptors(hub.child.id());
    for _ in 0..5 {
        let mut parked = hub.connect();
        parked.send(&QUERY);
        parked.half_close();
        // Its end has been read before it is lost: what is asked later is answered.
        is_alive(&hub);
        reset(parked);
    }
    eventually("nothing is left of them", || descriptors(hub.child.id()) == before);
}

#[test]
fn a_parked_peer_that_closes_frees_its_slot_at_once() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let before = descriptors(hub.child.id());
    let mut parked: Vec<Peer> = (0..20).map(|_| hub.connect()).collect();
    parked.iter_mut().for_each(|peer| peer.send(&QUERY));
    let mut half_closed = hub.connect();
    half_closed.send(&QUERY);
    half_closed.half_close();
    is_alive(&hub);
    // Within this time an end behind a query is a half-close; there is nothing else to wait for. The hub may take an end for
    // older than it is by two polls.
    std::thread::sleep(loteria::limits::HALF_CLOSE_GRACE + 4 * loteria::limits::STORE_CHECK_PERIOD);
    drop(parked);
    hub.wait_for_count("reason: the peer has closed, and waits for the draw no longer", 20);
    eventually("their descriptors are free", || descriptors(hub.child.id()) == before + 1);
    is_alive(&hub);
    let mut last = hub.connect();
    last.send(&binary(2, &[1], &[]));
    last.send(&binary(2, &[2], &[]));
    last.expect(&[0, 0]);
    assert_eq!(half_closed.rest(), [0, 0, 0, 0, 0], "it ended its side right behind its query, and is answered");
}

#[test]
fn a_parked_peer_that_ends_its_side_gives_its_slot_up_first() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").env("LIMITS_MAX_CONNECTIONS", "2").start();
    let mut half_closed = hub.connect();
    half_closed.send(&QUERY);
    half_closed.half_close();
    let mut other = hub.connect();
    other.send(&FINISH);
    other.expect(&[0]);
    // The search for a slot looks at some of them for each newcomer.
    eventually("a newcomer is let in", || {
        let mut newcomer = hub.connect();
        newcomer.send(&FINISH);
        newcomer.stream.read_exact(&mut [9]).is_ok()
    });
    assert_eq!(half_closed.rest(), b"");
    other.send(&FINISH);
    other.expect(&[0]);
}

#[test]
fn a_peer_that_leaves_in_any_state_leaves_no_descriptor() {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let before = descriptors(hub.child.id());
    let sentences: [&[u8]; 7] = [b"", b"1", b"\x01\0\0", &FINISH, &QUERY, &FINISH[..7], b"\xb7LN\x01\0\0\0\x02"];
    for said in sentences {
        // A parked peer that ends its own side may still be reading.
        let ways = if said == QUERY { &[reset as fn(Peer)][..] } else { &[reset, drop, end_and_leave] };
        for leave in ways {
            let mut peer = hub.connect();
            peer.send(said);
            leave(peer);
        }
    }
    eventually("nothing is left of them", || descriptors(hub.child.id()) == before);
    is_alive(&hub);
}

#[test]
fn without_descriptors_newcomers_wait_and_come_in_as_soon_as_one_is_free() {
    if !has("prlimit") {
        return skip("a limit of descriptors needs prlimit");
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&["prlimit", "--nofile=24:24"], folder).env("LOTTERY_AGENCIES", "2");
    let hub = start.start();
    hub.wait_for("reason: the system has descriptors for");
    // Each is answered while there is a descriptor; one more than that is not.
    let mut inside = Vec::new();
    while hub.count("new connections wait") == 0 {
        let mut peer = hub.connect();
        peer.send(&FINISH);
        peer.expect(&[0]);
        inside.push(peer);
        eventually("the log has caught up", || hub.count("accept_connections | result: success") == inside.len());
    }
    let newcomers: Vec<_> = (0..4)
        .map(|_| {
            let mut peer = hub.connect();
            peer.send(&FINISH);
            peer
        })
        .collect();
    machine::assert_waits(hub.child.id());
    for mut peer in newcomers {
        assert!(peer.is_quiet());
        drop(inside.pop());
        peer.expect(&[0]);
        inside.insert(0, peer);
    }
    assert_eq!(hub.count("new connections wait"), 1, "said once");
    drop(inside.pop());
    hub.wait_for("reason: new connections are accepted again");
}

/// Four peers of every state in which a peer can vanish: whose query is parked, that is silent between two frames, whose
/// batch was acknowledged, and that is in the middle of nothing.
fn four_states(hub: &Hub) -> [TcpStream; 4] {
    let connect = || TcpStream::connect(hub.address).unwrap();
    let [mut parked, mut idle, mut agency, mut early] = [connect(), connect(), connect(), connect()];
    parked.write_all(&QUERY).unwrap();
    idle.write_all(&FINISH).unwrap();
    idle.read_exact(&mut [9]).unwrap();
    agency.write_all(&binary_batch(1, 1, 7574)).unwrap();
    agency.read_exact(&mut [9]).unwrap();
    early.write_all(&binary(3, &[2], &[])).unwrap();
    [parked, idle, agency, early]
}

#[test]
fn peers_whose_network_is_gone_are_noticed_and_the_others_stay() {
    if !is_root() || !has("ip") || !has("iptables") {
        return skip("a network that loses packets needs root, ip and iptables");
    }
    let Some(network) = Network::new("dead") else {
        return skip("a network of its own needs the right to make one");
    };
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&["ip", "netns", "exec", &network.0], folder).env("LOTTERY_AGENCIES", "2");
    let hub = start.env("LIMITS_DEAD_PEER_TIMEOUT", "2s").env("LOGGING_LEVEL", "DEBUG").start();
    let (living, gone) = network.inside(|| (four_states(&hub), four_states(&hub)));
    let vanish = |peers: &[TcpStream]| {
        for peer in peers {
            let port = peer.local_addr().unwrap().port();
            assert!(network.run(&format!("iptables -A INPUT -p tcp --sport {port} -j DROP")));
        }
    };
    vanish(&gone);
    hub.wait_for_count("reason: Connection timed out", 4);
    // Those that are there have been silent for two time-outs when the next are given up.
    let later = network.inside(|| four_states(&hub));
    vanish(&later);
    hub.wait_for_count("reason: Connection timed out", 8);
    let [mut parked, mut idle, mut agency, mut early] = living;
    agency.write_all(&binary(2, &[1], &[])).unwrap();
    agency.read_exact(&mut [9]).unwrap();
    for peer in [&mut parked, &mut early] {
        let mut answer = [9; 4];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], 0);
    }
    idle.write_all(&FINISH).unwrap();
    idle.read_exact(&mut [9]).unwrap();
    let (status, log) = hub.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("reason: Connection timed out").count(), 8, "{log}");
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_its_connection() {
    if !is_root() || !has("ip") || !has("iptables") {
        return skip("a network that loses packets needs root, ip and iptables");
    }
    let Some(network) = Network::new("unacknowledged") else {
        return skip("a network of its own needs the right to make one");
    };
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&["ip", "netns", "exec", &network.0], folder).env("LOTTERY_AGENCIES", "1");
    let hub = start.env("LIMITS_DEAD_PEER_TIMEOUT", "4s").env("LOGGING_LEVEL", "DEBUG").start();
    let (mut parked, mut agency) =
        network.inside(|| (TcpStream::connect(hub.address).unwrap(), TcpStream::connect(hub.address).unwrap()));
    let lost = parked.local_addr().unwrap().port();
    parked.write_all(&QUERY).unwrap();
    agency.write_all(&FINISH).unwrap();
    agency.read_exact(&mut [9]).unwrap();
    assert!(network.run(&format!("iptables -A INPUT -p tcp --dport {lost} -j DROP")));
    assert!(network.run(&format!("iptables -A INPUT -p tcp --sport {lost} -j DROP")));
    agency.write_all(&binary(2, &[1], &[])).unwrap();
    agency.read_exact(&mut [9]).unwrap();
    hub.wait_for("action: sorteo | result: success");
    hub.wait_for("reason: Connection timed out");
    // The others have noticed nothing, and the lost one may ask again.
    agency.write_all(&QUERY).unwrap();
    let mut winners = [9; 5];
    agency.read_exact(&mut winners).unwrap();
    assert_eq!(winners, [0, 0, 0, 0, 0]);
}
