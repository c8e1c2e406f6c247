//! A draw that is held, at a real PostgreSQL: by a person, and by a hub after an alarm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;

use engine_kit::desk::Desk;
use engine_kit::{Engine, batch};
use loteria::lottery::{AgencyId, Standing};
use loteria::storage::{Keep, Known, Place};

#[test]
fn a_draw_that_is_held_is_not_made() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    engine.ask("UPDATE loteria.draws SET held = 'a person looks at it'");
    [1, 2, 3].into_iter().for_each(|agency| desk.finish(agency));
    desk.commit();
    // Two surveys: each comes behind a try.
    for _ in 0..2 {
        desk.settled.clear();
        desk.wait_for("a survey", |desk| (!desk.settled.is_empty()).then_some(()));
    }
    assert_eq!(engine.ask("SELECT drawn_at IS NULL FROM loteria.draws"), "t");
    engine.ask("UPDATE loteria.draws SET held = NULL");
    desk.wait_for("the draw", |desk| desk.drawn.take());
}

#[test]
fn each_hub_sees_the_engine_the_other_hub_and_that_the_draw_is_held() {
    let Some(engine) = Engine::start() else { return };
    let (mut one, mut two) = (Desk::open(&engine, 1), Desk::open(&engine, 2));
    let view = one.ledger.engine().unwrap();
    assert!(view.connected && view.answered_at.is_some(), "{view:?}");
    assert_eq!((view.draw, view.host, view.epoch, view.held), (1, engine.address.to_string(), 1, None));
    two.stage(1, Place::Numbered(0), &batch(0, 2));
    let turn = two.submit();
    assert_eq!(two.ledger.engine().unwrap().turns_in_flight, 1);
    two.committed(turn);
    let of_two = two.ledger.engine().unwrap();
    assert_eq!(of_two.turns_in_flight, 0);
    engine.ask("UPDATE loteria.draws SET held = 'a person looks at it'");
    engine.ask("INSERT INTO loteria.instances (instance, name, seen) VALUES (gen_random_uuid(), 'gone', now() - interval '2 days')");
    let seen = one.wait_for("the other hub's turn, and the hold", |desk| {
        let view = desk.ledger.engine()?;
        let knows = view.instances.iter().any(|seen| !seen.here && seen.turn >= of_two.turn);
        (knows && view.held.is_some()).then_some(view)
    });
    assert_eq!(seen.held.as_deref(), Some("a person looks at it"));
    let mut names: Vec<_> = seen.instances.iter().map(|seen| (seen.name.as_str(), seen.here)).collect();
    names.sort_unstable();
    assert_eq!(names, [("hub 1", true), ("hub 2", false)], "a run of another day is left out");
    assert!(seen.instances.iter().all(|seen| seen.seen_ago.as_secs() < 60), "{seen:?}");
}

#[test]
fn an_engine_that_has_forgotten_what_it_confirmed_has_its_draw_held() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
    assert_eq!(engine.ask("SELECT held IS NULL FROM loteria.draws"), "t");
    engine.ask(
        "UPDATE loteria.instances SET turn = 0; DELETE FROM loteria.batches; UPDATE loteria.agencies SET batches = 0, bets = 0;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub 1'",
    );
    // The turns by the fence, and then which agency's batches by a survey.
    let held = desk.wait_for("all of the alarm", |_| {
        let held = engine.ask("SELECT held FROM loteria.draws");
        held.ends_with("; batches 0 to 0 of agency 1 were committed and are gone").then_some(held)
    });
    assert!(held.starts_with("turns 1 to ") && held.matches("are gone").count() == 2, "{held}");
    // It goes on: the agency's next batch finds what is stored.
    desk.stage(1, Place::Numbered(1), &batch(3, 3));
    desk.submit();
    let (_, learned) = desk.moved();
    assert_eq!(learned.agencies, [Known { agency: AgencyId(1), standing: Standing::Betting, batches: 0, bets: 0 }]);
}

#[test]
fn a_draw_that_could_not_be_held_at_once_is_held_and_not_made_before() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
    // The row is locked by another one for too long; then the leader is lost, before it answers.
    engine.ask(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION not_yet() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           CASE nextval('public.tries')
             WHEN 1 THEN RAISE 'locked' USING ERRCODE = '55P03';
             WHEN 2 THEN PERFORM pg_terminate_backend(pg_backend_pid());
             ELSE NULL;
           END CASE;
           RETURN new;
         END $$;
         CREATE TRIGGER not_yet BEFORE UPDATE ON loteria.draws FOR EACH ROW WHEN (new.held IS NOT NULL)
           EXECUTE FUNCTION not_yet();
         UPDATE loteria.instances SET turn = 0; DELETE FROM loteria.batches;
         UPDATE loteria.agencies SET batches = 0, bets = 0, standing = 'finished';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub 1'",
    );
    let held = desk.wait_for("the draw to be held", |_| {
        let held = engine.ask("SELECT held FROM loteria.draws");
        (!held.is_empty()).then_some(held)
    });
    assert!(held.contains("are gone"), "{held}");
    assert_eq!(engine.ask("SELECT drawn_at IS NULL FROM loteria.draws"), "t");
}
