//! What of the hub is whose: slots, turns, and winners on their way.

mod core_kit;

use std::net::SocketAddr;
use std::time::Duration;

use core_kit::frames::{finish, hello, query};
use core_kit::{Table, batch};
use loteria::hub::{ConnectionId, OnAgencyLoss, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Standing};
use loteria::wire::Dialect;

/// A query of agency 1 in `binary`.
const QUERY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1];
const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().expect("an address"), 40_000)
}

/// A connection from `peer` that has stored a bet of `agency`.
fn stored(table: &mut Table, peer: &str, agency: u32) -> ConnectionId {
    let id = table.hub.open(address(peer), table.now).expect("there is room");
    table.say(id, &batch(Dialect::Binary, agency, 0));
    assert_eq!(table.receive(id), [0]);
    id
}

#[test]
fn no_agency_keeps_the_others_out_with_connections_that_have_stored() {
    // Ten slots for each of five agencies, and ten for newcomers.
    let policy = Policy { connections_max: 60, ..Policy::default() };
    let mut table = Table::new(5, policy.clone());
    let many: Vec<ConnectionId> = (0..60).map(|_| stored(&mut table, HERE, 1)).collect();
    table.hub.open(address(THERE), table.now).expect_err("the hub is full");
    let gone = table.hub.evict(Some(address(THERE).ip())).expect("one of many gives way");
    assert!(many.contains(&gone));

    // Within their shares no connection is evicted, however many come from one address.
    let mut table = Table::new(5, policy);
    for agency in [1, 2, 3, 4, 5].repeat(10) {
        stored(&mut table, HERE, agency);
    }
    for _ in 0..10 {
        let id = table.hub.open(address(THERE), table.now).expect("there is room");
        // Of no agency of the draw.
        table.say(id, &finish(Dialect::Binary, 9));
    }
    table.hub.open(address(HERE), table.now).expect_err("the hub is full");
    for _ in 0..10 {
        assert_eq!(table.hub.evict(Some(address(THERE).ip())), None);
    }
}

#[test]
fn an_agency_gets_its_winners_before_untrusted_peers_that_asked_first() {
    let mut table = Table::new(2, Policy::default());
    let agency = stored(&mut table, HERE, 2);
    let asked: Vec<ConnectionId> = (0..limits::FLUSH_PER_TURN + 50).map(|_| table.open()).collect();
    for id in &asked {
        table.say(*id, &QUERY);
    }
    table.say(agency, &query(Dialect::Binary, 2));
    let other = table.open();
    table.say(other, &[finish(Dialect::Binary, 1), finish(Dialect::Binary, 2)].concat());
    assert!(!table.hub.outgoing(agency).is_empty(), "with the turn of the draw");
    assert!(asked.iter().any(|id| table.hub.outgoing(*id).is_empty()), "and before the untrusted peers");
}

#[test]
fn the_winners_of_agencies_go_out_in_the_order_in_which_they_were_asked_for() {
    let mut table = Table::new(2, Policy::default());
    let asked: Vec<ConnectionId> = (0..limits::FLUSH_PER_TURN + 50).map(|_| stored(&mut table, HERE, 1)).collect();
    for id in &asked {
        table.say(*id, &QUERY);
    }
    let other = table.open();
    table.say(other, &[finish(Dialect::Binary, 1), finish(Dialect::Binary, 2)].concat());
    let answered = |table: &Table, id: &ConnectionId| !table.hub.outgoing(*id).is_empty();
    let (first, last) = asked.split_at(limits::FLUSH_PER_TURN);
    assert!(first.iter().all(|id| answered(&table, id)) && !last.iter().any(|id| answered(&table, id)));
    table.settle();
    assert!(last.iter().all(|id| answered(&table, id)));
}

#[test]
fn a_batch_of_one_agency_makes_no_connection_trusted_for_another() {
    let mut table = Table::new(2, Policy::default());
    let other = table.hub.open(address(HERE), table.now).expect("there is room");
    table.say(other, &finish(Dialect::Binary, 2));
    let id = stored(&mut table, HERE, 1);
    assert!(table.hub.is_agency(id));
    table.say(id, &finish(Dialect::Binary, 2));
    assert!(!table.hub.is_agency(id), "any peer can claim to be agency 2");
    table.receive(id);
    table.say(id, &batch(Dialect::Binary, 1, 1));
    assert!(table.hub.is_agency(id));
}

#[test]
fn a_batch_that_a_full_disk_rejects_makes_no_connection_trusted() {
    let mut table = Table::new(2, Policy::default());
    let id = stored(&mut table, HERE, 1);
    assert!(table.hub.is_agency(id), "its bets are on the disk");
    table.full.set(true);
    let other = table.hub.open(address(THERE), table.now).expect("there is room");
    table.say(other, &batch(Dialect::Binary, 2, 0));
    assert_eq!(table.receive(other), [1], "it is rejected");
    assert!(!table.hub.is_agency(other));
    table.full.set(false);
    table.pass(limits::FULL_DISK_PAUSE);
    table.say(other, &batch(Dialect::Binary, 2, 0));
    assert_eq!(table.receive(other), [0]);
    assert!(table.hub.is_agency(other));
}

#[test]
fn an_untrusted_frame_counts_whole_when_its_last_byte_comes() {
    let mut table = Table::new(2, Policy::default());
    let untrusted = table.open();
    let mut frame = vec![0, 0, 0, 1];
    let body = 2 * limits::UNTRUSTED_TURN_BYTES;
    frame.extend(u32::try_from(body).expect("a short frame").to_be_bytes());
    frame.resize(8 + body, 0);
    let (most, last) = frame.split_at(frame.len() - 1);
    table.say(untrusted, most);
    assert_eq!(table.hub.untrusted_bytes(), 0);
    table.hub.receive(untrusted, last, table.now);
    assert!(table.hub.untrusted_bytes() >= body);
    table.turn();
    assert_eq!(table.hub.untrusted_bytes(), 0, "the next turn begins anew");
}

#[test]
fn an_agency_is_given_up_in_time_however_it_was_lost_before() {
    let grace = Duration::from_secs(1);
    let idle_timeout = Duration::from_secs(15);
    let on_agency_loss = OnAgencyLoss::Exclude;
    let policy = Policy { on_agency_loss, loss_grace: grace, idle_timeout, ..Policy::default() };
    let mut table = Table::new(2, policy);
    // In `binary` clients connect anew for each message: only silence says that one is lost.
    let first = stored(&mut table, HERE, 1);
    table.hub.closed(first, table.now);
    let standing = |table: &Table| table.hub.lottery().agency(AgencyId(1)).map(|agency| agency.standing);
    table.pass(2 * grace);
    assert_eq!(standing(&table), Ok(Standing::Betting));
    let second = table.open();
    table.say(second, &[hello(1), batch(Dialect::Native, 1, 1)].concat());
    table.hub.closed(second, table.now);
    table.pass(Duration::ZERO);
    table.pass(grace);
    assert_eq!(standing(&table), Ok(Standing::Excluded));
    // What is left of the first reminder changes nothing.
    table.pass(idle_timeout);
    assert_eq!(standing(&table), Ok(Standing::Excluded));
}

#[test]
fn an_agency_that_finished_without_bets_is_answered_before_peers_that_only_ask() {
    let mut table = Table::new(2, Policy::default());
    let asks: Vec<u8> = [1, 2].iter().flat_map(|agency| query(Dialect::Binary, *agency)).collect();
    let untrusted: Vec<ConnectionId> = (0..3 * limits::FLUSH_PER_TURN)
        .map(|_| {
            let id = table.hub.open(address(HERE), table.now).expect("there is room");
            // To say again that an agency has finished is not to be it.
            table.say(id, &asks[..12]);
            id
        })
        .collect();
    let agency = table.hub.open(address(THERE), table.now).expect("there is room");
    table.say(agency, &[finish(Dialect::Binary, 1), query(Dialect::Binary, 1)].concat());
    let again = table.hub.open(address(HERE), table.now).expect("there is room");
    table.say(again, &[finish(Dialect::Binary, 1), query(Dialect::Binary, 1)].concat());
    assert!(table.hub.is_agency(agency) && !table.hub.is_agency(again));
    let last = table.hub.open(address(HERE), table.now).expect("there is room");
    table.say(last, &finish(Dialect::Binary, 2));
    assert!(table.hub.lottery().drawn());
    assert_eq!(table.receive(agency), [0, 0, 0, 0, 0, 0], "its finish and its winners, in the turn of the draw");
    assert!(untrusted.iter().any(|id| table.hub.outgoing(*id).is_empty()), "others wait for their turn");
}
