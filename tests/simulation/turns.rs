//! Single turns of the hub, written out: what the simulation found, kept small enough to read.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::{Event, Observer, OnAgencyLoss, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Standing};
use loteria::storage::Options;
use loteria::wire::{Answer, Cause, Dialect, Expecting};

use crate::bets::Kind;
use crate::desk::{Desk, NATIVE, is_gap, is_reject};
use crate::frames::{finish, query};
use crate::rng::Rng;

/// Its agency 1 is lost after just this silence, and excluded then.
fn assert_lost_after(desk: &mut Desk, silence: Duration, why: &str) {
    desk.now = desk.now + (silence - Duration::from_millis(1));
    desk.turn();
    assert_eq!(desk.standing(1), Standing::Betting, "{why}");
    desk.now = desk.now + Duration::from_millis(1);
    desk.turn();
    assert_eq!(desk.standing(1), Standing::Excluded);
}

#[test]
fn a_query_behind_a_late_batch_is_answered() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    desk.say(id, &[finish(NATIVE, 1)]);
    let late = desk.batch(NATIVE, 1, Kind::Late, 0);
    let answers = desk.say(id, &[late, query(NATIVE, 1)]);
    assert!(is_reject(&answers[0], 0, Cause::Late), "{answers:?}");
    assert!(matches!(answers[1..], [Answer::Winners { .. }]), "{answers:?}");
}

#[test]
fn a_numbered_batch_of_no_bets_is_rejected_and_its_number_comes_again() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let mut empty = Vec::new();
    NATIVE.put_batch(AgencyId(1), 0, 0, &[], &mut empty);
    let [first, behind] = [0, 1].map(|number| desk.batch(NATIVE, 1, Kind::Good, number));
    let answers = desk.say(id, &[empty, behind.clone(), first, behind]);
    assert!(is_reject(&answers[0], 0, Cause::Permanent), "{answers:?}");
    assert!(matches!(answers[1..], [Answer::StoredBelow { next: 2 }]), "{answers:?}");
}

#[test]
fn a_finish_before_a_rejected_batch_has_come_again_does_not_count_and_is_told_so() {
    for ending in [finish(NATIVE, 1), query(NATIVE, 1)] {
        let mut desk = Desk::of("1");
        let id = desk.native(1);
        let bad = desk.batch(NATIVE, 1, Kind::Bad, 0);
        let behind = desk.batch(NATIVE, 1, Kind::Good, 1);
        let answers = desk.say(id, &[bad, behind, ending]);
        assert!(is_reject(&answers[0], 0, Cause::Permanent), "{answers:?}");
        assert!(answers.len() == 2 && is_gap(&answers[1]), "{answers:?}");
        assert!(desk.hub.is_done(id), "the connection is closed");
        assert_eq!(desk.standing(1), Standing::Betting);
    }
}

#[test]
fn what_is_behind_a_conflict_does_not_count_before_its_number_has_come_again() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let stored = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.say(id, std::slice::from_ref(&stored));
    // The bets of an old connection, whose numbers are one too high for what is stored.
    let other = desk.batch(NATIVE, 1, Kind::Conflict, 0);
    let behind = desk.batch(NATIVE, 1, Kind::Good, 1);
    let answers = desk.say(id, &[other.clone(), behind.clone()]);
    assert!(is_reject(&answers[0], 0, Cause::Conflict), "{answers:?}");
    assert!(answers.len() == 2 && is_gap(&answers[1]), "{answers:?}");
    let id = desk.native(1);
    let answers = desk.say(id, &[other, stored, behind]);
    assert!(is_reject(&answers[0], 0, Cause::Conflict), "{answers:?}");
    assert_eq!(answers[1..], [Answer::StoredBelow { next: 2 }]);
}

#[test]
fn a_query_behind_an_acknowledged_batch_stays_parked() {
    let mut desk = Desk::of("2");
    let id = desk.native(1);
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    assert_eq!(desk.say(id, &[batch, query(NATIVE, 1)]), [Answer::StoredBelow { next: 1 }]);
    desk.say(id, &[query(NATIVE, 1)]);
    assert_eq!(desk.hub.parked(), 1, "a parked connection is not decoded: it parks once");
}

#[test]
fn an_agency_that_has_just_sent_is_not_lost_because_an_older_connection_ends_last() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, loss_grace: Duration::ZERO, ..Policy::default() };
    let idle = policy.idle_timeout;
    let mut desk = Desk::new("2", policy, Options::default());
    let [old, new] = [desk.connect(), desk.connect()];
    let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(old, &batch, desk.now);
    desk.turn();
    desk.now = desk.now + idle / 2;
    let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(new, &batch, desk.now);
    desk.turn();
    desk.hub.closed(new, desk.now);
    desk.hub.closed(old, desk.now);
    assert_lost_after(&mut desk, idle, "it sent something less than IDLE_TIMEOUT ago");
}

#[test]
fn half_frames_of_untrusted_peers_do_not_hold_up_the_winners() {
    let mut desk = Desk::of("1");
    let mut half = vec![0, 0, 0, 1, 0, 0x0f, 0xff, 0xf8];
    half.resize((1 << 20) - 1, b'x');
    for _ in 0..200 {
        let untrusted = desk.connect();
        desk.hub.receive(untrusted, &half, desk.now);
    }
    assert!(desk.hub.buffered_bytes() > limits::LISTS_BYTES_HIGH);
    let id = desk.native(1);
    desk.hub.receive(id, &[finish(NATIVE, 1), query(NATIVE, 1)].concat(), desk.now);
    desk.turn();
    assert!(desk.hub.lottery().drawn());
    assert_eq!(desk.hub.parked(), 0, "its winners are on their way in the turn of the draw");
    assert!(!desk.hub.outgoing(id).is_empty());
}

#[test]
fn a_connection_in_another_dialect_that_comes_and_goes_does_not_make_an_agency_lost_earlier() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, loss_grace: Duration::ZERO, ..Policy::default() };
    let idle = policy.idle_timeout;
    for closes_first in [true, false] {
        let mut desk = Desk::new("2", policy.clone(), Options::default());
        let own = desk.connect();
        let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
        desk.hub.receive(own, &batch, desk.now);
        desk.turn();
        if closes_first {
            desk.hub.closed(own, desk.now);
        }
        let other = desk.connect();
        let bad = desk.batch(Dialect::KeyValue, 1, Kind::Bad, 0);
        desk.hub.receive(other, &bad, desk.now);
        desk.turn();
        if !closes_first {
            desk.hub.closed(own, desk.now);
        }
        desk.hub.closed(other, desk.now);
        assert_lost_after(&mut desk, idle, "it bets with a connection per message");
    }
}

#[test]
fn an_agency_is_there_while_a_connection_that_spoke_for_it_is() {
    for dialect in [Dialect::KeyValue, Dialect::CaseId, Dialect::Binary] {
        let policy = Policy {
            on_agency_loss: OnAgencyLoss::Exclude,
            idle_timeout: Duration::from_secs(60),
            loss_grace: Duration::from_secs(10),
            ..Policy::default()
        };
        let (idle, grace) = (policy.idle_timeout, policy.loss_grace);
        let mut desk = Desk::new("2", policy, Options::default());
        let id = desk.connect();
        for agency in [1, 2, 1, 2] {
            let batch = desk.batch(dialect, agency, Kind::Good, 0);
            desk.hub.receive(id, &batch, desk.now);
            desk.turn();
        }
        // It goes on for agency 2 only.
        for _ in 0..10 {
            desk.now = desk.now + idle / 2;
            let batch = desk.batch(dialect, 2, Kind::Good, 0);
            desk.hub.receive(id, &batch, desk.now);
            desk.turn();
        }
        assert_eq!(desk.standing(1), Standing::Betting, "{}", dialect.name());
        desk.hub.closed(id, desk.now);
        desk.pass_until(desk.now + (idle + grace));
        assert_eq!([1, 2].map(|agency| desk.standing(agency)), [Standing::Excluded; 2], "{}", dialect.name());
    }
}

#[test]
fn a_connection_that_names_one_agency_after_another_keeps_a_bounded_number_of_them() {
    let agencies = limits::AGENCIES_PER_CONNECTION as u32 + 50;
    let mut desk = Desk::new(
        &agencies.to_string(),
        Policy::default(),
        Options { agencies: agencies as usize, ..Options::default() },
    );
    let id = desk.connect();
    for agency in (1..=agencies).chain(1..=agencies) {
        let batch = desk.batch(Dialect::Binary, agency, Kind::Bad, 0);
        desk.hub.receive(id, &batch, desk.now);
        desk.turn();
    }
    desk.hub.closed(id, desk.now);
    desk.turn();
}

#[test]
fn a_peer_that_asks_and_asks_and_does_not_read_is_not_answered_further() {
    let mut desk = Desk::of("1");
    let id = desk.connect();
    let (text, mut bets) = (Dialect::Text, Vec::new());
    let batch = desk.batches.make(&mut Rng::new(1), Some(1), Kind::Good, 6000);
    desk.batches.put(batch, text, 1, 0, 0, &mut bets);
    desk.hub.receive(id, &bets, desk.now);
    let queries = query(text, 1).repeat(500);
    desk.hub.receive(id, &queries, desk.now);
    let mut turns = 0;
    while turns == 0 || desk.hub.has_work() {
        desk.turn();
        turns += 1;
        assert!(turns < 10_000, "the hub goes on although nobody reads");
    }
    let answer = desk.batches.all[batch].winners().count() * 50;
    let held = desk.hub.buffered_bytes();
    assert!(
        held < 2 * (limits::OUTBOX_BYTES_HIGH + answer) + queries.len(),
        "{held} bytes are held after {turns} turns"
    );
    // Reading makes it go on, to the last query.
    let mut answers = 0;
    loop {
        let unread = desk.hub.outgoing(id).to_vec();
        if unread.is_empty() && !desk.hub.has_work() {
            break;
        }
        let mut rest = &unread[..];
        while !rest.is_empty() {
            let expecting = if answers == 0 { Expecting::Stored } else { Expecting::Winners };
            let (used, _) = text.read_answer(rest, expecting).unwrap().expect("whole answers");
            rest = &rest[used..];
            answers += 1;
        }
        desk.hub.sent(id, unread.len(), desk.now);
        desk.turn();
    }
    assert_eq!(answers, 501, "the batch and every query are answered");
}

#[test]
fn an_acknowledgement_covers_what_came_on_its_own_connection() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let good = desk.batch(NATIVE, 1, Kind::Good, 0);
    let bad = desk.batch(NATIVE, 1, Kind::Bad, 1);
    desk.hub.receive(id, &[good, bad].concat(), desk.now);
    // In the same turn somebody else stores a batch of the agency, under the number of the bad one.
    let other = desk.connect();
    let another = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(other, &another, desk.now);
    let answers = desk.say(id, &[]);
    assert!(matches!(answers[0], Answer::StoredBelow { next: 1 }), "{answers:?}");
    assert!(is_reject(&answers[1], 1, Cause::Permanent), "{answers:?}");
}

#[test]
fn a_parked_connection_whose_transport_fails_waits_no_longer() {
    let mut desk = Desk::of("2");
    let id = desk.native(1);
    desk.say(id, &[query(NATIVE, 1)]);
    assert_eq!(desk.hub.parked(), 1);
    desk.hub.hang_up(id, desk.now);
    desk.turn();
    assert_eq!(desk.hub.parked(), 0);
    // The draw, which comes before the connection is closed, has nothing to say to it.
    let other = desk.connect();
    let finishes = [finish(Dialect::Binary, 1), finish(Dialect::Binary, 2)].concat();
    desk.hub.receive(other, &finishes, desk.now);
    desk.turn();
    assert!(desk.hub.lottery().drawn());
    assert_eq!(desk.hub.outgoing(id), b"");
}

/// Keeps the names of events.
#[derive(Debug)]
struct Names(Rc<RefCell<Vec<String>>>);

impl Observer for Names {
    fn observe(&mut self, event: &Event<'_>) {
        let text = format!("{event:?}");
        self.0.borrow_mut().push(text.split([' ', '(']).next().unwrap_or_default().to_owned());
    }
}

#[test]
fn observers_see_what_is_committed() {
    let mut desk = Desk::of("1");
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    desk.hub.add_observer(Box::new(Names(Rc::clone(&seen))));
    let id = desk.native(1);
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.hub.receive(id, &[batch, finish(NATIVE, 1), query(NATIVE, 1)].concat(), desk.now);
    assert_eq!(*seen.borrow(), ["Hello"], "the others not before their commit");
    desk.turn();
    assert_eq!(*seen.borrow(), ["Hello", "Stored", "Finished", "Drawn"]);
}
