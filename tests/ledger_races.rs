//! Hubs that do the same at once, over a real PostgreSQL. Five hubs finish the last five agencies: there is one draw, whichever comes
//! last, and all five know it; `LEDGER_RACES=500` runs that many draws (20). Two hubs store batches of one agency.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;
mod environment;

use std::time::{Duration, Instant};

use engine_kit::desk::{Desk, options};
use engine_kit::{Engine, batch};
use loteria::lottery::{AgencyId, Roster};
use loteria::storage::{Compared, LedgerOptions, Match, Place, Settled};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn five_hubs_that_finish_at_once_make_one_draw() {
    let Some(engine) = Engine::start() else { return };
    let draws = i32::try_from(environment::number("LEDGER_RACES").unwrap_or(20)).unwrap();
    for draw in 1..=draws {
        let open = |agency: u8| {
            let options = LedgerOptions { draw, roster: Roster::parse("5").unwrap(), ..options(&engine, agency) };
            let (desk, opened) = Desk::try_open(options);
            opened.unwrap();
            desk
        };
        let mut desks = [1, 2, 3, 4, 5].map(open);
        for (desk, agency) in desks.iter_mut().zip(1..) {
            desk.stage(agency, Place::Next(0), &batch(10 * agency, 3));
            desk.finish(agency);
            desk.submit();
        }
        let began = Instant::now();
        while desks.iter().any(|desk| desk.drawn.is_none()) {
            assert!(began.elapsed() < PATIENCE, "draw {draw} is not made, or not told");
            desks.iter_mut().for_each(|desk| desk.step(Duration::from_millis(1)));
        }
        let first = desks[0].drawn.clone();
        assert!(desks.iter().all(|desk| desk.drawn == first), "draw {draw}: the same winners at all");
        assert_eq!(engine.ask(&format!("SELECT bets FROM loteria.draws WHERE draw = {draw}")), "15");
    }
    let made = engine.ask("SELECT count(*), count(drawn_at), count(drawn_by) FROM loteria.draws");
    assert_eq!(made, format!("{draws}|{draws}|{draws}"));
}

/// A hub has a batch without a number in flight, and expects it to have number 0; another hub has stored a batch there, which its
/// client sends again by the first one.
#[test]
fn a_batch_that_came_again_is_compared_with_what_is_stored_and_not_with_one_that_has_no_number() {
    let Some(engine) = Engine::start() else { return };
    let [mut stored, mut came_again] = [1, 2].map(|instance| Desk::open(&engine, instance));
    stored.stage(1, Place::Numbered(0), &batch(0, 3));
    stored.commit();
    came_again.stage(1, Place::Next(0), &batch(10, 3));
    came_again.submit();
    assert_eq!(came_again.matches(1, 0, &batch(0, 3)), Match::Asked);
    let turn = came_again.submit();
    let compared: Vec<Compared> = came_again
        .committed(turn)
        .into_iter()
        .flat_map(|settled| match settled {
            Settled::Learned(learned) => learned.compared,
            Settled::Committed(_) => Vec::new(),
            other @ (Settled::Moved { .. } | Settled::TakenBack { .. } | Settled::Failed(_)) => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(compared, [Compared { agency: AgencyId(1), sequence: 0, same: true }]);
    assert_eq!(engine.ask("SELECT batches, bets FROM loteria.agencies WHERE agency = 1"), "2|6");
}
