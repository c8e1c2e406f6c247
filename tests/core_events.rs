//! What observers are told of connections and agencies: who speaks for whom, from where, and in which dialect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod core_kit;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::{ConnectionId, Event, Observer, OnAgencyLoss, Peer, Policy};
use loteria::lottery::AgencyId;
use loteria::wire::Dialect;

use core_kit::{Table, batch};

/// Keeps what is told of connections and agencies, a line each.
#[derive(Debug, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Observer for Told {
    fn observe(&mut self, event: &Event<'_>) {
        let from = |peer: &Peer| format!("{}:{}", peer.ip, peer.port);
        let name = |dialect: &Option<Dialect>| dialect.map_or("none", Dialect::name);
        let line = match event {
            Event::Hello { peer, agency, dialect } => format!("hello {} {} {agency}", from(peer), name(dialect)),
            Event::Stored { agency, peer, dialect, bets, .. } => {
                format!("stored {} {} {agency} {bets}", from(peer), name(dialect))
            }
            Event::Finished { agency, peer, dialect } => format!("finished {} {} {agency}", from(peer), name(dialect)),
            Event::ConnectionEnded { peer, dialect, agency } => {
                format!("ended {} {} {:?}", from(peer), name(dialect), agency.map(|agency| agency.0))
            }
            Event::AgencyLost(agency) => format!("lost {agency}"),
            Event::AgencyReturned(agency) => format!("returned {agency}"),
            Event::AgencyExcluded(agency) => format!("excluded {agency}"),
            Event::Drawn => "drawn".to_owned(),
            Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::Broken { .. }
            | Event::Echoed { .. }
            | Event::Closing { .. }
            | Event::CutShort { .. }
            | Event::Unrepresentable { .. }
            | Event::WrongCertificate { .. }
            | Event::DrawWaits { .. }
            | Event::StoreFull { .. }
            | Event::StoreUnreadable { .. } => return,
        };
        self.0.borrow_mut().push(line);
    }
}

/// A table, and what its hub tells.
struct Watched {
    table: Table,
    told: Rc<RefCell<Vec<String>>>,
}

impl Watched {
    fn new(agencies: u32, policy: Policy) -> Watched {
        let told = Told::default();
        let mut watched = Watched { told: Rc::clone(&told.0), table: Table::new(agencies, policy) };
        watched.table.hub.add_observer(Box::new(told));
        watched
    }

    fn open(&mut self, address: &str) -> ConnectionId {
        self.table.hub.open(address.parse().unwrap(), self.table.now).unwrap()
    }

    fn close(&mut self, id: ConnectionId) {
        self.table.hub.closed(id, self.table.now);
        self.table.turn();
    }

    /// What was told since the last call.
    fn told(&self) -> Vec<String> {
        self.told.take()
    }
}

fn finish(dialect: Dialect, agency: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    dialect.put_finish(AgencyId(agency), &mut frame);
    frame
}

fn hello(agency: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    Dialect::Native.put_hello(AgencyId(agency), &mut frame);
    frame
}

#[test]
fn a_connection_says_hello_once_for_an_agency_and_its_end_names_both() {
    let mut watched = Watched::new(2, Policy::default());
    let native = watched.open("192.0.2.7:40001");
    watched.table.say(native, &hello(1));
    assert_eq!(watched.told(), ["hello 192.0.2.7:40001 native 1"]);
    watched.table.say(native, &batch(Dialect::Native, 1, 0));
    watched.table.say(native, &finish(Dialect::Native, 1));
    let told = watched.told();
    assert_eq!(told, ["stored 192.0.2.7:40001 native 1 1", "finished 192.0.2.7:40001 native 1"]);
    watched.close(native);
    assert_eq!(watched.told(), ["ended 192.0.2.7:40001 native Some(1)"]);

    let six = watched.open("[2001:db8::7]:65535");
    watched.table.say(six, &batch(Dialect::Binary, 2, 0));
    watched.table.say(six, &batch(Dialect::Binary, 2, 1));
    let told = watched.told();
    let stored = "stored 2001:db8::7:65535 binary 2 1";
    assert_eq!(told, ["hello 2001:db8::7:65535 binary 2", stored, stored]);
    watched.close(six);
    assert_eq!(watched.told(), ["ended 2001:db8::7:65535 binary Some(2)"]);
}

#[test]
fn what_is_refused_is_no_hello() {
    let mut watched = Watched::new(1, Policy::default());
    let id = watched.open("192.0.2.7:40001");
    // Bets after the finish.
    watched.table.say(id, &finish(Dialect::Binary, 1));
    watched.close(id);
    watched.told();
    let late = watched.open("192.0.2.7:40002");
    watched.table.say(late, &batch(Dialect::Binary, 1, 0));
    watched.close(late);
    let silent = watched.open("192.0.2.7:40003");
    watched.close(silent);
    assert_eq!(watched.told(), ["ended 192.0.2.7:40002 binary None", "ended 192.0.2.7:40003 none None"]);
}

#[test]
fn a_connection_that_speaks_for_agencies_by_turns_says_hello_once_for_each() {
    let mut watched = Watched::new(3, Policy::default());
    let id = watched.open("192.0.2.7:40001");
    for agency in [1, 2, 1, 2, 3, 1] {
        watched.table.say(id, &finish(Dialect::Binary, agency));
    }
    let hellos: Vec<String> = watched.told().into_iter().filter(|line| line.starts_with("hello")).collect();
    assert_eq!(hellos.len(), 3, "{hellos:?}");
}

#[test]
fn an_agency_that_the_draw_waits_for_is_lost_and_returns_and_is_never_excluded() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Wait, loss_grace: Duration::ZERO, ..Policy::default() };
    let mut watched = Watched::new(1, policy);
    for sequence in 0..3 {
        let id = watched.open("192.0.2.7:40001");
        watched.table.say(id, &hello(1));
        watched.table.say(id, &batch(Dialect::Native, 1, sequence));
        watched.told();
        watched.close(id);
        watched.table.pass(Duration::from_secs(3600));
        assert_eq!(watched.told(), ["ended 192.0.2.7:40001 native Some(1)", "lost 1"]);
        assert_eq!(watched.table.hub.reminders(), 0, "nothing more is to come");
        let back = watched.open("192.0.2.7:40002");
        watched.table.say(back, &hello(1));
        assert_eq!(watched.told(), ["returned 1", "hello 192.0.2.7:40002 native 1"]);
        watched.close(back);
        watched.table.pass(Duration::from_secs(3600));
        assert_eq!(watched.told(), ["ended 192.0.2.7:40002 native Some(1)", "lost 1"]);
    }
    let back = watched.open("192.0.2.7:40003");
    watched.table.say(back, &[hello(1), finish(Dialect::Native, 1)].concat());
    let told = watched.told();
    let finished = "finished 192.0.2.7:40003 native 1";
    assert_eq!(told, ["returned 1", "hello 192.0.2.7:40003 native 1", finished, "drawn"]);
    watched.close(back);
    watched.table.pass(Duration::from_secs(3600));
    assert_eq!(watched.told(), ["ended 192.0.2.7:40003 native Some(1)"], "after the draw no agency is lost");
}
