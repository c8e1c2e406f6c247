//! Five hubs finish the last five agencies at once, over a real PostgreSQL: there is one draw, whichever comes last, and all five
//! know it. `LEDGER_RACES=500` runs that many draws (20).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;
mod environment;

use std::time::{Duration, Instant};

use engine_kit::desk::{Desk, options};
use engine_kit::{Engine, batch};
use loteria::lottery::Roster;
use loteria::storage::{LedgerOptions, Place};

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
