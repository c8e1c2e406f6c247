//! What observers are told of connections and agencies: who speaks for whom, from where, and in which dialect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod core_kit;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::{ConnectionId, Event, Missing, Observer, OnAgencyLoss, Peer, Policy};
use loteria::limits;
use loteria::wire::Dialect;

use core_kit::frames::{finish, hello};
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
            Event::Finished { agency, peer, dialect, .. } => {
                format!("finished {} {} {agency}", from(peer), name(dialect))
            }
            Event::ConnectionEnded { peer, dialect, agency } => {
                format!("ended {} {} {:?}", from(peer), name(dialect), agency.map(|agency| agency.0))
            }
            Event::AgencyLost(agency) => format!("lost {agency}"),
            Event::AgencyReturned(agency) => format!("returned {agency}"),
            Event::AgencyExcluded(agency) => format!("excluded {agency}"),
            Event::TwoClients { agency, peer, rival } => {
                format!("two clients {agency} {} {}", from(peer), from(rival))
            }
            Event::Drawn => "drawn".to_owned(),
            Event::SummaryDue => "summary".to_owned(),
            Event::DrawMisses { missing, more } => {
                let said: Vec<String> = missing.iter().map(Missing::to_string).collect();
                format!("misses {}{}", said.join("; "), if *more { " …" } else { "" })
            }
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
            | Event::StoreHasSpace
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

    /// The same, without what is told each minute.
    fn told_but_misses(&self) -> Vec<String> {
        self.told().into_iter().filter(|line| !line.starts_with("misses")).collect()
    }
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
        assert_eq!(watched.told_but_misses(), ["ended 192.0.2.7:40001 native Some(1)", "lost 1"]);
        let back = watched.open("192.0.2.7:40002");
        watched.table.say(back, &hello(1));
        assert_eq!(watched.told(), ["returned 1", "hello 192.0.2.7:40002 native 1"]);
        watched.close(back);
        watched.table.pass(Duration::from_secs(3600));
        assert_eq!(watched.told_but_misses(), ["ended 192.0.2.7:40002 native Some(1)", "lost 1"]);
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

#[test]
fn each_minute_is_told_what_the_missing_agencies_do_from_the_first_of_them_on() {
    let minute = Duration::from_secs(60);
    let mut watched = Watched::new(6, Policy::default());
    watched.table.pass(2 * minute);
    let silent = watched.open("192.0.2.7:40000");
    watched.close(silent);
    watched.table.pass(2 * minute);
    assert_eq!(watched.told_but_misses(), ["ended 192.0.2.7:40000 none None"]);

    let finished = watched.open("192.0.2.7:40001");
    watched.table.say(finished, &finish(Dialect::Binary, 1));
    let uploading = watched.open("192.0.2.7:40002");
    watched.table.say(uploading, &[hello(2), batch(Dialect::Native, 2, 0), batch(Dialect::Native, 2, 1)].concat());
    let lost = watched.open("192.0.2.7:40003");
    watched.table.say(lost, &[hello(3), batch(Dialect::Native, 3, 0)].concat());
    watched.close(lost);
    let gone = watched.open("192.0.2.7:40004");
    watched.table.say(gone, &hello(4));
    watched.close(gone);
    let connected = watched.open("192.0.2.7:40005");
    watched.table.say(connected, &hello(5));
    watched.told();
    watched.table.pass(minute);
    let misses = "misses 2 uploading, 2 bets; 3 lost, 1 bet; 4 gone, no bets; 5 connected, no bets; 6 never seen";
    assert_eq!(watched.told(), [misses]);
    watched.table.pass(minute);
    assert_eq!(watched.told(), [misses], "again");
    let others = watched.open("192.0.2.7:40006");
    for agency in 2..=6 {
        watched.table.say(others, &finish(Dialect::Binary, agency));
    }
    assert!(watched.told().contains(&"drawn".to_owned()));
    watched.table.pass(10 * minute);
    let told = watched.told();
    assert!(told.iter().all(|line| !line.starts_with("misses")), "not after the draw: {told:?}");
}

#[test]
fn of_many_missing_agencies_a_few_are_named() {
    let mut watched = Watched::new(1000, Policy::default());
    let id = watched.open("192.0.2.7:40001");
    watched.table.say(id, &finish(Dialect::Binary, 1));
    watched.told();
    watched.table.pass(Duration::from_secs(60));
    let told = watched.told();
    assert!(told[0].ends_with("; 21 never seen …"), "{told:?}");
    assert_eq!(told[0].matches("never seen").count(), loteria::hub::PENDING_NAMED_MAX);
}

#[test]
fn where_batches_have_no_line_a_summary_is_due_a_second_after_the_first_of_them_and_at_the_end() {
    let second = Duration::from_secs(1);
    let mut watched = Watched::new(1, Policy::default());
    watched.table.hub.summarise_batches();
    let id = watched.open("192.0.2.7:40001");
    watched.table.say(id, &[hello(1), batch(Dialect::Native, 1, 0), batch(Dialect::Native, 1, 1)].concat());
    watched.told();
    watched.table.pass(second);
    assert_eq!(watched.told(), ["summary"]);
    watched.table.pass(2 * second);
    assert!(watched.told().is_empty(), "nothing was stored");
    watched.table.say(id, &batch(Dialect::Native, 1, 2));
    watched.told();
    watched.table.hub.close_store().unwrap();
    assert_eq!(watched.told(), ["summary"]);
}

#[test]
fn two_clients_with_one_id_are_told_once_a_minute_and_clients_that_connect_for_each_message_are_not() {
    let two = |watched: &Watched| -> Vec<String> {
        watched.told().into_iter().filter(|line| line.starts_with("two clients")).collect()
    };
    let mut watched = Watched::new(2, Policy::default());
    for port in 40_100..40_110 {
        let id = watched.open(&format!("192.0.2.9:{port}"));
        watched.table.say(id, &batch(Dialect::Binary, 2, 0));
        // The next one may be there before the end of this one is read.
        if port % 2 == 0 {
            watched.close(id);
        }
    }
    assert_eq!(two(&watched), Vec::<String>::new());
    let first = watched.open("192.0.2.7:40001");
    watched.table.say(first, &[hello(1), batch(Dialect::Native, 1, 0)].concat());
    watched.table.settle();
    let second = watched.open("192.0.2.8:40002");
    watched.table.say(second, &hello(1));
    assert_eq!(two(&watched), Vec::<String>::new(), "the first may be what a lost connection has left");
    for sequence in 1..9 {
        watched.table.say(first, &batch(Dialect::Native, 1, sequence));
        watched.table.say(second, &batch(Dialect::Native, 1, 0));
    }
    assert_eq!(two(&watched), ["two clients 1 192.0.2.7:40001 192.0.2.8:40002"]);
    for id in [first, second] {
        watched.table.receive(id);
    }
    watched.table.pass(limits::RIVALS_LOG_PERIOD);
    watched.table.say(first, &batch(Dialect::Native, 1, 9));
    assert_eq!(two(&watched).len(), 1);
    // The second one alone is no news, once the first is gone.
    watched.close(first);
    watched.table.receive(second);
    watched.table.pass(limits::RIVALS_LOG_PERIOD);
    (10..13).for_each(|sequence| watched.table.say(second, &batch(Dialect::Native, 1, sequence)));
    assert_eq!(two(&watched), Vec::<String>::new());
}

#[test]
fn an_agency_whose_only_batch_was_rejected_has_been_here() {
    let mut watched = Watched::new(2, Policy::default());
    let id = watched.open("192.0.2.7:40001");
    // A bet without a first name.
    watched.table.say(id, b"24\n|Paz|1|1999-03-17|7574|1");
    watched.close(id);
    let other = watched.open("192.0.2.7:40002");
    watched.table.say(other, &batch(Dialect::Binary, 2, 0));
    watched.table.pass(limits::MISSING_LOG_PERIOD);
    let told = watched.told();
    assert!(told.iter().any(|line| line.contains("misses 1 gone, no bets")), "{told:?}");
}
