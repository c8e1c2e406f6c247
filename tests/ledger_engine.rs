//! The ledger against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;

use engine_kit::desk::{Desk, options};
use engine_kit::{Engine, address_of_nothing, batch, rows_of};
use loteria::lottery::{AgencyId, Roster, Standing};
use loteria::storage::{Compared, Keep, Known, LedgerError, Match, Place, Replicas};

const A: AgencyId = AgencyId(1);

fn known(agency: u32, batches: u64, bets: u64, standing: Standing) -> Known {
    Known { agency: AgencyId(agency), standing, batches, bets }
}

fn compared(agency: u32, sequence: u64, same: bool) -> Compared {
    Compared { agency: AgencyId(agency), sequence, same }
}

#[test]
fn a_batch_is_stored_with_its_rows_its_checksum_and_its_winners() {
    let Some(engine) = Engine::start() else { return };
    let (mut desk, opened) = Desk::try_open(options(&engine, 1));
    let roster = opened.unwrap();
    assert_eq!(roster.agencies, [1, 2, 3].map(|agency| known(agency, 0, 0, Standing::Betting)));
    assert!(roster.drawn.is_none());
    let (first, second) = (batch(0, 5), batch(7, 2));
    desk.stage(1, Place::Numbered(0), &first);
    desk.stage(2, Place::Next(0), &second);
    desk.stage(1, Place::Numbered(1), &second);
    assert_eq!(desk.commit(), [], "everything is as the hub expects");
    let rows = |agency: u32, number: u64| {
        engine.ask(&format!("SELECT encode(convert_to(rows, 'UTF8'), 'hex') FROM loteria.batches WHERE agency = {agency} AND batch = {number}"))
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(rows(1, 0), hex(&rows_of(1, &first)));
    assert_eq!(rows(2, 0), hex(&rows_of(2, &second)));
    assert_eq!(rows(1, 1), hex(&rows_of(1, &second)));
    let crc = crc32c::crc32c(&rows_of(1, &first)).cast_signed();
    let stored = engine.ask("SELECT bets, crc, winners, turn FROM loteria.batches WHERE agency = 1 AND batch = 0");
    assert!(stored.starts_with(&format!("5|{crc}|1,")) && stored.contains("00000003,1999-03-17,7574"), "{stored}");
    assert_eq!(engine.ask("SELECT winners IS NULL FROM loteria.batches WHERE agency = 2"), "t");
    assert_eq!(engine.ask("SELECT batches, bets FROM loteria.agencies WHERE agency = 1"), "2|7");
    let bet = engine.ask(
        "SELECT first_name, last_name, document, birthdate, number FROM loteria.bets WHERE agency = 2 AND position = 1",
    );
    assert_eq!(bet, "Ramón|O'Higgins|00000007|1999-03-17|1");
    assert_eq!(desk.ledger.group(), 1);
}

#[test]
fn turns_in_flight_settle_in_order() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    for turn in 0..20 {
        desk.stage(1, Place::Numbered(turn), &batch(10 * u32::try_from(turn).unwrap(), 3));
        desk.submit();
        desk.wait_for("room", |desk| desk.ledger.has_room().then_some(()));
    }
    assert!(desk.committed(20).iter().all(|settled| !matches!(settled, loteria::storage::Settled::Moved { .. })));
    assert_eq!(
        engine.ask("SELECT count(*), min(batch), max(batch), count(DISTINCT turn) FROM loteria.batches"),
        "20|0|19|20"
    );
}

#[test]
fn what_another_hub_has_stored_takes_turns_back_and_tells_what_it_is() {
    let Some(engine) = Engine::start() else { return };
    let (mut one, mut two) = (Desk::open(&engine, 1), Desk::open(&engine, 2));
    let (same, other) = (batch(0, 3), batch(50, 3));
    one.stage(1, Place::Numbered(0), &same);
    one.stage(1, Place::Numbered(1), &other);
    one.commit();
    // The client has come to the other hub, which does not know.
    two.stage(1, Place::Numbered(0), &same);
    two.stage(2, Place::Numbered(0), &other);
    assert_eq!(two.matches(1, 0, &same), Match::Same, "in hand");
    assert_eq!(two.matches(1, 0, &other), Match::Other, "in hand");
    let turn = two.submit();
    two.stage(1, Place::Numbered(1), &same);
    two.submit();
    two.stage(1, Place::Numbered(2), &batch(90, 1));
    let (moved, learned) = two.moved();
    assert_eq!(moved, turn);
    assert_eq!(learned.agencies, [known(1, 2, 6, Standing::Betting), known(2, 0, 0, Standing::Betting)]);
    let answers = [(1, 0, true), (2, 0, false), (1, 1, false), (1, 2, false)];
    assert_eq!(learned.compared, answers.map(|(agency, number, same)| compared(agency, number, same)));
    assert!(two.ledger.has_room() && !two.ledger.is_looking());
    // The first is stored already, the third is another's, and the others go on.
    assert!(two.ledger.stage_again(None).is_none());
    assert_eq!(two.ledger.stage_again(Some(Place::Numbered(0))).unwrap().bets, 3);
    assert!(two.ledger.stage_again(None).is_none());
    let again = two.ledger.stage_again(Some(Place::Numbered(2))).unwrap();
    assert_eq!((again.bets, again.winners.len()), (1, 1));
    two.ledger.stage_finish(AgencyId(2));
    two.turn = turn - 1;
    two.commit();
    assert_eq!(
        engine.ask("SELECT agency, batch, bets FROM loteria.batches ORDER BY 1, 2"),
        "1|0|3\n1|1|3\n1|2|1\n2|0|3"
    );
    assert_eq!(engine.ask("SELECT standing FROM loteria.agencies ORDER BY agency"), "betting\nfinished\nbetting");
    assert_eq!(engine.ask("SELECT winners FROM loteria.batches WHERE batch = 2 AND agency = 1").lines().count(), 1);
}

#[test]
fn a_batch_that_came_again_is_compared_and_a_look_tells_what_is_stored() {
    let Some(engine) = Engine::start() else { return };
    let (mut one, mut two) = (Desk::open(&engine, 1), Desk::open(&engine, 2));
    one.stage(1, Place::Numbered(0), &batch(0, 3));
    one.commit();
    assert!(two.ledger.look(A));
    assert_eq!(two.matches(1, 0, &batch(0, 3)), Match::Asked);
    assert_eq!(two.matches(1, 0, &batch(1, 3)), Match::Asked);
    assert_eq!(two.matches(1, 7, &batch(1, 3)), Match::Asked);
    let learned = two.commit().pop().unwrap();
    assert_eq!(learned.agencies, [known(1, 1, 3, Standing::Betting)]);
    assert_eq!(learned.compared, [compared(1, 0, true), compared(1, 0, false), compared(1, 7, false)]);
    // Batches without numbers go behind whatever is there, and the hub is told where that is.
    one.stage(1, Place::Next(1), &batch(9, 1));
    one.commit();
    two.stage(1, Place::Next(1), &batch(20, 2));
    let learned = two.commit().pop().unwrap();
    assert_eq!(learned.agencies, [known(1, 3, 6, Standing::Betting)]);
    assert_eq!(engine.ask("SELECT batch, bets FROM loteria.batches ORDER BY 1"), "0|3\n1|1\n2|2");
}

#[test]
fn two_hubs_make_one_draw_and_both_know_the_winners() {
    let Some(engine) = Engine::start() else { return };
    let (mut one, mut two) = (Desk::open(&engine, 1), Desk::open(&engine, 2));
    one.stage(1, Place::Numbered(0), &batch(0, 7));
    one.finish(1);
    one.finish(3);
    one.commit();
    two.stage(2, Place::Next(0), &batch(30, 2));
    two.stage(2, Place::Next(1), &batch(40, 3));
    two.finish(2);
    two.commit();
    let winners = [(1, vec!["00000000", "00000003", "00000006"]), (2, vec!["00000030", "00000042"]), (3, vec![])];
    let winners =
        winners.map(|(agency, documents)| (AgencyId(agency), documents.into_iter().map(str::to_owned).collect()));
    let winners: Vec<(AgencyId, Vec<String>)> = winners.into();
    for desk in [&mut two, &mut one] {
        assert_eq!(desk.wait_for("the draw", |desk| desk.drawn.take()), winners);
    }
    assert_eq!(engine.ask("SELECT count(drawn_at), max(bets) FROM loteria.draws"), "1|12");
    // A hub that starts later is told at once.
    let (_, opened) = Desk::try_open(options(&engine, 3));
    assert_eq!(opened.unwrap().drawn.unwrap().len(), 3);
}

#[test]
fn an_agency_that_has_finished_takes_nothing_more() {
    let Some(engine) = Engine::start() else { return };
    let (mut one, mut two) = (Desk::open(&engine, 1), Desk::open(&engine, 2));
    one.finish(1);
    one.commit();
    two.stage(1, Place::Next(0), &batch(0, 1));
    two.submit();
    let (_, learned) = two.moved();
    assert_eq!(learned.agencies, [known(1, 0, 0, Standing::Finished)]);
    assert!(two.ledger.stage_again(None).is_none());
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.batches"), "0");
}

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
fn a_connection_that_is_killed_in_mid_turn_costs_nothing_and_stores_nothing_twice() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    for round in 0..15 {
        let backend = desk.backend(&engine, 1);
        for turn in 0..4 {
            let number = round * 4 + turn;
            desk.stage(1, Place::Next(number), &batch(u32::try_from(number * 3).unwrap(), 3));
            desk.submit();
        }
        engine.ask(&format!("SELECT pg_terminate_backend({backend})"));
        desk.committed((round + 1) * 4);
    }
    assert_eq!(engine.ask("SELECT count(*), max(batch), count(DISTINCT crc) FROM loteria.batches"), "60|59|60");
    assert!(engine.ask("SELECT epoch FROM loteria.instances").parse::<u32>().unwrap() > 10);
}

#[test]
fn a_connection_that_another_one_has_fenced_does_nothing_and_is_dropped() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    engine.ask("UPDATE loteria.instances SET epoch = epoch + 1");
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.batches"), "1");
    assert_eq!(engine.ask("SELECT epoch FROM loteria.instances"), "3");
}
