//! Reports of a hub that is played.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;

use loteria::status::report::{
    Agency, AgencyState, ConnectionState, Connections, Draw, DrawState, Engine, Instance, Latency, Program, Report,
    Store, Totals, VERSION,
};

use super::{FakeHub, answer};

pub fn agency(id: u32, state: AgencyState) -> Agency {
    Agency {
        id,
        state,
        bets: 0,
        batches: 0,
        bets_per_second: 0.0,
        connections: 0,
        last_heard: None,
        last_did: None,
        refused: 0,
        last_refusal: None,
        lost_for: None,
        dialect: None,
        peer: None,
        winners: None,
    }
}

/// A PostgreSQL that two hubs share.
pub fn engine() -> Engine {
    let hub = |name: &str, here, seen_ago, turns| Instance { name: name.to_owned(), here, seen_ago, turns };
    Engine {
        kind: "postgres".to_owned(),
        draw: 1,
        connected: true,
        host: Some("db1:5432".to_owned()),
        epoch: 2,
        turn: 48_211,
        turns_in_flight: 3,
        answered_ago: Some(0.1),
        trouble_for: None,
        trouble: None,
        held: false,
        held_because: None,
        instances: vec![hub("norte", true, 0.4, 48_209), hub("sur", false, 0.9, 51_007)],
    }
}

pub fn program() -> Program {
    Program {
        version: "0.1.0".to_owned(),
        pid: 77,
        started: "2024-08-21T22:00:00Z".to_owned(),
        now: "2024-08-21T22:11:15Z".to_owned(),
        uptime: 675,
        address: "0.0.0.0:12345".to_owned(),
        tls: false,
        connections_max: 10_000,
        frame_bytes_max: 1 << 20,
        log_lines_dropped: 0,
        log_level: Some("INFO".to_owned()),
    }
}

/// A draw that waits for an agency in each state in which one can be missing.
pub fn waiting() -> Report {
    let connected = |agency: Agency| Agency {
        connections: 1,
        dialect: Some("native".to_owned()),
        peer: Some("10.0.0.7:4321".to_owned()),
        ..agency
    };
    let betting = |agency: Agency| Agency { bets: 1_240, batches: 20, ..agency };
    let agencies = vec![
        agency(1, AgencyState::NeverSeen),
        Agency { last_heard: Some(32.0), ..connected(agency(2, AgencyState::Connected)) },
        Agency {
            last_heard: Some(0.2),
            bets_per_second: 512.0,
            last_did: Some("sent a batch of 62 bets".to_owned()),
            ..betting(connected(agency(3, AgencyState::Uploading)))
        },
        Agency { last_heard: Some(75.0), ..betting(connected(agency(4, AgencyState::Uploading))) },
        Agency {
            lost_for: Some(200.0),
            refused: 3,
            last_refusal: Some("bet 2: document\u{1b}[2J".to_owned()),
            peer: Some("10.0.0.9:99".to_owned()),
            ..betting(agency(5, AgencyState::Lost))
        },
        betting(agency(6, AgencyState::Excluded)),
        betting(agency(7, AgencyState::Parked)),
    ];
    Report {
        version: VERSION,
        hub: program(),
        draw: Draw {
            state: DrawState::Open,
            winning_number: None,
            waiting_for: vec![1, 2, 3, 4, 5],
            waiting_count: 5,
            waiting_since: Some(61.0),
            parked: 1,
            drawn_ago: None,
            drawn_at: None,
            winners: None,
        },
        agencies,
        agencies_left_out: 0,
        connections: Connections {
            open: 4,
            by_state: vec![(ConnectionState::Speaking, 3), (ConnectionState::Parked, 1), (ConnectionState::Closing, 0)],
            ..Connections::default()
        },
        totals: Totals { bets_stored: 6_200, batches: 100, ..Totals::default() },
        bets_per_second: 512.0,
        turns: Latency { count: 1_000, p50: 80, p99: 1_200, max: 30_000 },
        commits: Latency::default(),
        store: Store {
            path: Some("bets.csv".to_owned()),
            sync: true,
            full: false,
            bytes: Some(1 << 20),
            disk_free_bytes: Some(20 << 30),
        },
        engine: None,
        unhealthy: None,
        not_ready: None,
        trouble: None,
    }
}

pub fn drawn(ago: Option<f64>) -> Report {
    let mut report = waiting();
    report.draw = Draw {
        state: DrawState::Drawn,
        winning_number: Some(7574),
        waiting_for: Vec::new(),
        waiting_count: 0,
        waiting_since: None,
        parked: 0,
        drawn_ago: ago,
        drawn_at: ago.map(|_| "2024-08-21T22:10:00Z".to_owned()),
        winners: Some(10),
    };
    report.agencies.truncate(1);
    report
}

/// A hub whose status is `report`.
pub fn reporting(folder: &Path, report: &Report) -> FakeHub {
    let body = serde_json::to_string(report).unwrap();
    FakeHub::in_folder(
        folder,
        move |_, path, _, _| {
            if path == "/status.json" { answer(200, &body) } else { answer(404, "no such path\n") }
        },
    )
}
