//! Single turns of the hub on a full disk, written out: what happens to requests whose batches are taken back.

use loteria::hub::{OnAgencyLoss, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Standing};
use loteria::storage::Options;
use loteria::timers::Moment;
use loteria::wire::{Answer, Cause, Dialect, Expecting};

use crate::bets::Kind;

use crate::desk::{Desk, NATIVE, is_gap, is_reject};
use crate::frames::{finish, query};

#[test]
fn a_full_disk_rejects_a_batch_and_what_is_behind_it_does_not_count() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    desk.disk.set_space(Some(desk.disk.used()));
    let [first, second] = [0, 1].map(|number| desk.batch(NATIVE, 1, Kind::Good, number));
    let answers = desk.say(id, &[first, second, finish(NATIVE, 1), query(NATIVE, 1)]);
    assert!(is_reject(&answers[0], 0, Cause::StorageFull), "{answers:?}");
    assert!(answers.len() == 2 && is_gap(&answers[1]), "nothing follows the answer that closes: {answers:?}");
    assert_eq!((desk.standing(1), desk.hub.parked()), (Standing::Betting, 0));
    desk.hub.shut_down(desk.now);
    desk.turn();
    assert_eq!(desk.answers(id, Expecting::Stored), []);
}

#[test]
fn a_conflict_with_bets_that_a_full_disk_took_back_is_none() {
    let mut desk = Desk::of("1");
    let [one, other] = [desk.native(1), desk.native(1)];
    let first = desk.batch(NATIVE, 1, Kind::Good, 0);
    let second = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.disk.set_space(Some(desk.disk.used()));
    desk.hub.receive(one, &first, desk.now);
    desk.hub.receive(other, &second, desk.now);
    desk.turn();
    for id in [one, other] {
        let answers = desk.answers(id, Expecting::Stored);
        assert!(answers.len() == 1 && is_reject(&answers[0], 0, Cause::StorageFull), "{answers:?}");
    }
}

#[test]
fn a_full_disk_rejects_what_comes_before_a_conflict_of_the_same_turn() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let stored = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.say(id, &[stored]);
    desk.disk.set_space(Some(desk.disk.used()));
    let next = desk.batch(NATIVE, 1, Kind::Good, 1);
    let other = desk.batch(NATIVE, 1, Kind::Conflict, 0);
    let answers = desk.say(id, &[next, other]);
    assert!(is_reject(&answers[0], 1, Cause::StorageFull), "{answers:?}");
    assert!(answers.len() == 2 && is_reject(&answers[1], 0, Cause::Conflict), "{answers:?}");
}

#[test]
fn a_finish_that_only_another_finish_of_its_turn_allows_is_taken_back_with_it() {
    let mut desk = Desk::of("1");
    let [old, new] = [desk.native(1), desk.native(1)];
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.disk.set_space(Some(desk.disk.used()));
    let answers = desk.say(old, std::slice::from_ref(&batch));
    assert!(is_reject(&answers[0], 0, Cause::StorageFull), "{answers:?}");
    desk.now = desk.now + limits::FULL_DISK_PAUSE;
    // The disk is still full. `new` stores the batch and finishes; `old` finishes without sending it again.
    desk.hub.receive(new, &[batch.clone(), finish(NATIVE, 1)].concat(), desk.now);
    desk.hub.receive(old, &finish(NATIVE, 1), desk.now);
    desk.turn();
    for id in [old, new] {
        let answers = desk.answers(id, Expecting::Stored);
        assert!(answers.last().is_some_and(is_gap), "{answers:?}");
    }
    assert_eq!(desk.standing(1), Standing::Betting, "its batch can still come");
    desk.disk.set_space(None);
    desk.now = desk.now + limits::FULL_DISK_PAUSE;
    let third = desk.native(1);
    let answers = desk.say(third, &[batch, finish(NATIVE, 1)]);
    assert!(matches!(answers[..], [Answer::StoredBelow { next: 1 }, Answer::Finished { .. }]), "{answers:?}");
}

#[test]
fn a_seal_that_finds_no_room_stops_nothing() {
    // The room kept for finishes is used up to the last place, by more agencies than it was kept for.
    let options = Options { agencies: 1, journal_step: 0, ..Options::default() };
    let mut desk = Desk::new("100", Policy::default(), options);
    desk.disk.set_space(Some(desk.disk.used()));
    let id = desk.connect();
    for agency in 1..=57 {
        desk.hub.receive(id, &finish(Dialect::Binary, agency), desk.now);
        desk.turn();
    }
    let before = desk.disk.trace();
    desk.now = desk.now + 2 * limits::SEAL_AFTER;
    desk.turn();
    assert_ne!(desk.disk.trace(), before, "the hub has tried to seal");
    desk.hub.close_store().unwrap();
}

#[test]
fn an_agency_whose_first_batch_a_full_disk_took_back_has_not_begun() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, ..Policy::default() };
    let mut desk = Desk::new("2", policy.clone(), Options::default());
    let id = desk.native(1);
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.hub.receive(id, &batch, desk.now);
    // Its connection is closed before its batch is rejected.
    desk.hub.closed(id, desk.now);
    desk.turn();
    desk.pass_until(Moment::default() + 3 * policy.loss_grace);
    assert_eq!(desk.standing(1), Standing::Betting, "nothing of it is stored, and it may come again");
}

#[test]
fn a_finish_of_a_connection_that_is_gone_does_not_count_without_its_batches() {
    for dialect in [NATIVE, Dialect::Binary] {
        let mut desk = Desk::of("2");
        let id = if dialect == NATIVE { desk.native(1) } else { desk.connect() };
        desk.disk.set_space(Some(desk.disk.used()));
        let batch = desk.batch(dialect, 1, Kind::Good, 0);
        desk.hub.receive(id, &[batch.clone(), finish(dialect, 1)].concat(), desk.now);
        desk.hub.closed(id, desk.now);
        desk.turn();
        assert_eq!(desk.standing(1), Standing::Betting, "{dialect:?}: its client will come again with both");
        desk.disk.set_space(None);
        desk.now = desk.now + limits::FULL_DISK_PAUSE;
        let id = if dialect == NATIVE { desk.native(1) } else { desk.connect() };
        desk.hub.receive(id, &[batch, finish(dialect, 1)].concat(), desk.now);
        desk.turn();
        let state = desk.hub.lottery().agency(AgencyId(1)).unwrap();
        assert_eq!((state.batches, state.standing), (1, Standing::Finished), "{dialect:?}");
    }
}

#[test]
fn an_agency_whose_finish_was_taken_back_after_it_left_is_lost() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, ..Policy::default() };
    let mut desk = Desk::new("2", policy.clone(), Options::default());
    let id = desk.native(1);
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.say(id, &[batch]);
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(NATIVE, 1, Kind::Good, 1);
    desk.hub.receive(id, &[batch, finish(NATIVE, 1)].concat(), desk.now);
    desk.hub.closed(id, desk.now);
    desk.turn();
    assert_eq!(desk.standing(1), Standing::Betting);
    desk.pass_until(Moment::default() + 3 * policy.loss_grace);
    assert_eq!(desk.standing(1), Standing::Excluded, "it has bets, and does not come back");
}

#[test]
fn a_finish_counts_though_another_agencys_batch_of_its_connection_was_taken_back() {
    let mut desk = Desk::of("3");
    let id = desk.connect();
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(id, &[batch, finish(Dialect::Binary, 2)].concat(), desk.now);
    desk.hub.closed(id, desk.now);
    desk.turn();
    assert_eq!((desk.standing(1), desk.standing(2)), (Standing::Betting, Standing::Finished));
}

#[test]
fn a_batch_behind_a_finish_that_was_taken_back_is_rejected_for_want_of_space() {
    let mut desk = Desk::of("2");
    let (first, second) = (desk.native(1), desk.native(1));
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.hub.receive(first, &[batch, finish(NATIVE, 1)].concat(), desk.now);
    let behind = desk.batch(NATIVE, 1, Kind::Good, 1);
    let answers = desk.say(second, &[behind]);
    assert!(is_reject(&answers[0], 1, Cause::StorageFull), "{answers:?}");
}
