//! Several hubs over one truth, simulated: agencies whose connections lead to any of them, are cut and moved, hubs that die
//! with turns in doubt. Whatever happens, each acknowledged batch is stored once, there is one draw, and every agency gets its
//! winners from whichever hub it asks. `HUBS_SEEDS=100000 cargo test --profile soak --test hubs` runs more seeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use central::{Central, Shared};
use hubs_kit::WINNING_NUMBER;
use hubs_kit::world::{World, run_seeds};
use loteria::hub::{ConnectionId, Event, Hub, Observer, Policy};
use loteria::lottery::{AgencyId, Bet, Lottery, Roster};
use loteria::timers::Moment;
use loteria::wire::{Answer, Cause, Dialect, Expecting};
use storage_kit::random::Random;

#[path = "hubs/central.rs"]
mod central;
mod environment;
mod hubs_kit;
mod storage_kit;

#[test]
fn several_hubs_store_each_acknowledged_batch_once_and_draw_once() {
    run_seeds("HUBS", 2_000, |seed| World::new(seed, central::Truth::new).run());
}

#[test]
fn clients_that_speak_for_one_agency_are_told_the_truth() {
    run_seeds("HUBS_RIVALS", 500, |seed| World::new(seed, central::Truth::new).run_with_rivals());
}

#[test]
#[cfg(debug_assertions)]
fn every_mutant_is_caught() {
    use loteria::mutants::Mutant;
    let by_chance = Mutant::OF_HUBS.into_iter().filter(|mutant| *mutant != Mutant::ForgetMisnumbered);
    let mutants: Vec<Mutant> = by_chance.chain([Mutant::HelloFromCache]).collect();
    hubs_kit::mutants::catch_all(&mutants, 3_000, |seed| World::new(seed, central::Truth::new).run());
    hubs_kit::mutants::catch_all(&[Mutant::ForgetMisnumbered], 1, |_| misnumbered());
    hubs_kit::mutants::catch_all(&Mutant::OF_RIVALS, 10_000, |seed| {
        World::new(seed, central::Truth::new).run_with_rivals();
    });
}

#[test]
fn what_follows_a_batch_whose_number_is_another_hubs_is_not_stored() {
    misnumbered();
}

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);

/// A hub of agency 1.
fn hub_over(central: &Rc<RefCell<Central>>, seed: u64) -> Hub<Shared> {
    let lottery = Lottery::new(Roster::parse("1").unwrap(), WINNING_NUMBER);
    Hub::new(Policy::default(), lottery, Shared::new(Rc::clone(central), Random::new(seed)), Moment::default())
}

/// One client has stored batch 0 by one hub. Another one sends other bets under that number by a second hub, which does not
/// know yet, and two batches behind it: these are numbered by what is not so.
fn misnumbered() {
    let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
    let mut hubs = [1, 2].map(|seed| hub_over(&central, seed));
    let peers = [0, 1].map(|at: usize| hubs[at].open(PEER, Moment::default()).unwrap());
    for (hub, peer) in hubs.iter_mut().zip(peers) {
        say(hub, peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
    }
    say(&mut hubs[0], peers[0], |out| put_batch(0, 11, out));
    say(&mut hubs[1], peers[1], |out| (0..3).for_each(|number| put_batch(number, 20 + number, out)));
    assert_eq!(central.borrow().agencies[&AgencyId(1)].batches.len(), 1);
}

/// A batch is in flight, and has come again by another connection, while another hub has stored other bets under its number.
#[test]
fn a_batch_that_repeats_one_in_flight_is_no_repetition_of_what_another_hub_has_stored() {
    // Which documents the two connections send under number 0, and what the second one is told.
    for (documents, told) in [([21, 21], Cause::Conflict), ([21, 11], Cause::StorageFull)] {
        let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
        let mut hubs = [1, 2].map(|seed| hub_over(&central, seed));
        let [first, again] = [0, 1].map(|_| hubs[1].open(PEER, Moment::default()).unwrap());
        for peer in [first, again] {
            say(&mut hubs[1], peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
        }
        let elsewhere = hubs[0].open(PEER, Moment::default()).unwrap();
        say(&mut hubs[0], elsewhere, |out| {
            Dialect::Native.put_hello(AgencyId(1), out);
        });
        say(&mut hubs[0], elsewhere, |out| put_batch(0, 11, out));
        let before = hubs[1].outgoing(again).len();
        for (peer, document) in [first, again].into_iter().zip(documents) {
            let mut batch = Vec::new();
            put_batch(0, document, &mut batch);
            hubs[1].receive(peer, &batch, Moment::default());
        }
        say(&mut hubs[1], again, |_| {});
        let answer = &hubs[1].outgoing(again)[before..];
        let (_, answer) = Dialect::Native.read_answer(answer, Expecting::Stored).unwrap().unwrap();
        assert!(matches!(answer, Answer::Rejected { cause, .. } if cause == told), "{documents:?}: {answer:?}");
    }
}

/// One connection's finish is in flight behind a batch that conflicts with another hub's: it does not happen. Another connection's
/// batch behind it was too late, and is so no longer.
#[test]
fn a_batch_behind_a_finish_that_is_taken_back_is_not_too_late() {
    let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
    let mut hubs = [1, 2].map(|seed| hub_over(&central, seed));
    let [first, second] = [0, 1].map(|_| hubs[1].open(PEER, Moment::default()).unwrap());
    for peer in [first, second] {
        say(&mut hubs[1], peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
    }
    let elsewhere = hubs[0].open(PEER, Moment::default()).unwrap();
    say(&mut hubs[0], elsewhere, |out| Dialect::Native.put_hello(AgencyId(1), out));
    say(&mut hubs[0], elsewhere, |out| put_batch(0, 11, out));
    let before = hubs[1].outgoing(second).len();
    let (mut finishing, mut late) = (Vec::new(), Vec::new());
    put_batch(0, 21, &mut finishing);
    Dialect::Native.put_finish(AgencyId(1), &mut finishing);
    put_batch(1, 31, &mut late);
    hubs[1].receive(first, &finishing, Moment::default());
    hubs[1].receive(second, &late, Moment::default());
    say(&mut hubs[1], second, |_| {});
    assert!(!central.borrow().agencies[&AgencyId(1)].finished);
    let answer = Dialect::Native.read_answer(&hubs[1].outgoing(second)[before..], Expecting::Stored);
    let (_, answer) = answer.unwrap().unwrap();
    assert!(matches!(answer, Answer::Rejected { cause: Cause::StorageFull, .. }), "{answer:?}");
}

/// A batch conflicts with another hub's, and the next one of the same connection is stored: to acknowledge that would be to
/// acknowledge both.
#[test]
fn a_batch_behind_a_conflict_is_not_acknowledged() {
    // The next one repeats one in flight, or the hub has to ask, for it expects a batch without a number in its place.
    for other in [Dialect::Native, Dialect::Binary] {
        let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
        let mut hubs = [1, 2].map(|seed| hub_over(&central, seed));
        let [first, last] = [0, 1].map(|_| hubs[1].open(PEER, Moment::default()).unwrap());
        let elsewhere = hubs[0].open(PEER, Moment::default()).unwrap();
        say(&mut hubs[1], last, |out| Dialect::Native.put_hello(AgencyId(1), out));
        if other == Dialect::Native {
            say(&mut hubs[1], first, |out| other.put_hello(AgencyId(1), out));
        }
        say(&mut hubs[0], elsewhere, |out| {
            Dialect::Native.put_hello(AgencyId(1), out);
        });
        say(&mut hubs[0], elsewhere, |out| [11, 31].into_iter().zip(0..).for_each(|(bet, at)| put_batch(at, bet, out)));
        let before = hubs[1].outgoing(last).len();
        let batches = [(0, 21), (1, 31)].map(|(number, document)| {
            let mut batch = Vec::new();
            put_batch(number, document, &mut batch);
            batch
        });
        if other == Dialect::Native {
            hubs[1].receive(first, &batches.concat(), Moment::default());
        }
        hubs[1].receive(last, &batches[0], Moment::default());
        if other == Dialect::Binary {
            let mut batch = Vec::new();
            put_batch_in(other, 0, 41, &mut batch);
            hubs[1].receive(first, &batch, Moment::default());
        }
        say(&mut hubs[1], last, |out| out.extend(&batches[1]));
        let answers = &hubs[1].outgoing(last)[before..];
        let (len, answer) = Dialect::Native.read_answer(answers, Expecting::Stored).unwrap().unwrap();
        assert!(matches!(answer, Answer::Rejected { cause: Cause::Conflict, .. }), "{other:?}: {answer:?}");
        let (_, answer) = Dialect::Native.read_answer(&answers[len..], Expecting::Stored).unwrap().unwrap();
        assert!(matches!(answer, Answer::Error { cause: Cause::Stream, .. }), "{other:?}: {answer:?}");
    }
}

/// A batch is compared with one in flight, which a full disk takes back, while another hub has stored the bets of the first
/// under that number: it is no conflict. This seed does that, after tens of thousands that do not.
#[test]
fn a_batch_that_contradicts_one_that_is_taken_back_is_no_conflict() {
    World::new(28_825, central::Truth::new).run_with_rivals();
}

/// A client's batch is stored by another hub, and comes again behind another client's finish.
#[test]
fn a_batch_that_is_stored_is_not_rejected_as_too_late() {
    let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
    let mut hubs = [1, 2].map(|seed| hub_over(&central, seed));
    let [finishes, again] = [0, 1].map(|_| hubs[1].open(PEER, Moment::default()).unwrap());
    let elsewhere = hubs[0].open(PEER, Moment::default()).unwrap();
    for (hub, peer) in [(1, finishes), (1, again), (0, elsewhere)] {
        say(&mut hubs[hub], peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
    }
    say(&mut hubs[0], elsewhere, |out| put_batch(0, 11, out));
    let before = hubs[1].outgoing(again).len();
    let mut finish = Vec::new();
    Dialect::Native.put_finish(AgencyId(1), &mut finish);
    hubs[1].receive(finishes, &finish, Moment::default());
    say(&mut hubs[1], again, |out| put_batch(0, 11, out));
    let answer = Dialect::Native.read_answer(&hubs[1].outgoing(again)[before..], Expecting::Stored);
    let (_, answer) = answer.unwrap().unwrap();
    assert!(matches!(answer, Answer::Error { cause: Cause::Stream, .. }), "{answer:?}");
}

#[test]
fn a_batch_that_came_again_and_is_stored_no_more_ends_its_connection() {
    let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
    let mut hub = hub_over(&central, 1);
    let peer = hub.open(PEER, Moment::default()).unwrap();
    say(&mut hub, peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
    say(&mut hub, peer, |out| (0..2).for_each(|number| put_batch(number, 11 + number, out)));
    central.borrow_mut().agencies.get_mut(&AgencyId(1)).unwrap().batches.pop();
    let before = hub.outgoing(peer).len();
    say(&mut hub, peer, |out| put_batch(1, 12, out));
    let (_, answer) = Dialect::Native.read_answer(&hub.outgoing(peer)[before..], Expecting::Stored).unwrap().unwrap();
    assert!(matches!(answer, Answer::Error { cause: Cause::Stream, .. }), "{answer:?}");
    assert!(hub.is_closing(peer));
}

#[test]
fn a_hub_that_parts_with_clients_keeps_those_that_could_not_go_on_elsewhere() {
    let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
    let (mut hub, now) = (hub_over(&central, 1), Moment::default());
    let [waits, idle, other] = [0, 1, 2].map(|_| hub.open(PEER, now).unwrap());
    for peer in [waits, idle] {
        say(&mut hub, peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
    }
    let mut batches = [Vec::new(), Vec::new()];
    put_batch(0, 11, &mut batches[0]);
    Dialect::Binary.put_finish(AgencyId(1), &mut batches[1]);
    // Neither is committed.
    hub.receive(waits, &batches[0], now);
    hub.receive(other, &batches[1], now);
    hub.part_with_resumable(now);
    assert_eq!([waits, idle, other].map(|peer| hub.is_cut(peer)), [true, false, false]);
}

#[test]
fn an_agency_is_at_a_hub_while_it_is_connected_or_may_connect_for_its_next_message() {
    let silence = Policy::default().idle_timeout;
    for (dialect, lasts) in [(Dialect::Binary, silence), (Dialect::Native, Duration::ZERO)] {
        let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
        let (mut hub, now) = (hub_over(&central, 1), Moment::default());
        let peer = hub.open(PEER, now).unwrap();
        if dialect == Dialect::Native {
            say(&mut hub, peer, |out| dialect.put_hello(AgencyId(1), out));
        }
        say(&mut hub, peer, |out| put_batch_in(dialect, 0, 11, out));
        assert_eq!(here(&mut hub, now + 10 * silence), [AgencyId(1)], "{dialect:?}, as long as it is connected");
        hub.closed(peer, now);
        assert_eq!(here(&mut hub, now + lasts), [], "{dialect:?}");
        if let Some(shortly_before) = lasts.checked_sub(Duration::from_millis(1)) {
            assert_eq!(here(&mut hub, now + shortly_before), [AgencyId(1)], "{dialect:?}");
        }
    }
}

#[test]
fn a_hub_learns_that_an_agency_was_excluded_and_serves_it_no_more() {
    #[derive(Debug)]
    struct Exclusions(Rc<Cell<u32>>);
    impl Observer for Exclusions {
        fn observe(&mut self, event: &Event<'_>) {
            self.0.set(self.0.get() + u32::from(matches!(event, Event::AgencyExcluded(AgencyId(1)))));
        }
    }
    let central = Rc::new(RefCell::new(Central::new(1, 0, false)));
    let mut hub = hub_over(&central, 1);
    let seen = Rc::default();
    hub.add_observer(Box::new(Exclusions(Rc::clone(&seen))));
    let peer = hub.open(PEER, Moment::default()).unwrap();
    say(&mut hub, peer, |out| Dialect::Native.put_hello(AgencyId(1), out));
    central.borrow_mut().agencies.get_mut(&AgencyId(1)).unwrap().excluded = true;
    let another = hub.open(PEER, Moment::default()).unwrap();
    say(&mut hub, another, |out| Dialect::Native.put_hello(AgencyId(1), out));
    let (_, answer) = Dialect::Native.read_answer(hub.outgoing(another), Expecting::Welcome).unwrap().unwrap();
    assert!(matches!(answer, Answer::Unwelcome(_)), "{answer:?}");
    assert_eq!(seen.get(), 1);
}

/// The agencies of which the hub says that they are here.
fn here(hub: &mut Hub<Shared>, now: Moment) -> Vec<AgencyId> {
    hub.go_on(now);
    hub.keeper().leased.clone()
}

/// Bytes reach the hub, and it has time to answer.
fn say(hub: &mut Hub<Shared>, peer: ConnectionId, put: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    put(&mut bytes);
    let now = Moment::default();
    hub.receive(peer, &bytes, now);
    for _ in 0..200 {
        let committed = hub.commit(now).unwrap();
        hub.release(committed, now);
        hub.run_deferred(now);
    }
}

fn put_batch(number: u64, document: u64, out: &mut Vec<u8>) {
    put_batch_in(Dialect::Native, number, document, out);
}

fn put_batch_in(dialect: Dialect, number: u64, document: u64, out: &mut Vec<u8>) {
    let document = (10_000_000 + document).to_string();
    let bet = Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"1999-03-17", b"1").unwrap();
    let mut body = Vec::new();
    dialect.put_bet(AgencyId(1), 0, &bet.as_raw(), &mut body);
    dialect.put_batch(AgencyId(1), number, 1, &body, out);
}
