//! `PROXY_FROM`: behind a TCP balancer, peers are known by their own addresses, as the PROXY header says. The balancer is
//! 127.0.0.1; 127.0.0.66 is another machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod viewer_kit;

use std::fmt::Write as _;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::machine::{descriptors, eventually, has, listening_port, skip};
use common::{FINISH, Hub, PATIENCE, Peer, Start, binary, binary_batch, hub, under};
use viewer_kit::network;

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A hub of two agencies behind the balancer.
fn behind() -> Start {
    hub().env("LOTTERY_AGENCIES", "2").env("PROXY_FROM", "127.0.0.1").env("LOGGING_LEVEL", "DEBUG")
}

/// The header of version 1 for the client 203.0.113.`n`.
fn v1(n: u8) -> Vec<u8> {
    format!("PROXY TCP4 203.0.113.{n} 10.0.0.1 5000 12345\r\n").into_bytes()
}

/// The header of version 2 for the client 203.0.113.`n`, with the bytes `values` behind the addresses.
fn v2(n: u8, values: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, n, 10, 0, 0, 1, 0x13, 0x88, 0x30, 0x39];
    let length = u16::try_from(addresses.len() + values.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x21, 0x11], &length, &addresses, values].concat()
}

/// The header of version 2 for a connection of the balancer itself.
fn local() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0, 0, 0]].concat()
}

/// A connection of the client 203.0.113.`n`, of which `bytes` have come.
fn client(hub: &Hub, n: u8, bytes: &[u8]) -> Peer {
    let mut peer = hub.connect();
    peer.send(&[&v2(n, &[]), bytes].concat());
    peer
}

/// The hub has closed it, perhaps with bytes in it.
#[track_caller]
fn expect_closed(peer: &mut Peer) {
    let mut rest = Vec::new();
    let _ = peer.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"", "nothing is answered");
}

#[test]
fn a_peer_is_known_by_the_address_of_its_header_of_either_version() {
    let hub = behind().start();
    for (n, header) in
        [(1, v1(1)), (2, v2(2, &[])), (3, v2(3, &[4, 1, 0xf9].iter().chain(&[0; 505]).copied().collect::<Vec<_>>()))]
    {
        let mut peer = hub.connect();
        peer.send(&[header, FINISH.to_vec()].concat());
        peer.expect(&[0]);
        hub.wait_for(&format!("action: accept_connections | result: success | ip: 203.0.113.{n}"));
    }
    hub.wait_for("action: finish | result: success | ip: 203.0.113.1 | port: 5000 | dialect: binary | agency: 2");
    let mut v6 = hub.connect();
    v6.send(b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 12345\r\nhola\n");
    v6.expect(b"hola\n");
    hub.wait_for("action: receive_message | result: success | ip: 2001:db8::7 | msg: hola");
    assert_eq!(hub.count("action: accept_connections | result: success | ip: 127.0.0.1"), 0);
}

#[test]
fn a_header_and_the_bytes_behind_it_come_in_pieces_of_any_size() {
    let hub = behind().start();
    for (n, header) in [(1_u8, v1(1)), (2, v2(2, &[]))] {
        let mut peer = hub.connect();
        let batch = binary_batch(1, u32::from(n), 7);
        for byte in header.iter().chain(&batch) {
            peer.send(&[*byte]);
            // Without this the kernel makes one piece of many.
            std::thread::sleep(Duration::from_millis(1));
        }
        peer.expect(&[0]);
        hub.wait_for(&format!("action: accept_connections | result: success | ip: 203.0.113.{n}"));
    }
    let mut peer = client(&hub, 3, &[binary_batch(1, 3, 7), binary_batch(1, 4, 7), FINISH.to_vec()].concat());
    peer.half_close();
    assert_eq!(peer.rest(), [0, 0, 0], "what was written in one piece with the header is the client's");
    assert_eq!(hub.rows().iter().filter(|byte| **byte == b'\n').count(), 4);
    assert_eq!(hub.count("WARNING"), 0, "{}", hub.log());
}

#[test]
fn the_balancers_connections_need_a_header_and_those_of_others_have_none() {
    let hub = behind().env("LIMITS_HANDSHAKE_TIMEOUT", "1s").start();
    for (bytes, reason) in [
        (&FINISH[..], "it does not begin with a PROXY header"),
        (b"\x16\x03\x01", "it does not begin with a PROXY header"),
        (b"PROXY TCP4 203.0.113.1\r\n", "its PROXY header is malformed: "),
        (&[b'P'; 600], "it does not begin with a PROXY header"),
        (&[&b"PROXY UNKNOWN "[..], &[b'x'; 600]].concat(), "its PROXY header has more than 107 bytes"),
        (&[SIGNATURE, &[0x21, 0x11, 0x02, 0x09]].concat(), "its PROXY header has more than 536 bytes"),
        (&[SIGNATURE, &[0x31]].concat(), "its PROXY header is of version 3, not 1 or 2"),
    ] {
        let mut peer = hub.connect();
        peer.send(bytes);
        expect_closed(&mut peer);
        hub.wait_for(&format!("WARNING  action: proxy | result: fail | ip: 127.0.0.1 | reason: {reason}"));
    }
    assert_eq!(hub.count("action: proxy | result: fail"), 7, "a line each");
    let mut ended = hub.connect();
    ended.send(b"PROXY TCP4 203");
    ended.half_close();
    assert_eq!(ended.rest(), b"");
    hub.wait_for("reason: it ended in the middle of its PROXY header, connection closed");
    let mut part = hub.connect();
    part.send(&v1(1)[..20]);
    let mut silent = hub.connect();
    for peer in [&mut part, &mut silent] {
        assert_eq!(peer.rest(), b"");
    }
    hub.wait_for_count("reason: no whole PROXY header within HANDSHAKE_TIMEOUT, connection closed", 2);
    // Another peer is served as ever, and its header is no header.
    let mut other = hub.connect_from(OTHER);
    other.send(&FINISH);
    other.expect(&[0]);
    let mut liar = hub.connect_from(OTHER);
    liar.send(&v1(9));
    liar.expect(&v1(9));
    hub.wait_for("action: receive_message | result: success | ip: 127.0.0.66 | msg: PROXY TCP4 203.0.113.9");
    assert_eq!(hub.count("accept_connections | result: success | ip: 203"), 0);
    assert_eq!(hub.count("accept_connections | result: success | ip: 127.0.0.1"), 0);
}

#[test]
fn without_the_key_a_header_is_bytes_like_others() {
    let hub = hub().start();
    let mut peer = hub.connect();
    peer.send(&v1(1));
    peer.expect(&v1(1));
    hub.wait_for("action: receive_message | result: success | ip: 127.0.0.1 | msg: PROXY TCP4 203.0.113.1");
}

#[test]
fn a_header_that_names_no_client_leaves_the_balancers_address_and_checks_say_nothing_above_debug() {
    let hub = behind().start();
    for header in [local(), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut peer = hub.connect();
        peer.send(&[&header[..], b"hola\n"].concat());
        peer.expect(b"hola\n");
        // A check that closes behind its header, in both ways.
        let mut check = hub.connect();
        check.send(&header);
        check.half_close();
        assert_eq!(check.rest(), b"");
        let mut reset = hub.connect();
        reset.send(&header);
        socket2::SockRef::from(&reset.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    hub.wait_for_count("action: receive_message | result: success | ip: 127.0.0.1 | msg: hola", 2);
    // One that closes at once, in both ways.
    drop(hub.connect());
    hub.wait_for(
        "DEBUG    action: proxy | result: in_progress | ip: 127.0.0.1 | reason: it ended before its first byte",
    );
    let reset = hub.connect();
    socket2::SockRef::from(&reset.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    hub.wait_for_count("action: proxy | result: in_progress | ip: 127.0.0.1", 2);
    hub.wait_for_count("DEBUG    action: accept_connections | result: success | ip: 127.0.0.1", 6);
    hub.wait_for_count("DEBUG    action: disconnect | result: success | ip: 127.0.0.1", 6);
    let (status, log) = hub.terminate();
    assert!(status.success());
    let above = |line: &&str| line.contains("127.0.0.1") && !line.contains("DEBUG") && !line.contains("msg: hola");
    let of_server = ["action: start", "action: listen", "action: close_listener"];
    let said: Vec<&str> =
        log.lines().filter(above).filter(|line| !of_server.iter().any(|action| line.contains(action))).collect();
    assert_eq!(said, Vec::<&str>::new());
    assert!(!log.contains("WARNING"), "{log}");
}

#[test]
fn the_slots_are_shared_by_the_clients_addresses() {
    let hub = behind().env("LIMITS_MAX_CONNECTIONS", "8").start();
    let mut agency = client(&hub, 1, &binary_batch(1, 1, 1));
    agency.expect(&[0]);
    let crowd: Vec<Peer> = (0..7)
        .map(|_| {
            let mut peer = client(&hub, 66, &FINISH);
            peer.expect(&[0]);
            peer
        })
        .collect();
    let mut one_more = client(&hub, 66, &FINISH);
    assert_eq!(one_more.rest(), b"", "the address has its share, and is told that the hub is full");
    hub.wait_for("action: accept_connections | result: fail | ip: 203.0.113.66 | reason: as many connections as");
    client(&hub, 2, &FINISH).expect(&[0]);
    hub.wait_for("action: close_connection | result: success | ip: 203.0.113.66 | reason: its place is needed");
    agency.send(&binary_batch(1, 2, 1));
    agency.expect(&[0]);
    drop(crowd);
}

#[test]
fn a_thousand_connections_without_a_header_keep_no_agency_out() {
    let hub = behind().env("LIMITS_MAX_CONNECTIONS", "2").start();
    let mut inside = client(&hub, 1, &binary_batch(1, 1, 1));
    inside.expect(&[0]);
    let before = descriptors(hub.child.id());
    let silent: Vec<Peer> = (0..1000)
        .map(|n| {
            let mut peer = hub.connect();
            if n % 2 == 0 {
                peer.send(b"PROXY ");
            }
            peer
        })
        .collect();
    hub.wait_for_count("reason: no whole PROXY header, and its place is needed, connection closed", 1000 - 256);
    let grown = descriptors(hub.child.id()) - before;
    assert!(grown <= 256, "{grown} descriptors");
    // All slots but one are free for clients, and no connection without a client has one.
    let mut second = client(&hub, 2, &binary_batch(2, 2, 1));
    second.expect(&[0]);
    inside.send(&binary_batch(1, 3, 1));
    inside.expect(&[0]);
    assert_eq!(hub.count("accept_connections | result: fail"), 0);
    // One of those that are still kept is announced late.
    let mut late = silent.into_iter().last().unwrap();
    late.send(&v1(3));
    eventually("the late one is told that the hub is full, or served", || hub.count("ip: 203.0.113.3") > 0);
}

#[test]
fn where_descriptors_run_out_connections_that_have_long_had_no_header_go_first() {
    if !has("prlimit") {
        return skip("a limit of descriptors needs prlimit");
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&["prlimit", "--nofile=40:40"], folder).env("LOTTERY_AGENCIES", "2");
    let hub = start.env("PROXY_FROM", "127.0.0.1").start();
    let mut agency = client(&hub, 1, &binary_batch(1, 1, 1));
    agency.expect(&[0]);
    let silent: Vec<Peer> = (0..40).map(|_| hub.connect()).collect();
    hub.wait_for("action: accept_connections | result: in_progress | reason: ");
    let mut second = client(&hub, 2, &binary_batch(2, 2, 1));
    second.expect(&[0]);
    hub.wait_for("reason: no whole PROXY header, and its place is needed, connection closed");
    agency.send(&binary_batch(1, 3, 1));
    agency.expect(&[0]);
    assert_eq!(hub.count("ip: 203.0.113.1 | reason: its place is needed"), 0);
    drop(silent);
}

#[test]
fn the_status_counts_connections_that_are_not_announced() {
    let hub = behind().env("STATUS_ADDRESS", "127.0.0.1:0").start();
    let waiting = [hub.connect(), hub.connect()];
    let mut client = client(&hub, 1, &FINISH);
    client.expect(&[0]);
    let mut viewer = network(&hub);
    eventually("both are accepted", || viewer.get("/status.json").body.contains("[\"unannounced\",2]"));
    let metrics = viewer.get("/metrics").body;
    assert!(metrics.contains("loteria_connections{dialect=\"unknown\",state=\"unannounced\"} 2"), "{metrics}");
    let list = viewer.get("/connections.json").body;
    assert!(list.contains("203.0.113.1") && !list.contains("\"127.0.0.1"), "{list}");
    drop(waiting);
    eventually("both are gone", || !viewer.get("/status.json").body.contains("unannounced"));
}

#[test]
fn the_balancers_connections_are_closed_and_logged_at_the_end() {
    let hub = behind().env("STATUS_ADDRESS", "127.0.0.1:0").start();
    let mut waiting = hub.connect();
    let mut viewer = network(&hub);
    eventually("it is accepted", || viewer.get("/status.json").body.contains("unannounced"));
    let (status, log) = hub.terminate();
    assert!(status.success());
    assert!(log.contains("action: close_connection | result: success | ip: 127.0.0.1\n"), "{log}");
    assert_eq!(waiting.rest(), b"");
}

#[test]
fn the_key_is_checked_and_printed() {
    let (code, printed, _) = hub().env("PROXY_FROM", "10.0.0.5, 192.0.2.0/24").arg("--check").run();
    assert_eq!(code, Some(0));
    assert!(printed.contains("PROXY_FROM = 10.0.0.5, 192.0.2.0/24"), "{printed}");
    let (code, _, error) = hub().env("PROXY_FROM", "10.0.0.5,balancer").arg("--check").run();
    assert_eq!(code, Some(2));
    assert!(error.contains("PROXY_FROM") && error.contains("\"balancer\" is neither"), "{error}");
}

/// A real balancer; it is killed when dropped.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// haproxy before the hubs, with `options` of the line of each server.
fn haproxy(hubs: &[&Hub], options: &str) -> Haproxy {
    let folder = tempfile::tempdir().unwrap();
    // Two programs can get one port: another one is tried then.
    for _ in 0..10 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut text = format!(
            "global\n maxconn 1000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
             frontend agencies\n bind {address}\n default_backend hubs\nbackend hubs\n balance roundrobin\n"
        );
        for (n, hub) in hubs.iter().enumerate() {
            writeln!(text, " server hub{n} {} {options}", hub.address).unwrap();
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        let quiet = command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = quiet.stderr(Stdio::null()).spawn().unwrap();
        let mut ended = false;
        eventually("haproxy listens, or has ended", || {
            ended = child.try_wait().unwrap().is_some();
            ended || listening_port(child.id()).is_some()
        });
        if !ended {
            return Haproxy { child, address, _folder: folder };
        }
    }
    panic!("haproxy does not start");
}

fn connect_to(address: SocketAddr) -> Peer {
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    stream.bind(&SocketAddr::new(OTHER, 0).into()).unwrap();
    stream.connect(&address.into()).unwrap();
    let stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Peer { stream }
}

#[test]
fn haproxy_passes_the_clients_address_on_and_its_checks_are_quiet() {
    if !has("haproxy") {
        return skip("haproxy is not installed (Debian's package haproxy)");
    }
    for options in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let hub = behind().start();
        let balancer = haproxy(&[&hub], &format!("check inter 100ms {options}"));
        let mut agency = connect_to(balancer.address);
        agency.send(&[binary_batch(1, 1, 7574), binary(2, &[1], &[]), FINISH.to_vec()].concat());
        agency.expect(&[0, 0, 0]);
        agency.send(&binary(3, &[1], &[]));
        agency.expect(&[0, 0, 0, 0, 1, 0, 0, 0, 1]);
        hub.wait_for("action: accept_connections | result: success | ip: 127.0.0.66");
        hub.wait_for("action: finish | result: success | ip: 127.0.0.66");
        // Health checks: those of version 1 say that they are a client on the balancer's machine.
        let level = if options == "send-proxy" { "INFO     " } else { "DEBUG    " };
        hub.wait_for_count(&format!("{level}action: accept_connections | result: success | ip: 127.0.0.1"), 5);
        hub.wait_for_count("DEBUG    action: disconnect | result: success | ip: 127.0.0.1", 5);
        let log = hub.log();
        assert!(!log.contains("WARNING") && !log.contains("ERROR"), "{options}: {log}");
        let checks_shown = log.contains("INFO     action: accept_connections | result: success | ip: 127.0.0.1");
        assert_eq!(checks_shown, options == "send-proxy", "{log}");
    }
}
