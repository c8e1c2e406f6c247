//! The status service's HTTP on a real hub: what may be asked by whom, and what bad input is answered.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod viewer_kit;

use common::Hub;
use viewer_kit::{get, local, network, served, status};

#[test]
fn bad_input_has_its_status_and_the_connection_ends() {
    let hub = served().start();
    let long = "a".repeat(9000);
    let fields = "A: b\r\n".repeat(100);
    for (text, expected) in [
        ("nonsense\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET relative HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", 400),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", 417),
        (&format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 414),
        (&format!("GET /{long}"), 414),
        (&format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {long}\r\n\r\n"), 431),
        (&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"), 431),
    ] {
        let mut viewer = network(&hub);
        viewer.send(text);
        let answered = viewer.answer();
        assert_eq!(answered.status, expected, "{text:.80}");
        assert!(answered.head.contains("\r\nConnection: close\r\n"), "{}", answered.head);
        assert!(viewer.is_at_end(), "{text:.80}");
    }
    assert!(!hub.log().contains("WARNING"), "viewers fill no log: {}", hub.log());
}

#[test]
fn a_slow_request_is_told_that_it_was() {
    let hub = served().start();
    let mut viewer = network(&hub);
    viewer.send("GET / HTTP/1.1\r\nHost:");
    assert_eq!(viewer.answer().status, 408);
    assert!(viewer.is_at_end());
}

#[test]
fn paths_and_methods_that_there_are_not_leave_the_connection_open() {
    let hub = served().start();
    let mut viewer = network(&hub);
    assert_eq!(viewer.get("/nothing").status, 404);
    for method in ["POST", "DELETE", "BREW"] {
        viewer.send(&get("/healthz").replace("GET", method));
        let answered = viewer.answer();
        assert_eq!(answered.status, 405, "{method}");
        assert!(answered.head.contains("\r\nAllow: GET, HEAD\r\n"), "{}", answered.head);
    }
    assert_eq!(viewer.get("/healthz").status, 200);
}

#[test]
fn requests_sent_ahead_are_answered_in_order_and_the_last_one_ends_the_connection() {
    let hub = served().start();
    let mut viewer = network(&hub);
    let last = get("/nothing").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    viewer.send(&[get("/healthz"), get("/status.json?a=b"), get("http://localhost/readyz"), last].concat());
    assert_eq!(viewer.answer().body, "healthy\n");
    assert!(viewer.answer().body.starts_with("{\"version\":"));
    assert_eq!(viewer.answer().body, "ready\n");
    assert_eq!(viewer.answer().status, 404);
    assert!(viewer.is_at_end());
}

#[test]
fn old_clients_and_heads_are_served_as_the_standard_says() {
    let hub = served().start();
    let mut old = network(&hub);
    old.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().body, "healthy\n");
    assert!(old.is_at_end());
    let mut kept = network(&hub);
    kept.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(kept.answer().head.contains("\r\nConnection: keep-alive\r\n"));
    kept.send(&get("/status.json").replace("GET", "HEAD"));
    let head = kept.head();
    assert_eq!(status(&head), 200);
    assert!(!head.contains("Content-Length: 0\r\n"), "the length is that of the body: {head}");
    assert_eq!(kept.get("/readyz").body, "ready\n", "no body came in between");
    let mut half_closed = network(&hub);
    half_closed.send(&get("/healthz"));
    half_closed.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(half_closed.answer().body, "healthy\n");
    assert!(half_closed.is_at_end());
}

#[test]
fn answers_have_the_headers_that_keep_browsers_from_harm() {
    let hub = served().start();
    let mut viewer = network(&hub);
    for path in ["/", "/status.json", "/nothing"] {
        let head = viewer.get(path).head;
        for header in [
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Content-Security-Policy: default-src 'none';",
        ] {
            assert!(head.contains(&format!("\r\n{header}")), "{path} lacks {header}: {head}");
        }
    }
}

#[test]
fn only_known_hosts_are_answered_over_tcp_and_any_at_the_socket() {
    let hub = served().env("SERVER_IP", "hub.example").start();
    let with_host = |host: &str| get("/healthz").replace("localhost", host);
    let mut viewer = network(&hub);
    for (host, expected) in [("127.0.0.1:9100", 200), ("[::1]", 200), ("HUB.example:1", 200), ("evil.example", 421)] {
        viewer.send(&with_host(host));
        assert_eq!(viewer.answer().status, expected, "{host}");
    }
    viewer.send("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(viewer.answer().status, 421, "the target's own host counts");
    let mut operator = local(&hub);
    operator.send(&with_host("evil.example"));
    assert_eq!(operator.answer().status, 200);
}

fn post(path: &str, field: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{field}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn shows_debug(hub: &Hub) -> bool {
    hub.count("DEBUG") > 0
}

#[test]
fn the_log_level_is_changed_at_the_socket_and_by_no_page() {
    let hub = served().start();
    let mut viewer = network(&hub);
    viewer.send(&post("/log-level", "", "DEBUG"));
    assert_eq!(viewer.answer().status, 405);
    let mut operator = local(&hub);
    for origin in ["http://evil.example", "null", "http://localhost"] {
        operator.send(&post("/log-level", &format!("Origin: {origin}\r\n"), "DEBUG"));
        assert_eq!(operator.answer().status, 403, "{origin}");
    }
    assert_eq!(hub.count("action: log_level"), 0);
    operator.send(&post("/log-level", "", "DEBUG"));
    assert_eq!(operator.answer().status, 200);
    hub.wait_for("action: log_level | result: success | logging_level: DEBUG");
    let mut agency = hub.connect();
    agency.send(&common::binary(1, &[1, 2], &common::binary_bet("Ana", "Paz", 1, 19_990_317, 1).repeat(2)));
    agency.expect(&[0]);
    hub.wait_for("DEBUG    action: apuesta_almacenada");
    assert!(shows_debug(&hub));
}

#[test]
fn winners_are_for_the_operator_alone() {
    let hub = served().start();
    let mut agency = hub.connect();
    agency.send(&common::binary_batch(1, 30_904_465, 7574));
    agency.expect(&[0]);
    agency.send(&common::binary(2, &[1], &[]));
    agency.expect(&[0]);
    hub.wait_for("action: sorteo | result: success");
    let mut viewer = network(&hub);
    assert_eq!(viewer.get("/winners.json").status, 403);
    for path in ["/", "/status.json", "/connections.json", "/metrics", "/trace.json"] {
        let answered = viewer.get(path);
        assert!(answered.status == 200 && !answered.body.contains("30904465"), "{path}: {}", answered.body);
    }
    let answered = local(&hub).get("/winners.json");
    assert!(answered.status == 200 && answered.body.contains("30904465"), "{}", answered.body);
}
