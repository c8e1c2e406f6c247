//! What is answered of a hub that shares a PostgreSQL with others: the engine, the other hubs, and agencies that are at those.

use std::time::{Duration, SystemTime};

use loteria::hub::{Hub, Policy};
use loteria::lottery::{AgencyId, BatchError, BetSource, Lottery, Roster};
use loteria::status::facts::{Door, Facts, Gauges, SocketFacts};
use loteria::status::http::{Method, Request, Response};
use loteria::status::report::{AgencyState, Report};
use loteria::status::{Answer, Status};
use loteria::storage::{
    CommitError, EngineView, InstanceView, Keep, Load, Match, MatchError, MemoryDisk, Options, Place, Settled,
    StagedBatch, Store, Trouble, TurnNumber,
};
use loteria::timers::Moment;
use loteria::wire::Dialect;

use crate::core_kit::batch;
use crate::core_kit::frames::hello;

/// A store of files that says that it is a PostgreSQL.
#[derive(Debug)]
struct Shown {
    store: Store<MemoryDisk>,
    engine: EngineView,
    trouble: Option<Trouble>,
}

impl Keep for Shown {
    fn stage_batch(
        &mut self,
        agency: AgencyId,
        place: Place,
        bets: &impl BetSource,
    ) -> Result<StagedBatch, BatchError> {
        Keep::stage_batch(&mut self.store, agency, place, bets)
    }

    fn stage_finish(&mut self, agency: AgencyId) {
        self.store.stage_finish(agency);
    }

    fn stage_exclusion(&mut self, agency: AgencyId) {
        panic!("agency {agency} may be at another hub");
    }

    fn stage_draw(&mut self, _winning_number: u32) {}

    fn matches(&mut self, agency: AgencyId, sequence: u64, bets: &impl BetSource) -> Result<Match, MatchError> {
        Keep::matches(&mut self.store, agency, sequence, bets)
    }

    fn submit(&mut self, turn: TurnNumber) {
        self.store.submit(turn);
    }

    fn settled(&mut self) -> Option<Settled> {
        self.store.settled()
    }

    fn has_room(&self) -> bool {
        self.store.has_room()
    }

    fn load(&self) -> Load {
        self.store.load()
    }

    fn waits(&self) -> bool {
        true
    }

    fn group(&self) -> u64 {
        Keep::group(&self.store)
    }

    fn check(&mut self) -> Result<(), CommitError> {
        self.store.check()
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        Keep::seal(&mut self.store)
    }

    fn draws_here(&self) -> bool {
        false
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble.clone()
    }

    fn engine(&self) -> Option<EngineView> {
        Some(self.engine.clone())
    }

    fn close(&mut self) -> Result<(), CommitError> {
        Keep::close(&mut self.store)
    }
}

fn at(seconds: u64) -> Moment {
    Moment::after_origin(Duration::from_secs(seconds))
}

fn engine() -> EngineView {
    let instance = |here, name: &str, turn, seen_ago| InstanceView {
        here,
        name: name.to_owned(),
        turn,
        seen_ago: Duration::from_secs(seen_ago),
        read_at: at(8),
    };
    EngineView {
        draw: 4,
        connected: true,
        host: "db.interno:5432".to_owned(),
        epoch: 3,
        turn: 1234,
        turns_in_flight: 2,
        answered_at: Some(at(9)),
        held: None,
        instances: vec![
            instance(true, "norte", 1234, 0),
            instance(false, "sur", 99, 1),
            instance(false, "oeste", 5, 59),
        ],
    }
}

/// A hub whose time is ten seconds, and its service.
struct Shared {
    hub: Hub<Shown>,
    status: Status,
}

impl Shared {
    fn new(engine: EngineView, trouble: Option<Trouble>) -> Shared {
        let options = Options { agencies: 3, journal_step: 64, ..Options::default() };
        let (store, _) = Store::open(MemoryDisk::default(), options).unwrap();
        let lottery = Lottery::new(Roster::parse("3").unwrap(), 7574);
        let mut hub = Hub::new(Policy::default(), lottery, Shown { store, engine, trouble }, at(1));
        let mut status = Status::new(Facts {
            version: "1.2.3",
            pid: 4711,
            started: SystemTime::UNIX_EPOCH,
            address: "0.0.0.0:12345".to_owned(),
            store: "draw 4 of db.interno:5432".to_owned(),
            sync: true,
            tls: false,
            excludes_lost: false,
            connections_max: 100,
            frame_bytes_max: 8192,
        });
        hub.add_observer(status.observer());
        status.tick(Duration::from_secs(10), SystemTime::UNIX_EPOCH);
        Shared { hub, status }
    }

    fn turn(&mut self) {
        self.hub.run_deferred(at(10));
        self.hub.tick(at(10)).unwrap();
        let committed = self.hub.commit(at(10)).unwrap();
        self.hub.release(committed, at(10));
    }

    fn get(&mut self, path: &str, door: Door) -> Response {
        let accept = Some("application/openmetrics-text");
        let request = Request {
            method: Method::Get,
            path,
            query: None,
            host: None,
            origin: None,
            accept_language: None,
            accept,
            body: b"",
        };
        let trouble = self.hub.keeper().trouble().map(|trouble| trouble.why);
        let mut gauges = || Gauges { listening: true, log_flows: true, trouble: trouble.clone(), ..Gauges::default() };
        match self.status.answer(&request, door, &self.hub, at(10), &mut gauges, &|_| SocketFacts::default()) {
            Answer::Response(response) => response,
            other @ (Answer::Events(_) | Answer::LogLevel(..)) => panic!("{other:?}"),
        }
    }

    fn report(&mut self, door: Door) -> Report {
        serde_json::from_slice(&self.get("/status.json", door).body).unwrap()
    }
}

/// The metrics of a hub that shares an engine, with a connection and a batch.
pub fn metrics() -> String {
    let mut shared = Shared::new(engine(), None);
    String::from_utf8(shared.get("/metrics", Door::Network).body.to_vec()).unwrap()
}

#[test]
fn the_engine_and_the_other_hubs_are_reported() {
    let report = Shared::new(engine(), None).report(Door::Local);
    let said = report.engine.unwrap();
    assert_eq!((said.kind.as_str(), said.draw, said.connected, said.held), ("postgres", 4, true, false));
    assert_eq!((said.host.as_deref(), said.epoch, said.turn), (Some("db.interno:5432"), 3, 1234));
    assert_eq!((said.turns_in_flight, said.answered_ago, said.trouble_for), (2, Some(1.0), None));
    let hubs: Vec<_> = said.instances.iter().map(|hub| (&*hub.name, hub.here, hub.seen_ago, hub.turns)).collect();
    assert_eq!(hubs, [("norte", true, 2.0, 1234), ("sur", false, 3.0, 99), ("oeste", false, 61.0, 5)]);
    let metrics = metrics();
    // The third one was seen too long ago.
    for line in
        ["\nloteria_engine_reconnections_total 2\n", "\nloteria_hubs 2.0\n", "\nloteria_engine_answer_seconds 1.0\n"]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn what_is_wrong_is_said_in_full_over_the_unix_socket_only() {
    let why = "db.interno:5432: PostgreSQL says: no".to_owned();
    let trouble = Some(Trouble { since: at(6), why: why.clone() });
    let held = "turns 3 to 4 of db.interno are gone".to_owned();
    let mut shared = Shared::new(EngineView { held: Some(held.clone()), connected: false, ..engine() }, trouble);
    let report = shared.report(Door::Local);
    assert_eq!(report.trouble.as_ref(), Some(&why));
    let local = report.engine.unwrap();
    assert_eq!((local.trouble_for, local.trouble, local.held_because), (Some(4.0), Some(why), Some(held)));
    let response = shared.get("/status.json", Door::Network);
    assert!(!String::from_utf8_lossy(&response.body).contains("interno"), "{response:?}");
    let network = shared.report(Door::Network).engine.unwrap();
    assert_eq!((network.connected, network.trouble_for, network.held), (false, Some(4.0), true));
    assert_eq!((network.host, network.trouble, network.held_because), (None, None, None));
}

#[test]
fn an_agency_without_a_connection_here_may_be_at_another_hub() {
    let mut shared = Shared::new(engine(), None);
    let peer = "192.0.2.7:40001".parse().unwrap();
    let id = shared.hub.open(peer, at(2)).unwrap();
    shared.hub.receive(id, &hello(1), at(2));
    shared.turn();
    shared.hub.receive(id, &batch(Dialect::Native, 1, 0), at(2));
    shared.turn();
    let states = |shared: &mut Shared| -> Vec<AgencyState> {
        shared.report(Door::Local).agencies.iter().map(|agency| agency.state).collect()
    };
    let not_here = AgencyState::NotHere;
    assert_eq!(states(&mut shared), [AgencyState::Uploading, not_here, not_here]);
    shared.hub.closed(id, at(10));
    shared.turn();
    shared.status.tick(Duration::from_secs(60), SystemTime::UNIX_EPOCH);
    assert_eq!(states(&mut shared), [not_here; 3], "it is not said to be lost or gone");
}

#[test]
fn a_store_of_files_has_no_engine() {
    let mut watched = crate::Watched::new(1, Policy::default());
    assert!(!crate::text(&watched.get("/status.json")).contains("\"engine\""));
    assert!(!crate::text(&watched.get("/metrics")).contains("loteria_engine"));
}
