//! What the status service answers, of a whole hub without sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "status_answers/agencies.rs"]
mod agencies;
mod core_kit;
#[path = "status_answers/engine.rs"]
mod engine;
#[path = "status_answers/fields.rs"]
mod fields;
#[path = "status_answers/metrics.rs"]
mod metrics;
#[path = "status_kit/mod.rs"]
mod status_kit;
#[path = "status_answers/viewers.rs"]
mod viewers;

use std::time::Duration;

use loteria::hub::{EarlyQuery, Policy};
use loteria::limits;
use loteria::logging::LogLevel;
use loteria::status::Answer;
use loteria::status::facts::Door;
use loteria::status::http::Method;
use loteria::status::report::{AgencyState, ConnectionList, ConnectionState, DrawState, Report, Winners};
use loteria::wire::Dialect;

use core_kit::batch;
use status_kit::{Watched, bad_batch, finish, hello, query, text};

const SECOND: Duration = Duration::from_secs(1);

fn states(report: &Report) -> Vec<AgencyState> {
    report.agencies.iter().map(|agency| agency.state).collect()
}

#[test]
fn a_draw_is_seen_as_it_happens() {
    use AgencyState::{Connected, Finished, NeverSeen, Parked, Uploading};
    let mut watched = Watched::new(2, Policy::default());
    let report = watched.report();
    assert_eq!((report.version, states(&report)), (1, vec![NeverSeen, NeverSeen]));
    assert_eq!(
        (report.draw.state, report.draw.waiting_for, report.draw.waiting_count),
        (DrawState::Open, vec![1, 2], 2)
    );
    assert_eq!((report.agencies[0].last_heard, &report.agencies[0].last_did), (None, &None));
    assert_eq!(report.hub.started, "2024-08-21T22:11:15Z");

    let one = watched.open("192.0.2.7:40001");
    watched.say(one, &hello(1));
    watched.pass(2 * SECOND);
    let report = watched.report();
    assert_eq!(states(&report), [Connected, NeverSeen]);
    let agency = &report.agencies[0];
    assert_eq!((agency.connections, agency.last_did.as_deref()), (1, Some("connected")));
    assert_eq!((agency.dialect.as_deref(), agency.peer.as_deref()), (Some("native"), Some("192.0.2.7:40001")));
    assert_eq!(agency.last_heard, Some(2.0));
    assert_eq!((report.hub.now.as_str(), report.hub.uptime), ("2024-08-21T22:11:18Z", 3));

    for sequence in 0..3 {
        watched.say(one, &batch(Dialect::Native, 1, sequence));
    }
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!(states(&report), [Uploading, NeverSeen]);
    let agency = &report.agencies[0];
    assert_eq!((agency.bets, agency.batches, agency.last_did.as_deref()), (3, 3, Some("stored a bet")));
    assert!((agency.bets_per_second - 0.75).abs() < 1e-9, "three bets in the four seconds since the start: {agency:?}");
    assert!((report.bets_per_second - 0.75).abs() < 1e-9);
    assert_eq!((report.totals.bets, report.totals.batches, report.totals.bets_stored), (3, 3, 3));

    watched.say(one, &finish(Dialect::Native, 1));
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!(states(&report), [Finished, NeverSeen]);
    assert_eq!(report.agencies[0].bets_per_second.to_bits(), 0, "what has finished uploads nothing");
    watched.say(one, &query(Dialect::Native, 1));
    watched.pass(3 * SECOND);
    let report = watched.report();
    assert_eq!(states(&report), [Parked, NeverSeen]);
    let draw = &report.draw;
    assert_eq!((draw.waiting_for.as_slice(), draw.parked, draw.waiting_since), (&[2][..], 1, Some(3.0)));
    assert_eq!((draw.winning_number, draw.winners, draw.drawn_ago), (None, None, None));
    assert_eq!(report.connections.by_state, [(ConnectionState::Parked, 1)]);
    assert_eq!(report.connections.by_dialect, [("native".to_owned(), 1)]);

    let two = watched.open("192.0.2.8:40002");
    watched.say(two, &batch(Dialect::Binary, 2, 0));
    watched.say(two, &finish(Dialect::Binary, 2));
    watched.table.settle();
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!(states(&report), [Finished, Finished]);
    let draw = &report.draw;
    assert_eq!((draw.state, draw.winning_number, draw.winners), (DrawState::Drawn, Some(7574), Some(4)));
    assert_eq!((draw.drawn_ago, draw.waiting_count, draw.parked, draw.waiting_since), (Some(1.0), 0, 0, None));
    assert_eq!(draw.drawn_at.as_deref(), Some("2024-08-21T22:11:23Z"));
    assert_eq!(report.bets_per_second.to_bits(), 0, "no bet comes after the draw");
    assert_eq!(report.agencies.iter().map(|agency| agency.winners).collect::<Vec<_>>(), [Some(3), Some(1)]);
    assert_eq!(report.agencies[1].dialect.as_deref(), Some("binary"));
}

#[test]
fn times_of_day_are_those_of_the_clock_as_it_is_set() {
    let mut watched = Watched::new(1, Policy::default());
    let mut cursor = watched.cursor();
    // As where a machine without a battery learns the time behind the start; then it is set back.
    watched.clock += 1000 * SECOND;
    watched.pass(SECOND);
    let one = watched.agency(1, "192.0.2.7:1");
    watched.say(one, &[batch(Dialect::Native, 1, 0), finish(Dialect::Native, 1)].concat());
    watched.table.settle();
    watched.clock -= 500 * SECOND;
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!((report.hub.started.as_str(), report.hub.uptime), ("2024-08-21T22:11:15Z", 3));
    assert_eq!(report.hub.now, "2024-08-21T22:19:38Z");
    assert_eq!((report.draw.drawn_at.as_deref(), report.draw.drawn_ago), (Some("2024-08-21T22:27:57Z"), Some(1.0)));
    let events = watched.events(&mut cursor);
    assert!(events.contains("event: drawn\ndata: {\"at\":2.0,\"time\":\"2024-08-21T22:27:57Z\""), "{events}");
}

#[test]
fn what_was_rejected_or_refused_is_counted_with_the_last_reason() {
    let mut watched = Watched::new(1, Policy { early_query: EarlyQuery::Reject, ..Policy::default() });
    let one = watched.open("192.0.2.7:1");
    watched.say(one, &bad_batch(Dialect::Binary, 1));
    watched.pass(SECOND);
    let report = watched.report();
    let agency = &report.agencies[0];
    let reason = agency.last_refusal.clone().unwrap();
    assert!(reason.contains("birthdate"), "{reason}");
    assert_eq!((agency.refused, report.totals.rejected), (1, 1));
    assert_eq!(agency.last_did, Some(format!("sent a batch that was rejected: {reason}")));

    // Of another draw: no agency's count, and no memory of the id.
    let other = watched.open("192.0.2.9:1");
    watched.say(other, &batch(Dialect::Binary, 77, 0));
    let third = watched.open("192.0.2.9:2");
    watched.say(third, &hello(78));
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!((report.totals.rejected, report.totals.refused), (2, 1));
    assert_eq!((report.agencies.len(), report.agencies[0].refused), (1, 1));
}

#[test]
fn the_peer_of_an_agency_is_the_connection_that_speaks_for_it_and_no_second_client_that_was_refused() {
    let mut watched = Watched::new(2, Policy::default());
    let peer = |watched: &mut Watched| watched.report().agencies[0].peer.clone().unwrap();
    let first = watched.agency(1, "192.0.2.7:40001");
    watched.say(first, &batch(Dialect::Native, 1, 0));
    let second = watched.agency(1, "192.0.2.8:40002");
    watched.say(second, &bad_batch(Dialect::Native, 1));
    watched.close(second);
    assert_eq!(watched.report().agencies[0].refused, 1);
    assert_eq!(peer(&mut watched), "192.0.2.7:40001", "the first client goes on");
    watched.say(first, &[finish(Dialect::Native, 1), query(Dialect::Native, 1)].concat());
    let third = watched.agency(1, "192.0.2.9:40003");
    assert_eq!(peer(&mut watched), "192.0.2.7:40001", "its query waits");
    watched.close(first);
    assert_eq!(peer(&mut watched), "192.0.2.9:40003", "the one that is left");
    watched.close(third);
    assert_eq!(peer(&mut watched), "192.0.2.9:40003", "the last one");
}

#[test]
fn connections_are_listed_those_of_agencies_first() {
    let mut watched = Watched::new(2, Policy::default());
    let unknown = watched.open("192.0.2.1:1");
    watched.pass(SECOND);
    let agency = watched.agency(2, "[2001:db8::1]:2");
    watched.say(agency, &batch(Dialect::Native, 2, 0));
    watched.pass(SECOND);
    let list: ConnectionList = watched.json("/connections.json");
    assert_eq!((list.version, list.left_out), (1, 0));
    let [first, second] = list.connections.as_slice() else { panic!("{list:?}") };
    assert_eq!((first.id, first.agency, first.dialect.as_deref()), (agency.generation, Some(2), Some("native")));
    assert_eq!(
        (first.peer.as_str(), first.state, first.silent_for),
        ("[2001:db8::1]:2", ConnectionState::Speaking, 1.0)
    );
    assert_eq!((first.bytes_in, first.bytes_out, first.age), (11, 22, 33.0), "as the sockets say");
    assert_eq!((second.id, second.agency, second.dialect.as_deref()), (unknown.generation, None, None));
    assert_eq!((second.state, second.silent_for), (ConnectionState::Detecting, 2.0));

    let more = limits::CONNECTIONS_REPORTED_MAX;
    (0..more).for_each(|_| _ = watched.open("192.0.2.3:3"));
    watched.pass(SECOND);
    let list: ConnectionList = watched.json("/connections.json");
    assert_eq!((list.connections.len(), list.left_out), (more, 2));
    assert_eq!(list.connections[0].agency, Some(2), "what is left out is no agency's");

    watched.gauges.unannounced = 5;
    let counted = watched.report().connections;
    let sum = |counts: &mut dyn Iterator<Item = usize>| counts.sum::<usize>();
    assert_eq!(counted.open, more + 2 + 5);
    assert_eq!(sum(&mut counted.by_state.iter().map(|(_, count)| *count)), counted.open);
    assert_eq!(sum(&mut counted.by_dialect.iter().map(|(_, count)| *count)), counted.open);
}

#[test]
fn health_and_readiness_say_why_not() {
    let mut watched = Watched::new(1, Policy::default());
    let health = |watched: &mut Watched| {
        let (healthy, ready) = (watched.get("/healthz"), watched.get("/readyz"));
        (healthy.status, text(&healthy).to_owned(), ready.status, text(&ready).to_owned())
    };
    let good = (200, "healthy\n".to_owned(), 200, "ready\n".to_owned());
    assert_eq!(health(&mut watched), good);
    assert_eq!(watched.report().unhealthy, None);

    let sick = |change: fn(&mut Watched), word: &str| {
        let mut watched = Watched::new(1, Policy::default());
        change(&mut watched);
        watched.pass(SECOND);
        let (code, why, ready, _) = health(&mut watched);
        assert_eq!((code, ready), (503, 200), "{why}");
        assert!(why.contains(word) && why.lines().count() == 1, "{why}");
        assert_eq!(watched.report().unhealthy.as_deref(), Some(why.trim_end()));
    };
    sick(|watched| watched.gauges.listening = false, "not listening");
    let mut stopping = Watched::new(1, Policy::default());
    (stopping.gauges.listening, stopping.gauges.stopping) = (false, true);
    let (code, _, ready, why) = health(&mut stopping);
    assert_eq!((code, ready), (200, 503));
    assert!(why.contains("is stopping"), "{why}");
    sick(|watched| watched.gauges.log_flows = false, "lines are dropped");
    sick(|watched| watched.gauges.disk_free_bytes = Some(0), "no free space");

    let one = watched.open("192.0.2.7:1");
    watched.table.full.set(true);
    watched.say(one, &batch(Dialect::Binary, 1, 0));
    assert!(health(&mut watched).1.contains("disk is full"));
    watched.pass(limits::FULL_DISK_PAUSE + SECOND);
    assert_eq!(health(&mut watched).0, 503, "between two tries");
    assert!(watched.report().store.full);
    watched.pass(limits::STORE_FULL_SAID);
    assert_eq!(health(&mut watched), good, "it is long ago");
    watched.say(one, &batch(Dialect::Binary, 1, 0));
    assert_eq!(health(&mut watched).0, 503);
    watched.table.full.set(false);
    watched.pass(limits::FULL_DISK_PAUSE);
    watched.say(one, &batch(Dialect::Binary, 1, 0));
    assert_eq!(health(&mut watched), good, "a batch was stored");

    let fill = |watched: &mut Watched, free: Option<u64>| {
        watched.table.full.set(true);
        watched.pass(limits::FULL_DISK_PAUSE);
        watched.say(one, &batch(Dialect::Binary, 1, 0));
        assert!(watched.status.asks_for_free_bytes());
        watched.gauges.disk_free_bytes = free;
        watched.status.note_free_bytes(free);
        assert!(!watched.status.asks_for_free_bytes(), "once");
        assert_eq!(health(watched).0, 503);
    };
    fill(&mut watched, Some(4096));
    watched.gauges.disk_free_bytes = Some(4095 + limits::STORE_FULL_FREED);
    assert_eq!(health(&mut watched).0, 503, "a little is free, as before");
    watched.gauges.disk_free_bytes = Some(4096 + limits::STORE_FULL_FREED);
    watched.pass(SECOND);
    assert!(!watched.report().store.full, "space was freed");
    assert_eq!(health(&mut watched), good);
    fill(&mut watched, None);
    watched.gauges.disk_free_bytes = Some(u64::MAX / 2);
    assert_eq!(health(&mut watched).0, 503, "how much was free before is not known");

    watched.gauges.stopping = true;
    watched.pass(limits::STORE_FULL_SAID);
    let (healthy, _, ready, why) = health(&mut watched);
    assert_eq!((healthy, ready), (200, 503));
    assert!(why.contains("stopping"), "{why}");
}

#[test]
fn winners_are_for_the_operator_and_after_the_draw() {
    let mut watched = Watched::new(2, Policy::default());
    assert_eq!(watched.get("/winners.json").status, 409);
    for agency in [1, 2] {
        let id = watched.agency(agency, "192.0.2.7:1");
        for sequence in 0..3 {
            watched.say(id, &batch(Dialect::Native, agency, sequence));
        }
        watched.say(id, &finish(Dialect::Native, agency));
    }
    let all: Winners = watched.json("/winners.json");
    assert_eq!((all.version, all.winning_number, all.winners.len(), all.left_out), (1, 7574, 6, 0));
    let bet = &all.winners[0];
    assert_eq!((bet.agency, bet.first_name.as_str(), bet.document.as_str()), (1, "Ana", "30904465"));
    assert_eq!((bet.last_name.as_str(), bet.birthdate.as_str()), ("Paz", "1999-03-17"));
    let two: Winners = watched.json("/winners.json?agency=2");
    assert_eq!(two.winners.iter().map(|bet| bet.agency).collect::<Vec<_>>(), [2, 2, 2]);
    let rest: Winners = watched.json("/winners.json?from=4");
    assert_eq!((rest.winners.len(), rest.left_out), (2, 0));
    assert_eq!(watched.get("/winners.json?agency=9").status, 404);
    for wrong in ["agency=x", "agency=-1", "from=", "all", "agency=1&number=2"] {
        assert_eq!(watched.get(&format!("/winners.json?{wrong}")).status, 400, "{wrong}");
    }
    let refused = watched.ask(Method::Get, "/winners.json", Door::Network, b"");
    assert_eq!(status_kit::response(refused).status, 403);
}

#[test]
fn a_level_of_the_log_is_set_by_its_name_by_the_operator() {
    let mut watched = Watched::new(1, Policy::default());
    match watched.ask(Method::Post, "/log-level", Door::Local, b"debug\n") {
        Answer::LogLevel(level, response) => assert_eq!((level, response.status), (LogLevel::Debug, 200)),
        other @ (Answer::Response(_) | Answer::Events(_)) => panic!("{other:?}"),
    }
    for body in [&b""[..], b"loud", b"\xff", b"debug debug"] {
        let refused = status_kit::response(watched.ask(Method::Post, "/log-level", Door::Local, body));
        assert_eq!(refused.status, 400);
        assert!(text(&refused).contains("DEBUG, INFO, WARNING, ERROR, CRITICAL"), "{}", text(&refused));
    }
    let refused = status_kit::response(watched.ask(Method::Post, "/log-level", Door::Network, b"debug"));
    assert_eq!(refused.status, 403);
    let refused = status_kit::response(watched.ask(Method::Get, "/log-level", Door::Local, b""));
    assert_eq!((refused.status, refused.allow), (405, Some("POST")));
}

#[test]
fn paths_and_methods() {
    let mut watched = Watched::new(1, Policy::default());
    let page = watched.get("/");
    assert_eq!((page.status, page.content_type), (200, "text/html; charset=utf-8"));
    assert!(text(&page).contains("<html"));
    for path in ["/healthz", "/readyz", "/metrics", "/status.json", "/connections.json", "/trace.json", "/"] {
        for door in [Door::Local, Door::Network] {
            let mut code = |method| status_kit::response(watched.ask(method, path, door, b"")).status;
            let codes = [Method::Get, Method::Head, Method::Post, Method::Other].map(&mut code);
            assert_eq!(codes, [200, 200, 405, 405], "{path}");
        }
    }
    let head = status_kit::response(watched.ask(Method::Head, "/events", Door::Network, b""));
    assert_eq!((head.status, head.content_type, head.body.len()), (200, "text/event-stream", 0));
    for path in ["/index.html", "//", "/status", "/status.json/", "/METRICS", "/winners"] {
        assert_eq!(watched.get(path).status, 404, "{path}");
    }
}

#[test]
fn nothing_that_the_network_is_told_names_a_person_or_the_store() {
    let mut watched = Watched::new(1, Policy::default());
    let mut cursor = watched.cursor();
    let one = watched.agency(1, "192.0.2.7:1");
    watched.say(one, &bad_batch(Dialect::Native, 1));
    watched.say(one, &batch(Dialect::Native, 1, 0));
    watched.say(one, &finish(Dialect::Native, 1));
    watched.pass(SECOND);
    let mut told = watched.events(&mut cursor);
    for path in ["/status.json", "/connections.json", "/metrics", "/trace.json", "/healthz", "/readyz", "/"] {
        let response = status_kit::response(watched.ask(Method::Get, path, Door::Network, b""));
        told.push_str(text(&response));
    }
    assert!(told.contains("\"drawn\"") && told.contains("event: rejected"), "{told}");
    for secret in ["Ana", "Paz", "30904465", "1999-03-17", "/var/loteria/bets.csv"] {
        assert!(!told.contains(secret), "{secret} is told");
    }
    assert_eq!(watched.report().store.path.as_deref(), Some("/var/loteria/bets.csv"), "the operator may know");
}

#[test]
fn many_viewers_cost_one_answer() {
    let mut watched = Watched::new(1, Policy::default());
    let seen = |watched: &mut Watched, path: &str| {
        status_kit::response(watched.ask(Method::Get, path, Door::Network, b"")).body
    };
    let paths = ["/status.json", "/metrics", "/connections.json"];
    let first = paths.map(|path| seen(&mut watched, path));
    let asked = watched.gauges_asked;
    watched.pass(limits::STATUS_KEPT / 2);
    let one = watched.agency(1, "192.0.2.7:1");
    watched.say(one, &batch(Dialect::Native, 1, 0));
    assert_eq!(paths.map(|path| seen(&mut watched, path)), first, "a tenth of a second later");
    assert_eq!(watched.gauges_asked, asked, "nothing is computed");
    watched.pass(limits::STATUS_KEPT / 2);
    for (path, before) in paths.iter().zip(first) {
        assert_ne!(seen(&mut watched, path), before, "{path} is made anew");
    }
    assert_eq!(watched.gauges_asked, asked + 1, "once for all three");
    // The operator is told what has just ended, at any time.
    watched.say(one, &batch(Dialect::Native, 1, 1));
    assert_eq!(watched.report().agencies[0].batches, 2);
    assert_ne!(seen(&mut watched, "/status.json"), watched.get("/status.json").body, "each door has its own");
}
