//! The status service's sockets: where they are made, who may open them, what stands in their way, and their end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod viewer_kit;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Arc;

use common::{PATIENCE, hub, in_folder, under};
use viewer_kit::{address, local, network, served};

#[test]
fn the_socket_is_its_owners_alone_whatever_the_umask_is_and_is_gone_at_the_end() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let open = ["sh", "-c", "umask 0; exec \"$0\""];
    let hub = under(&open, Arc::clone(&folder)).start();
    let socket = folder.path().join("bets.csv.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(local(&hub).get("/healthz").status, 200);
    hub.wait_for("| status: bets.csv.sock |");
    let (status, log) = hub.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("action: close_status | result: success | socket: bets.csv.sock"), "{log}");
    assert!(!socket.exists());
}

#[test]
fn a_killed_hubs_socket_is_replaced() {
    let first = hub().start();
    let socket = first.path("bets.csv.sock");
    let folder = first.kill();
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket(), "it is left behind");
    let second = in_folder(folder).start();
    assert_eq!(local(&second).get("/healthz").status, 200);
    assert_eq!(second.count("WARNING"), 0, "{}", second.log());
}

#[test]
fn what_is_not_ours_is_left_alone_with_a_warning() {
    let hub = hub().file("bets.csv.sock", "a file").start();
    hub.wait_for(
        "WARNING  action: status | result: fail | socket: bets.csv.sock | reason: a file that is not a socket has this name; [STATUS] SOCKET names another place",
    );
    hub.connect_and_speak();
    let (path, folder) = (hub.path("bets.csv.sock"), Arc::clone(&hub.folder));
    hub.terminate();
    assert!(folder.path().exists());
    assert_eq!(fs::read_to_string(path).unwrap(), "a file");
}

#[test]
fn a_socket_that_another_program_has_is_left_to_it() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("bets.csv.sock");
    let other = UnixListener::bind(&path).unwrap();
    let hub = in_folder(Arc::clone(&folder)).start();
    hub.wait_for("| socket: bets.csv.sock | reason: another program listens there;");
    hub.terminate();
    assert!(path.exists());
    drop(other);
}

#[test]
fn another_place_can_be_named_and_a_path_that_is_too_long_is_a_warning() {
    let hub = hub().env("STATUS_SOCKET", "here.sock").start();
    assert!(hub.path("here.sock").exists() && !hub.path("bets.csv.sock").exists());
    let off = common::hub().env("STATUS_SOCKET", "off").start();
    off.wait_for("| status: off |");
    assert!(!off.path("bets.csv.sock").exists() && !off.path("off").exists());
    let long = common::hub().env("STATUS_SOCKET", &"a".repeat(108)).start();
    long.wait_for("| reason: the path has more than 107 bytes;");
    long.connect_and_speak();
}

#[test]
fn a_port_in_use_is_a_warning() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let hub = hub().env("STATUS_ADDRESS", &address).start();
    hub.wait_for(&format!("WARNING  action: status | result: fail | address: {address} | reason: "));
    hub.connect_and_speak();
    assert_eq!(local(&hub).get("/healthz").status, 200);
}

#[test]
fn an_address_that_is_none_stops_the_start_with_one_line() {
    for value in ["9100", "localhost:9100", "127.0.0.1", "127.0.0.1:99999"] {
        let (code, _, err) = hub().env("STATUS_ADDRESS", value).run();
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{value}: {err}");
        assert!(err.contains("STATUS_ADDRESS") && err.contains("such as 127.0.0.1:9100"), "{err}");
    }
}

#[test]
fn the_service_manager_is_told_when_the_hub_is_ready_and_when_it_stops() {
    let start = hub();
    let path = start.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hub = start.env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    let told = || {
        let mut text = [0; 64];
        let bytes = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..bytes].to_vec()).unwrap()
    };
    assert_eq!(told(), "READY=1\n");
    hub.terminate();
    assert_eq!(told(), "STOPPING=1\n");
}

#[test]
fn a_hub_that_stops_ends_its_viewers_and_says_so() {
    let hub = served().start();
    let place = address(&hub);
    let (mut idle, mut asking, mut events, mut operator) = (network(&hub), network(&hub), network(&hub), local(&hub));
    idle.get("/healthz");
    asking.send("GET / HTTP/1.1\r\nHost");
    events.send(&viewer_kit::get("/events"));
    events.head();
    operator.get("/healthz");
    let (status, log) = hub.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(&format!("action: close_status | result: success | address: http://{place}/")), "{log}");
    assert!(idle.is_at_end() && asking.is_at_end() && operator.is_at_end());
}
