//! Connections that ask in `native` to be told whom the draw waits for, while their queries wait for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod core_kit;

use core_kit::frames::{finish, hello, query};
use core_kit::{Table, batch};
use loteria::hub::{ConnectionId, Policy};
use loteria::limits;
use loteria::lottery::AgencyId;
use loteria::wire::{Answer, Dialect, Expecting};

fn watch() -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(Dialect::Native.put_watch(&mut frame), "native has it");
    frame
}

/// A connection of an agency that has finished, with a parked query; `behind` is sent behind that.
fn parked(table: &mut Table, agency: u32, behind: &[u8]) -> ConnectionId {
    let id = table.open();
    let upload = [batch(Dialect::Native, agency, 0), finish(Dialect::Native, agency)].concat();
    let words = [&hello(agency), &upload, &query(Dialect::Native, agency), behind].concat();
    table.say(id, &words);
    table.settle();
    table.receive(id);
    id
}

/// The answers that came, in words.
fn told(table: &mut Table, id: ConnectionId) -> Vec<Answer> {
    let bytes = table.receive(id);
    let (mut at, mut answers) = (0, Vec::new());
    while at < bytes.len() {
        let (used, answer) =
            Dialect::Native.read_answer(&bytes[at..], Expecting::Winners).unwrap().expect("it is whole");
        at += used;
        answers.push(answer);
    }
    answers
}

fn waiting(missing: u32, named: impl IntoIterator<Item = u32>) -> Answer {
    Answer::Waiting { missing, named: named.into_iter().map(AgencyId).collect() }
}

#[test]
fn the_one_that_asks_is_told_soon_and_then_periodically_until_the_draw() {
    let mut table = Table::new(3, Policy::default());
    let asks = parked(&mut table, 1, &watch());
    let silent = parked(&mut table, 2, b"");
    table.pass(limits::WAITING_FIRST_AFTER);
    assert_eq!(told(&mut table, asks), [waiting(1, [3])]);
    for _ in 0..3 {
        table.pass(limits::WAITING_PERIOD / 2);
        assert_eq!(told(&mut table, asks), [], "too early");
        table.pass(limits::WAITING_PERIOD / 2);
        assert_eq!(told(&mut table, asks), [waiting(1, [3])]);
    }
    assert_eq!(table.receive(silent), b"", "it has not asked");
    table.hub.assert_invariants();
    let last = parked(&mut table, 3, &watch());
    for id in [asks, silent] {
        assert!(matches!(told(&mut table, id)[..], [Answer::Winners { .. }]));
    }
    table.pass(2 * limits::WAITING_PERIOD);
    for id in [asks, silent, last] {
        assert_eq!(told(&mut table, id), [], "nothing comes after the draw");
        assert!(!table.is_over(id), "a watch is no error, however late");
    }
}

#[test]
fn a_watch_may_come_later_and_in_pieces() {
    let mut table = Table::new(2, Policy::default());
    let id = parked(&mut table, 1, b"");
    for byte in watch() {
        assert_eq!(told(&mut table, id), []);
        table.say(id, &[byte]);
    }
    table.pass(limits::WAITING_FIRST_AFTER);
    assert_eq!(told(&mut table, id), [waiting(1, [2])]);
    table.hub.assert_invariants();
}

#[test]
fn sixteen_are_named_and_all_are_counted() {
    let mut table = Table::new(40, Policy::default());
    let id = parked(&mut table, 1, &watch());
    table.pass(limits::WAITING_FIRST_AFTER);
    assert_eq!(told(&mut table, id), [waiting(39, 2..=17)]);
}

#[test]
fn one_connection_of_an_agency_is_told_and_no_impostor_takes_its_place() {
    let mut table = Table::new(2, Policy::default());
    let agency = parked(&mut table, 1, &watch());
    let others: Vec<_> = (0..100)
        .map(|_| {
            let id = table.open();
            table.say(id, &[hello(1), query(Dialect::Native, 1), watch()].concat());
            table.settle();
            table.receive(id);
            id
        })
        .collect();
    table.pass(limits::WAITING_FIRST_AFTER);
    table.settle();
    assert_eq!(told(&mut table, agency), [waiting(1, [2])]);
    for id in others {
        assert_eq!(table.receive(id), b"", "it is not known to be the agency");
    }
    // One that comes back when the first is gone is told, although it has brought nothing.
    table.hub.closed(agency, table.now);
    let again = table.open();
    table.say(again, &[hello(1), query(Dialect::Native, 1), watch()].concat());
    table.settle();
    table.receive(again);
    table.pass(2 * limits::WAITING_PERIOD);
    // The deadlines of the others are looked at first.
    (0..10).for_each(|_| table.turn());
    assert_eq!(told(&mut table, again), [waiting(1, [2])]);
}

#[test]
fn a_turn_tells_a_few_and_the_next_ones_the_rest() {
    let agencies = 3 * u32::try_from(limits::WAITING_TOLD_PER_TURN).unwrap();
    let mut table = Table::new(agencies + 1, Policy::default());
    let ids: Vec<_> = (1..=agencies).map(|agency| parked(&mut table, agency, &watch())).collect();
    let buffered = |table: &Table| ids.iter().filter(|id| !table.hub.outgoing(**id).is_empty()).count();
    table.pass(limits::WAITING_FIRST_AFTER);
    for turn in 1..=3 {
        assert_eq!(buffered(&table), turn * limits::WAITING_TOLD_PER_TURN, "turn {turn}");
        table.pass(limits::WAITING_PAUSE);
    }
    // A peer that has not taken the last one gets no other.
    table.pass(limits::WAITING_PERIOD);
    (0..3).for_each(|_| table.pass(limits::WAITING_PAUSE));
    for id in ids {
        assert_eq!(told(&mut table, id).len(), 1);
    }
}

#[test]
fn an_agency_whose_finish_is_not_stored_yet_is_still_missing() {
    let mut table = Table::new(3, Policy::default());
    let id = parked(&mut table, 1, &watch());
    table.now = table.now + limits::WAITING_FIRST_AFTER;
    let other = table.open();
    table.hub.receive(other, &[hello(2), finish(Dialect::Native, 2)].concat(), table.now);
    table.turn();
    assert_eq!(told(&mut table, id), [waiting(2, [2, 3])], "the frame is older than the commit of its turn");
}
