//! What is said of agencies that come and go, and which of many are listed.

use std::time::Duration;

use loteria::hub::{OnAgencyLoss, Policy};
use loteria::limits;
use loteria::status::report::{AgencyState, DrawState, Winners};
use loteria::wire::Dialect;

use crate::core_kit::batch;
use crate::status_kit::{Watched, bad_batch, finish, hello, text};
use crate::{SECOND, states};

#[test]
fn an_agency_that_came_and_went_without_a_stored_bet_is_gone_and_not_unseen() {
    use AgencyState::{Connected, Gone, NeverSeen};
    let mut watched = Watched::new(3, Policy::default());
    let one = watched.agency(1, "192.0.2.7:1");
    let two = watched.open("192.0.2.8:1");
    watched.say(two, &bad_batch(Dialect::Binary, 2));
    watched.pass(SECOND);
    assert_eq!(states(&watched.report()), [Connected, Connected, NeverSeen]);
    watched.close(one);
    watched.close(two);
    watched.pass(SECOND);
    assert_eq!(states(&watched.report()), [Gone, Gone, NeverSeen]);
    assert!(text(&watched.get("/metrics")).contains("loteria_agencies{state=\"gone\"} 2"));
    let again = watched.agency(1, "192.0.2.7:2");
    watched.say(again, &batch(Dialect::Native, 1, 0));
    watched.close(again);
    watched.pass(SECOND);
    assert_eq!(states(&watched.report()), [AgencyState::Lost, Gone, NeverSeen]);
    // Clients of this dialect may open a connection for each batch: the agency is not lost before IDLE_TIMEOUT.
    let three = watched.open("192.0.2.9:1");
    watched.say(three, &batch(Dialect::Binary, 3, 0));
    watched.close(three);
    watched.pass(SECOND);
    assert_eq!(states(&watched.report())[2], AgencyState::Uploading);
    watched.pass(limits::UPLOADING_SAID);
    assert_eq!(states(&watched.report())[2], Gone);
}

/// A hub of two agencies of which the first has stored a bet and is gone, and how long it may be gone before it is excluded.
fn with_a_lost_agency() -> (Watched, Duration) {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, ..Policy::default() };
    let grace = policy.loss_grace;
    let mut watched = Watched::new(2, policy);
    let one = watched.agency(1, "192.0.2.7:1");
    watched.say(one, &batch(Dialect::Native, 1, 0));
    watched.close(one);
    (watched, grace)
}

#[test]
fn an_agency_is_lost_comes_back_and_is_excluded() {
    let (mut watched, grace) = with_a_lost_agency();
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!((report.agencies[0].state, report.agencies[0].lost_for), (AgencyState::Lost, Some(1.0)));
    assert_eq!(report.agencies[0].last_did.as_deref(), Some("stored a bet"), "its end says less than what it did");

    let again = watched.open("192.0.2.7:2");
    watched.say(again, &hello(1));
    watched.pass(SECOND);
    let report = watched.report();
    assert_eq!((report.agencies[0].state, report.agencies[0].lost_for), (AgencyState::Uploading, None));
    assert_eq!(report.agencies[0].peer.as_deref(), Some("192.0.2.7:2"));

    watched.close(again);
    watched.pass(grace + SECOND);
    watched.table.settle();
    watched.pass(SECOND);
    assert_eq!(watched.report().agencies[0].state, AgencyState::Excluded);
}

#[test]
fn the_bets_of_an_excluded_agency_have_not_won() {
    let (mut watched, grace) = with_a_lost_agency();
    let two = watched.agency(2, "192.0.2.8:1");
    watched.say(two, &[batch(Dialect::Native, 2, 0), finish(Dialect::Native, 2)].concat());
    // It is lost, and then excluded.
    watched.pass(SECOND);
    watched.pass(grace + SECOND);
    watched.table.settle();
    let report = watched.report();
    assert_eq!(states(&report), [AgencyState::Excluded, AgencyState::Finished]);
    assert_eq!((report.agencies[0].winners, report.agencies[1].winners), (Some(0), Some(1)));
    assert_eq!((report.draw.state, report.draw.winners), (DrawState::Drawn, Some(1)));
    assert_eq!(watched.json::<Winners>("/winners.json").winners.len(), 1);
}

#[test]
fn lists_of_agencies_are_bounded() {
    let count = limits::AGENCIES_REPORTED_MAX + 3;
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, ..Policy::default() };
    let grace = policy.loss_grace;
    let mut watched = Watched::new(u32::try_from(count).unwrap(), policy);
    let report = watched.report();
    assert_eq!((report.agencies.len(), report.agencies_left_out), (limits::AGENCIES_REPORTED_MAX, 3));
    assert_eq!((report.draw.waiting_for.len(), report.draw.waiting_count), (limits::AGENCIES_REPORTED_MAX, count));
    // The last one is lost, and most others have not been seen.
    let lost = watched.open("192.0.2.7:1");
    watched.say(lost, &[hello(1003), batch(Dialect::Native, 1003, 0)].concat());
    watched.close(lost);
    watched.pass(SECOND);
    let report = watched.report();
    let (last, waiting) = (report.agencies.last().unwrap(), &report.draw.waiting_for);
    assert_eq!((last.id, last.state), (1003, AgencyState::Lost));
    assert_eq!((report.agencies.len(), waiting.len(), waiting[..3].to_vec()), (1000, 1000, vec![1, 2, 3]));
    assert!(waiting.is_sorted() && waiting.last() == Some(&1003), "{waiting:?}");
    // The draw waits for the last one alone.
    for agency in 1..u32::try_from(count).unwrap() {
        let id = watched.open("192.0.2.7:1");
        watched.say(id, &finish(Dialect::Binary, agency));
        watched.close(id);
    }
    watched.pass(SECOND);
    let mut is_listed = |waiting: &[u32]| {
        let report = watched.report();
        let ids: Vec<u32> = report.agencies.iter().map(|agency| agency.id).collect();
        assert_eq!((report.draw.waiting_for.as_slice(), report.agencies_left_out), (waiting, 3));
        assert!(ids.is_sorted() && ids.len() == 1000 && ids.last() == Some(&1003), "{ids:?}");
        watched.pass(grace);
    };
    is_listed(&[1003]);
    // It is excluded, and the draw is made.
    is_listed(&[]);
    let none = Watched::new(0, Policy::default()).report();
    assert_eq!((none.draw.state, none.draw.waiting_count), (DrawState::None, 0));
}
