//! `/events` and `/trace.json`.

use std::time::Duration;

use loteria::hub::Policy;
use loteria::limits;
use loteria::status::facts::TurnTimes;
use loteria::wire::Dialect;
use serde_json::Value;

use crate::SECOND;
use crate::core_kit::batch;
use crate::status_kit::{Watched, bad_batch, finish, hello, query};

/// The events of a stream: name and data. Ids ascend; comments and the preamble are passed over.
fn events(stream: &str) -> Vec<(String, Value)> {
    let (mut found, mut last) = (Vec::new(), None);
    for block in stream.split_terminator("\n\n") {
        let field = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")))
        };
        let Some(name) = field("event") else { continue };
        if let Some(id) = field("id") {
            let id: u64 = id.parse().unwrap();
            assert!(last.is_none_or(|last| last < id), "{stream}");
            last = Some(id);
        }
        found.push((name.to_owned(), serde_json::from_str(field("data").unwrap()).unwrap()));
    }
    found
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn viewers_are_told_what_happens_in_its_order() {
    let mut watched = Watched::new(2, Policy::default());
    let mut cursor = watched.cursor();
    assert!(watched.status.has_events_since(&cursor), "there is a greeting");
    assert_eq!(watched.events(&mut cursor), "retry: 1000\n\n");
    assert!(!watched.status.has_events_since(&cursor));

    let one = watched.open("192.0.2.7:1");
    watched.say(one, &hello(1));
    for sequence in 0..3 {
        watched.say(one, &batch(Dialect::Native, 1, sequence));
    }
    watched.say(one, &finish(Dialect::Native, 1));
    watched.say(one, &query(Dialect::Native, 1));
    let two = watched.agency(2, "192.0.2.8:2");
    watched.say(two, &bad_batch(Dialect::Native, 2));
    watched.say(two, &batch(Dialect::Native, 2, 0));
    watched.close(two);
    let back = watched.open("192.0.2.8:3");
    watched.say(back, &hello(2));
    watched.pass(limits::PENDING_LOG_PERIOD + SECOND);
    watched.say(back, &finish(Dialect::Native, 2));
    watched.table.settle();
    assert!(watched.status.has_events_since(&cursor));
    let told = events(&watched.events(&mut cursor));
    let expected = [
        "hello", "stored", "finished", "hello", "rejected", "ended", "stored", "lost", "returned", "hello", "waits",
        "finished", "drawn",
    ];
    assert_eq!(names(&told), expected, "{told:#?}");
    let data = |place: usize| &told[place].1;
    assert_eq!(data(0)["peer"], "192.0.2.7:1");
    assert_eq!((&data(1)["agency"], &data(1)["bets"], &data(1)["batches"]), (&1.into(), &3.into(), &3.into()));
    assert_eq!((&data(1)["dialect"], &data(1)["at"]), (&"native".into(), &1.0.into()));
    assert_eq!(data(1)["time"], "2024-08-21T22:11:16Z", "a second after the start");
    assert!(data(4)["reason"].as_str().unwrap().contains("birthdate"), "{told:#?}");
    assert_eq!(data(5)["reason"], "peer_closed");
    assert_eq!((&data(7)["agency"], &data(8)["agency"]), (&2.into(), &2.into()));
    assert_eq!(data(10)["agencies"], serde_json::json!([2]));
    assert_eq!(watched.events(&mut cursor), "", "once");

    let mut late = watched.cursor();
    assert_eq!(events(&watched.events(&mut late)), [], "a viewer is told what happens from then on");
}

#[test]
fn stored_batches_are_one_event_a_second_and_agency() {
    let agencies = limits::STORED_EVENTS_PER_SECOND + 2;
    let mut watched = Watched::new(u32::try_from(agencies).unwrap(), Policy::default());
    let ids: Vec<_> = (1..).take(agencies).map(|agency| watched.agency(agency, "192.0.2.7:1")).collect();
    for sequence in 0..2 {
        for (id, agency) in ids.iter().zip(1..) {
            watched.say(*id, &batch(Dialect::Native, agency, sequence));
        }
    }
    let mut cursor = watched.cursor();
    assert_eq!(events(&watched.events(&mut cursor)), [], "the second is not over");
    watched.pass(SECOND);
    let told = events(&watched.events(&mut cursor));
    assert_eq!(told.len(), limits::STORED_EVENTS_PER_SECOND + 1);
    assert!(told.iter().all(|(name, _)| name == "stored"));
    assert_eq!((&told[0].1["agency"], &told[0].1["batches"]), (&1.into(), &2.into()));
    let rest = &told.last().unwrap().1;
    assert_eq!((&rest["others"], &rest["batches"], &rest["agency"]), (&2.into(), &4.into(), &Value::Null));
    watched.pass(SECOND);
    assert_eq!(events(&watched.events(&mut cursor)), [], "each batch is said once");
}

#[test]
fn hostile_peers_push_out_no_agencys_events_and_slow_viewers_miss_some() {
    let mut watched = Watched::new(1, Policy::default());
    let mut slow = watched.cursor();
    let refusals = u64::from(limits::EVENTS_PER_SECOND) + 5;
    let kept = |watched: &mut Watched| {
        for _ in 0..refusals {
            let id = watched.open("192.0.2.66:6");
            watched.say(id, &hello(99));
        }
    };
    kept(&mut watched);
    let one = watched.open("192.0.2.7:1");
    watched.say(one, &hello(1));
    let mut cursor = watched.cursor();
    watched.events(&mut cursor);
    let told = events(&watched.events(&mut slow));
    assert_eq!(names(&told).iter().filter(|name| **name == "refused").count(), limits::EVENTS_PER_SECOND as usize);
    assert_eq!(names(&told).last(), Some(&"hello"));
    assert!(crate::metrics::value(&mut watched, "loteria_events_dropped_total") >= 5.0);

    // More than the ring has, in more seconds.
    let before = watched.cursor();
    for _ in 0..=limits::EVENTS_KEPT / limits::EVENTS_PER_SECOND as usize {
        watched.pass(SECOND);
        kept(&mut watched);
    }
    let (mut behind, mut stream) = (before, String::new());
    while watched.status.has_events_since(&behind) {
        let part = watched.events(&mut behind);
        assert!(part.len() < limits::EVENTS_BYTES + 1024, "{}", part.len());
        stream.push_str(&part);
    }
    let told = events(&stream);
    assert_eq!(told[0].0, "gap");
    assert!(told[0].1["missed"].as_u64().unwrap() >= u64::from(limits::EVENTS_PER_SECOND));
    assert_eq!(told.len(), limits::EVENTS_KEPT + 1);
}

#[test]
fn the_end_of_an_agencys_connection_is_told_however_many_others_end() {
    let mut watched = Watched::new(1, Policy::default());
    let one = watched.agency(1, "192.0.2.7:1");
    for _ in 0..=limits::EVENTS_PER_SECOND {
        let other = watched.open("192.0.2.66:6");
        watched.close(other);
    }
    let mut cursor = watched.cursor();
    watched.close(one);
    let told = events(&watched.events(&mut cursor));
    assert_eq!((names(&told), &told[0].1["agency"]), (vec!["ended"], &1.into()));
}

#[test]
fn an_end_has_the_hubs_reason_where_the_hub_had_one() {
    let policy = Policy::default();
    let handshake = policy.handshake_timeout;
    let mut watched = Watched::new(1, policy);
    let mut cursor = watched.cursor();
    let mut ended = |watched: &mut Watched, id| {
        assert!(watched.table.is_over(id));
        watched.close(id);
        let told = events(&watched.events(&mut cursor));
        told.last().filter(|(name, _)| name == "ended").map(|(_, data)| data["reason"].clone()).unwrap()
    };
    let silent = watched.open("192.0.2.1:1");
    watched.pass(handshake + SECOND);
    assert_eq!(ended(&mut watched, silent), "handshake_timeout");

    let one = watched.agency(1, "192.0.2.7:1");
    let mut damaged = batch(Dialect::Native, 1, 0);
    *damaged.last_mut().unwrap() ^= 1;
    watched.say(one, &damaged);
    watched.table.receive(one);
    assert_eq!(ended(&mut watched, one), "malformed");
    watched.pass(SECOND);
    assert_eq!(watched.report().agencies[0].last_did.as_deref(), Some("its connection ended: malformed"));

    let cut = watched.agency(1, "192.0.2.7:3");
    let whole = batch(Dialect::Native, 1, 0);
    watched.say(cut, &whole[..whole.len() - 1]);
    watched.table.hub.half_close(cut, watched.table.now);
    watched.table.turn();
    watched.table.receive(cut);
    assert_eq!(ended(&mut watched, cut), "cut_short");

    let idle = Policy::default().idle_timeout;
    let two = watched.agency(1, "192.0.2.7:2");
    watched.table.receive(two);
    watched.pass(idle);
    watched.pass(SECOND);
    assert_eq!(ended(&mut watched, two), "idle_timeout");
    watched.pass(SECOND);
    let agency = &watched.report().agencies[0];
    assert_eq!(agency.last_did.as_deref(), Some("its connection ended: idle timeout"));
    assert_eq!(agency.last_heard, Some((idle + 2 * SECOND).as_secs_f64()), "the end was not its doing");
    for reason in ["handshake_timeout", "malformed", "idle_timeout"] {
        let series = format!("loteria_connections_ended_total{{reason=\"{reason}\"}}");
        assert_eq!(crate::metrics::value(&mut watched, &series).to_string(), "1");
    }
}

#[test]
fn a_feed_in_which_nothing_happens_says_so() {
    let mut watched = Watched::new(1, Policy::default());
    let mut cursor = watched.cursor();
    watched.events(&mut cursor);
    watched.pass(limits::EVENTS_SILENCE - SECOND);
    assert!(watched.status.has_events_since(&cursor));
    let comment = watched.events(&mut cursor);
    assert!(comment.starts_with(':') && comment.ends_with("\n\n"), "{comment}");
    watched.pass(limits::EVENTS_SILENCE / 2);
    assert!(!watched.status.has_events_since(&cursor));
}

#[test]
fn a_trace_begins_when_it_is_asked_for_and_ends_a_minute_later() {
    let times = |began: u64| TurnTimes {
        began: Duration::from_micros(began),
        poll: Duration::from_micros(50),
        read: Duration::from_micros(10),
        decode: Duration::from_micros(7),
        commit: Duration::from_nanos(20_500),
        release: Duration::ZERO,
        committed: true,
    };
    let mut watched = Watched::new(1, Policy::default());
    watched.status.turn(&times(100));
    let spans = |trace: &Value| {
        let all = trace["traceEvents"].as_array().unwrap();
        all.iter().filter(|event| event["ph"] == "X").cloned().collect::<Vec<_>>()
    };
    let trace: Value = watched.json("/trace.json");
    assert_eq!(spans(&trace), [] as [Value; 0]);
    assert!(trace["otherData"]["note"].as_str().unwrap().contains("ask again"));

    watched.status.turn(&times(1000));
    watched.pass(SECOND);
    let trace: Value = watched.json("/trace.json");
    let told: Vec<(String, f64, f64)> = spans(&trace)
        .iter()
        .map(|span| {
            (span["name"].as_str().unwrap().to_owned(), span["ts"].as_f64().unwrap(), span["dur"].as_f64().unwrap())
        })
        .collect();
    let span = |name: &str, start, took| (name.to_owned(), start, took);
    let read = [span("read", 1000.0, 10.0), span("decode", 1000.0, 7.0)];
    assert_eq!(told, [&[span("poll", 950.0, 50.0)], &read[..], &[span("commit", 1010.0, 20.5)]].concat());
    assert!(trace["otherData"]["note"].is_null());
    let lanes = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "M").count();
    assert_eq!(lanes, 5);

    watched.pass(limits::TRACE_KEPT / 2);
    watched.get("/trace.json");
    watched.pass(limits::TRACE_KEPT / 2 + SECOND);
    assert!(watched.status.is_traced(), "a minute counts from the last request");
    (0..limits::TRACE_TURNS as u64 + 10).for_each(|turn| watched.status.turn(&times(2000 + turn * 100)));
    watched.pass(SECOND);
    let trace: Value = watched.json("/trace.json");
    assert_eq!(spans(&trace).len(), limits::TRACE_TURNS * 4, "the last ones");
    watched.pass(limits::TRACE_KEPT + SECOND);
    watched.status.turn(&times(9_000_000));
    let trace: Value = watched.json("/trace.json");
    assert_eq!(spans(&trace), [] as [Value; 0], "it is off");
}
