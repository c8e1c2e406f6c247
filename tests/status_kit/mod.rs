//! A hub with its status service, at a time that the test says.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::{Duration, SystemTime};

use loteria::hub::{ConnectionId, Policy};
use loteria::lottery::{AgencyId, Bet};
use loteria::status::facts::{Door, Facts, Gauges, SocketFacts};
use loteria::status::http::{Method, Request, Response};
use loteria::status::report::Report;
use loteria::status::{Answer, Cursor, Status};
use loteria::wire::Dialect;
use serde::de::DeserializeOwned;

use crate::core_kit::Table;
pub use crate::core_kit::frames::{finish, hello, query};

/// A hub, its service, and what the loop would say.
pub struct Watched {
    pub table: Table,
    pub status: Status,
    pub gauges: Gauges,
    /// How often the service has asked for the gauges.
    pub gauges_asked: usize,
    pub accept: Option<&'static str>,
    uptime: Duration,
    /// What the wall clock said at the start, set forward or back since then.
    pub clock: SystemTime,
}

fn started() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_724_278_275)
}

impl Watched {
    /// A draw among the agencies 1 to `agencies`, a second after the start.
    pub fn new(agencies: u32, policy: Policy) -> Watched {
        let facts = Facts {
            version: "1.2.3",
            pid: 4711,
            started: started(),
            address: "0.0.0.0:12345".to_owned(),
            store: "/var/loteria/bets.csv".to_owned(),
            sync: true,
            tls: false,
            excludes_lost: false,
            connections_max: policy.connections_max,
            frame_bytes_max: policy.frame_bytes_max,
        };
        let gauges = Gauges {
            listening: true,
            log_flows: true,
            disk_free_bytes: Some(1_000_000),
            store_bytes: Some(1000),
            certificate_expiry: Some(2_000_000_000),
            bytes_in: 5000,
            bytes_out: 600,
            viewers: 3,
            log_level: None,
            log_lines_dropped: 7,
            ..Gauges::default()
        };
        let mut status = Status::new(facts);
        let mut table = Table::new(agencies, policy);
        table.hub.add_observer(status.observer());
        let uptime = Duration::from_secs(1);
        status.tick(uptime, started() + uptime);
        Watched { table, status, gauges, gauges_asked: 0, accept: None, uptime, clock: started() }
    }

    pub fn open(&mut self, peer: &str) -> ConnectionId {
        self.table.hub.open(peer.parse().expect("an address"), self.table.now).expect("there is room")
    }

    /// A connection of an agency, in the dialect `native`.
    pub fn agency(&mut self, agency: u32, peer: &str) -> ConnectionId {
        let id = self.open(peer);
        self.say(id, &hello(agency));
        id
    }

    pub fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.table.say(id, bytes);
    }

    pub fn close(&mut self, id: ConnectionId) {
        self.table.hub.closed(id, self.table.now);
        self.table.turn();
    }

    /// Time passes; then a turn begins.
    pub fn pass(&mut self, time: Duration) {
        self.uptime += time;
        self.status.tick(self.uptime, self.clock + self.uptime);
        self.table.pass(time);
    }

    pub fn ask(&mut self, method: Method, target: &str, door: Door, body: &[u8]) -> Answer {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let accept = self.accept;
        let request = Request { method, path, query, host: None, origin: None, accept_language: None, accept, body };
        let (gauges, asked, uptime) = (&self.gauges, &mut self.gauges_asked, self.uptime);
        let mut gauges = || {
            *asked += 1;
            Gauges { uptime, ..gauges.clone() }
        };
        let age = Duration::from_secs(33);
        let sockets = |_| SocketFacts { bytes_in: 11, bytes_out: 22, age };
        self.status.answer(&request, door, &self.table.hub, self.table.now, &mut gauges, &sockets)
    }

    /// What the operator is answered.
    pub fn get(&mut self, target: &str) -> Response {
        response(self.ask(Method::Get, target, Door::Local, b""))
    }

    pub fn json<T: DeserializeOwned>(&mut self, target: &str) -> T {
        let response = self.get(target);
        assert_eq!((response.status, response.content_type), (200, "application/json"), "{}", text(&response));
        serde_json::from_slice(&response.body).expect("the answer is what it is read as")
    }

    pub fn report(&mut self) -> Report {
        self.json("/status.json")
    }

    /// A viewer of the events from here on.
    pub fn cursor(&mut self) -> Cursor {
        match self.ask(Method::Get, "/events", Door::Network, b"") {
            Answer::Events(cursor) => cursor,
            other @ (Answer::Response(_) | Answer::LogLevel(..)) => panic!("{other:?}"),
        }
    }

    /// What a viewer is sent now.
    pub fn events(&mut self, cursor: &mut Cursor) -> String {
        let mut out = Vec::new();
        self.status.events_since(cursor, &mut out);
        String::from_utf8(out).expect("events are UTF-8")
    }
}

pub fn response(answer: Answer) -> Response {
    match answer {
        Answer::Response(response) | Answer::LogLevel(_, response) => response,
        Answer::Events(_) => panic!("events"),
    }
}

pub fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).expect("answers are UTF-8")
}

/// A batch of one bet on a day that there is not.
pub fn bad_batch(dialect: Dialect, agency: u32) -> Vec<u8> {
    let bet = Bet::from_text(b"Ana", b"Paz", b"30904465", b"1999-03-17", b"7574").expect("a valid bet");
    let mut raw = bet.as_raw();
    raw.birthdate = 19_990_231;
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    dialect.put_bet(AgencyId(agency), 0, &raw, &mut body);
    dialect.put_batch(AgencyId(agency), 0, 1, &body, &mut frame);
    frame
}
