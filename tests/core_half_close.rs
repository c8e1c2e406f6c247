//! A peer that ends its side behind its requests: every whole one of them is answered.

mod core_kit;

use core_kit::{Table, batch};
use loteria::hub::{ConnectionId, Policy};
use loteria::limits;
use loteria::lottery::AgencyId;
use loteria::wire::Dialect;

/// An agency of no draw: its batches are refused.
const UNKNOWN: u32 = 99;

/// So many finishes in `binary`.
fn finishes(agency: AgencyId, count: usize) -> Vec<u8> {
    let mut one = Vec::new();
    Dialect::Binary.put_finish(agency, &mut one);
    one.repeat(count)
}

/// The bytes of all answers to a peer that reads as they come, until the hub has nothing more to say.
fn receive_all(table: &mut Table, id: ConnectionId) -> Vec<u8> {
    let mut answers = table.receive(id);
    while table.hub.has_work() {
        table.turn();
        answers.extend(table.receive(id));
    }
    answers
}

/// Sends `requests`, then ends the peer's side before the hub goes on with those that the turn had no room for.
fn say_and_end(table: &mut Table, id: ConnectionId, requests: &[u8]) -> Vec<u8> {
    table.say(id, requests);
    table.hub.half_close(id, table.now);
    table.end_turn();
    let answers = receive_all(table, id);
    assert!(table.hub.is_done(id), "it has its answers");
    answers
}

#[test]
fn every_frame_before_a_half_close_is_answered_in_every_dialect() {
    let several = 3 * limits::UNTRUSTED_TURN_REQUESTS as usize + 1;
    for dialect in [Dialect::Binary, Dialect::Text, Dialect::KeyValue] {
        let mut table = Table::new(2, Policy::default());
        let [single, many] = [table.open(), table.open()];
        let one = say_and_end(&mut table, single, &batch(dialect, UNKNOWN, 0));
        assert!(!one.is_empty(), "{}: a batch is answered", dialect.name());
        let all = say_and_end(&mut table, many, &batch(dialect, UNKNOWN, 0).repeat(several));
        assert!(all == one.repeat(several), "{}: {} bytes of answers", dialect.name(), all.len());
    }
    // In these a batch is what is answered, or counted.
    for dialect in [Dialect::Csv, Dialect::CaseId, Dialect::Native] {
        let mut table = Table::new(1, Policy::default());
        let id = table.open();
        let mut requests = Vec::new();
        dialect.put_hello(AgencyId(1), &mut requests);
        (0..several).for_each(|sequence| requests.extend(batch(dialect, 1, sequence as u64)));
        say_and_end(&mut table, id, &requests);
        let state = table.hub.lottery().agency(AgencyId(1)).expect("of the draw");
        assert_eq!(state.batches, several as u64, "{}", dialect.name());
    }
}

#[test]
fn every_frame_of_an_agency_before_a_half_close_is_answered() {
    let several = limits::TURN_REQUESTS_PER_CONNECTION as usize + 100;
    let mut table = Table::new(2, Policy::default());
    let id = table.open();
    table.say(id, &batch(Dialect::Binary, 1, 0));
    assert_eq!(table.receive(id), [0]);
    assert!(table.hub.is_agency(id));
    let all = say_and_end(&mut table, id, &finishes(AgencyId(1), several));
    assert!(all == vec![0; several], "{} answers", all.len());
}

#[test]
fn frames_that_wait_for_their_reader_are_answered_after_a_half_close() {
    let bets = 30_000;
    let mut table = Table::new(1, Policy::default());
    let id = table.open();
    for number in 0..bets {
        table.hub.receive(id, &batch(Dialect::Text, 1, number), table.now);
    }
    let (mut requests, asked) = (Vec::new(), 6);
    (0..asked).for_each(|_| Dialect::Text.put_query(AgencyId(1), &mut requests));
    table.hub.receive(id, &requests, table.now);
    table.settle();
    table.receive(id);
    table.settle();
    assert!(table.hub.outgoing(id).len() >= limits::OUTBOX_BYTES_HIGH, "the list is long");
    let list = table.hub.outgoing(id).to_vec();
    table.hub.half_close(id, table.now);
    table.settle();
    assert!(!table.hub.is_done(id));
    let rest = receive_all(&mut table, id);
    assert!(rest == list.repeat(asked), "{} bytes of {} each", rest.len(), list.len());
}

#[test]
fn a_peer_whose_request_is_not_answered_yet_is_not_idle() {
    let several = limits::UNTRUSTED_TURN_REQUESTS as usize + 1;
    let policy = Policy::default();
    let idle = policy.idle_timeout;
    let mut table = Table::new(1, policy);
    let id = table.open();
    table.say(id, &finishes(AgencyId(UNKNOWN), several));
    assert_eq!(table.receive(id).len(), several - 1);
    // The hub goes on with the last of them late, and looks at its deadlines before it answers.
    table.pass(2 * idle);
    assert_eq!(table.receive(id).len(), 1);
    assert!(!table.is_over(id));
}
