//! Many viewers, slow ones, and ones that never read: agencies do not notice them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod viewer_kit;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use loteria::limits;

use common::machine::{assert_waits, descriptors, eventually};
use common::{Hub, Peer, binary, binary_batch, under};
use viewer_kit::{get, local, network, network_from, served, status};

/// An agency's whole day: many batches, the finish, and its winners.
fn play(hub: &Hub) -> Peer {
    let mut agency = hub.connect();
    for number in 0..200 {
        agency.send(&binary_batch(1, 1000 + number, 7574));
        agency.expect(&[0]);
    }
    agency.send(&binary(2, &[1], &[]));
    agency.expect(&[0]);
    hub.wait_for("action: sorteo | result: success");
    agency
}

/// What `/status.json` says of the viewers.
fn viewers(hub: &Hub) -> usize {
    let body = local(hub).get("/status.json").body;
    let (_, rest) = body.split_once("\"viewers\":").expect("the report counts viewers");
    rest.split(['}', ',']).next().unwrap().parse().unwrap()
}

#[test]
fn three_hundred_viewers_watch_an_agency_upload_and_get_its_winners() {
    let hub = served().start();
    let mut watching: Vec<_> = (0..300).map(|_| network(&hub)).collect();
    for viewer in watching.iter_mut().step_by(3) {
        // One that was closed for a newcomer may be reset.
        let _ = viewer.stream.write_all(get("/events").as_bytes());
    }
    for viewer in watching.iter_mut().skip(1).step_by(3) {
        let _ = viewer.stream.write_all(get("/status.json").repeat(20).as_bytes());
    }
    play(&hub);
    // The youngest one has its place.
    let mut last = watching.pop().unwrap();
    eventually("the report has the draw", || last.get("/status.json").body.contains("\"state\":\"drawn\""));
    assert!(viewers(&hub) <= 256 + 64);
    assert_eq!(hub.count("WARNING") + hub.count("ERROR"), 0, "{}", hub.log());
}

#[test]
fn one_address_keeps_no_other_out() {
    let hub = served().start();
    let mut greedy: Vec<_> = (0..limits::STATUS_NETWORK_MAX).map(|_| network(&hub)).collect();
    for viewer in &mut greedy {
        viewer.send(&get("/events"));
        viewer.head();
    }
    // Each place of another viewer of this address is the newcomer's, and no more.
    let mut one_more = network(&hub);
    assert_eq!(one_more.get("/healthz").status, 200);
    for at in 2..10 {
        let mut other = network_from(&hub, [127, 0, 0, at].into());
        assert_eq!(other.get("/healthz").status, 200);
    }
}

#[test]
fn viewers_of_events_leave_slots_for_a_scraper() {
    let hub = served().start();
    let mut watching = Vec::new();
    for at in 0..limits::STATUS_STREAMING_MAX {
        // None has more than its share.
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(at % 8).unwrap()));
        let mut viewer = network_from(&hub, source);
        viewer.send(&get("/events"));
        assert_eq!(status(&viewer.head()), 200);
        watching.push(viewer);
    }
    let mut refused = network(&hub);
    assert_eq!(refused.get("/events").status, 503);
    assert_eq!(refused.get("/healthz").status, 200, "its connection stays");
    let mut operator = local(&hub);
    operator.send(&get("/events"));
    assert_eq!(status(&operator.head()), 200);
    for _ in 0..limits::STATUS_NETWORK_MAX {
        assert_eq!(network(&hub).get("/metrics").status, 200);
    }
    drop(watching);
    eventually("a slot for a viewer of events is free", || {
        let mut viewer = network(&hub);
        viewer.send(&get("/events"));
        status(&viewer.head()) == 200
    });
}

#[test]
fn viewers_of_events_are_sent_what_happens_without_a_loop_that_spins() {
    let hub = served().start();
    let (mut near, mut far) = (local(&hub), network(&hub));
    near.send(&get("/events"));
    far.send(&get("/events"));
    assert!(near.head().contains("text/event-stream"));
    far.head();
    assert_waits(hub.child.id());
    play(&hub);
    for event in ["event: hello\n", "event: stored\n", "event: finished\n", "event: drawn\n"] {
        near.wait_for(event);
        far.wait_for(event);
    }
    assert_waits(hub.child.id());
}

#[test]
fn a_viewer_that_never_reads_is_not_read_either_and_is_closed_in_the_end() {
    let hub = served().start();
    let mut stuck = network(&hub);
    stuck.stream.set_nonblocking(true).unwrap();
    let requests = get("/metrics").repeat(100);
    // It is stuck when the kernel takes no more: neither its requests nor their answers are buffered without end.
    let mut sent = 0;
    let mut full = 0;
    eventually("the hub takes no more of its requests", || {
        full += 1;
        while let Ok(bytes) = stuck.stream.write(requests.as_bytes()) {
            (sent, full) = (sent + bytes, 0);
        }
        full > 20
    });
    assert!(sent < 64 * 1024 * 1024);
    assert_eq!(viewers(&hub), 2);
    play(&hub);
    assert_waits(hub.child.id());
    eventually("the stuck viewer is closed", || viewers(&hub) == 1);
}

#[test]
fn where_descriptors_run_out_viewers_give_theirs_to_agencies() {
    let few = ["sh", "-c", "ulimit -n 40; exec \"$0\""];
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&few, folder).env("LOTTERY_AGENCIES", "1").env("STATUS_ADDRESS", "127.0.0.1:0");
    let hub = start.start();
    let watching: Vec<_> = (0..60).map(|_| network(&hub)).collect();
    eventually("viewers have every descriptor", || descriptors(hub.child.id()) >= 40);
    play(&hub);
    drop(watching);
    // And they are accepted again.
    eventually("viewers are gone", || descriptors(hub.child.id()) < 35);
    assert_eq!(network(&hub).get("/healthz").status, 200);
}

#[test]
fn where_agencies_have_every_descriptor_the_operator_is_told_so() {
    let few = ["sh", "-c", "ulimit -n 40; exec \"$0\""];
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let hub = under(&few, folder).env("LOTTERY_AGENCIES", "1").start();
    // More of them wait to be accepted than can be.
    let _peers: Vec<_> = (0..60).map(|_| hub.connect()).collect();
    hub.wait_for("Too many open files");
    for _ in 0..3 {
        let mut operator = local(&hub);
        let healthy = operator.get("/healthz");
        assert_eq!((healthy.status, healthy.body.contains("descriptors")), (503, true), "{}", healthy.body);
    }
    assert!(!local(&hub).get("/status.json").body.is_empty());
}

#[test]
fn a_trace_of_a_real_hub_has_every_part_of_its_turns() {
    let hub = served().start();
    let mut operator = local(&hub);
    let first = operator.get("/trace.json").body;
    assert!(first.contains("ask again") && !first.contains("\"ph\":\"X\""), "{first}");
    play(&hub);
    let trace = operator.get("/trace.json").body;
    for lane in ["poll", "read", "decode", "commit", "release"] {
        assert!(trace.contains(&format!("\"name\":\"{lane}\",\"ts\":")), "{lane}: {trace}");
    }
}
