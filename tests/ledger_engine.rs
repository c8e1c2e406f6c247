//! The ledger against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;

use engine_kit::desk::{Desk, network, options};
use engine_kit::{Bets, Engine, address_of_nothing, batch, rows_of};
use loteria::limits;
use loteria::lottery::{AgencyId, Bet, Roster, Standing};
use loteria::storage::{
    Compared, EngineError, Keep, Known, LedgerOptions, Match, Password, Place, Reader, Replicas, Settled, export_draw,
};

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
    let answers = [(1, 0, true), (1, 1, false)];
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
    assert_eq!(learned.compared, [compared(1, 0, true), compared(1, 0, false)]);
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

/// A batch as a frame of `MAX_FRAME` may have it: its rows are longer than the frame, for every byte of the names has to be
/// quoted.
fn longest_batch() -> Bets {
    let name = [b'"'; 255];
    let bet = Bet::from_text(&name, &name, b"1234567890", b"2000-01-01", b"7574").unwrap();
    Bets(vec![bet; limits::FRAME_BYTES_MAX / 1024].into())
}

#[test]
fn winners_and_rows_of_a_batch_longer_than_any_frame_are_read() {
    let Some(engine) = Engine::start() else { return };
    let bets = longest_batch();
    let mut desk = Desk::open(&engine, 1);
    desk.stage(1, Place::Numbered(0), &bets);
    [1, 2, 3].into_iter().for_each(|agency| desk.finish(agency));
    desk.commit();
    let longest = engine.ask("SELECT least(max(octet_length(rows)), max(octet_length(winners))) FROM loteria.batches");
    assert!(longest.parse::<usize>().unwrap() > limits::FRAME_BYTES_MAX, "{longest}");
    let drawn = desk.wait_for("the draw", |desk| desk.drawn.take());
    assert_eq!(drawn[0].1.len(), bets.0.len());
    let options = options(&engine, 2);
    let network = network(&options);
    let mut reader = Reader::connect(options, network).unwrap();
    let mut bytes = 0;
    let exported = export_draw(&mut reader, |rows| {
        bytes += rows.len();
        Ok::<_, EngineError>(())
    });
    assert_eq!((exported.unwrap(), bytes.to_string()), (bets.0.len() as u64, longest));
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

/// Has the session of hub 1 wait for a lock, and ends it there.
fn kill_while_it_waits(engine: &Engine) {
    engine.ask(
        "BEGIN; SELECT FROM loteria.agencies FOR UPDATE;
         DO $$ BEGIN
           WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'hub 1' AND wait_event_type = 'Lock') LOOP
             PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
           END LOOP;
           PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub 1';
         END $$; COMMIT",
    );
}

#[test]
fn a_connection_that_is_killed_in_mid_turn_costs_nothing_and_stores_nothing_twice() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    for round in 0..5 {
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| kill_while_it_waits(&engine));
            while !killer.is_finished() {
                let number = desk.turn;
                desk.stage(1, Place::Next(number), &batch(u32::try_from(number * 3).unwrap(), 3));
                let turn = desk.submit();
                let room = |desk: &mut Desk| (desk.ledger.has_room() || killer.is_finished()).then_some(());
                desk.wait_for("room, or the kill", room);
                if turn > 2000 {
                    break;
                }
            }
        });
        desk.committed(desk.turn);
        let epoch = engine.ask("SELECT epoch FROM loteria.instances");
        assert_eq!(epoch, (round + 2).to_string(), "one new connection for each kill");
    }
    let stored = engine.ask("SELECT count(*), max(batch) + 1, count(DISTINCT crc) FROM loteria.batches");
    assert_eq!(stored, format!("{0}|{0}|{0}", desk.turn));
}

/// Commits wait for a standby that there is not, or for none.
fn wait_for_standbys(engine: &Engine, wait: bool) {
    engine.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = '{}'", if wait { "absent" } else { "" }));
    engine.ask("SELECT pg_reload_conf()");
}

/// Does something to the session of hub 1 as soon as its commit waits for a standby.
fn while_a_commit_waits(engine: &Engine, desk: &mut Desk, what: &str) {
    desk.wait_for("a commit that waits", |_| {
        let done = engine.ask(&format!(
            "SELECT {what} (pid) FROM pg_stat_activity WHERE application_name = 'hub 1' AND wait_event = 'SyncRep'"
        ));
        (done == "t").then_some(())
    });
}

#[test]
fn a_commit_whose_wait_for_a_standby_was_cut_short_is_in_doubt_and_then_found() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    for (round, how) in ["pg_cancel_backend", "pg_terminate_backend"].into_iter().enumerate() {
        let number = round as u64;
        wait_for_standbys(&engine, true);
        // The server takes the setting when it gets to it: the first commit that waits is a survey's.
        while_a_commit_waits(&engine, &mut desk, "0 <>");
        // What the kill meets may be that survey: then the turn is behind it, and is sent again.
        desk.stage(1, Place::Numbered(number), &batch(7 * u32::try_from(round).unwrap(), 3));
        assert!(desk.ledger.look(AgencyId(2)));
        let turn = desk.submit();
        while_a_commit_waits(&engine, &mut desk, how);
        let connected = |desk: &mut Desk| (!desk.ledger.is_connected()).then_some(());
        desk.wait_for("the connection to be dropped", connected);
        let is_turn = |settled: &Settled| matches!(settled, Settled::Committed(proof) if proof.through().0 == turn);
        assert!(!desk.settled.iter().any(is_turn), "nothing in doubt is acknowledged");
        wait_for_standbys(&engine, false);
        let told = desk.committed(turn);
        let looked = told.iter().any(|settled| {
            matches!(settled, Settled::Learned(learned)
            if learned.agencies.contains(&known(2, 0, 0, Standing::Betting)))
        });
        assert!(looked, "the look is answered: {told:?}");
    }
    assert_eq!(engine.ask("SELECT count(*), max(batch) FROM loteria.batches"), "2|1");
}

#[test]
fn an_engine_that_crashes_and_comes_back_goes_on() {
    let Some(mut engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
    engine.crash();
    desk.stage(1, Place::Numbered(1), &batch(3, 3));
    let turn = desk.submit();
    desk.wait_for("the loss to be noticed", |desk| desk.ledger.trouble().is_some().then_some(()));
    engine.boot();
    desk.committed(turn);
    assert_eq!(desk.ledger.trouble(), None);
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.batches"), "2");
}

#[test]
fn a_turn_without_space_is_taken_back_and_finishes_wait() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    engine.refuse_batches("53100");
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.finish(2);
    assert_eq!(desk.matches(3, 0, &batch(0, 1)), Match::Asked);
    let turn = desk.submit();
    desk.stage(1, Place::Numbered(1), &batch(3, 3));
    desk.wait_for("turns that are taken back", |desk| {
        let taken = |settled: &Settled| matches!(settled, Settled::TakenBack { turn: oldest, .. } if oldest.0 == turn);
        desk.settled.iter().any(taken).then_some(())
    });
    assert_eq!(desk.ledger.load().staged_bytes, 0);
    // What is not a batch is staged again.
    desk.settled.clear();
    desk.turn = turn - 1;
    desk.finish(2);
    let learned = desk.commit();
    assert!(learned.iter().all(|learned| learned.compared.is_empty()), "{learned:?}");
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.batches"), "0");
    assert_eq!(engine.ask("SELECT standing FROM loteria.agencies WHERE agency = 2"), "finished");
    engine.take_batches();
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
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

#[test]
fn what_a_person_has_to_mend_is_said_in_one_line() {
    let Some(engine) = Engine::start_empty() else { return };
    let host = engine.address.to_string();
    let refused = |options| Desk::try_open(options).1.unwrap_err().to_string();
    let ours = || options(&engine, 1);
    let line = refused(ours());
    assert!(line.starts_with(&host) && line.contains("server --schema"), "{line}");
    engine.make_schema();
    let line = refused(LedgerOptions { password: Some(Password(b"another".to_vec())), ..ours() });
    assert!(line.contains("refuses user 'loteria'") && line.contains("PASSWORD_FILE"), "{line}");
    let line = refused(LedgerOptions { password: None, ..ours() });
    assert!(line.contains("none is configured"), "{line}");
    let line = refused(LedgerOptions { user: "cleartext".to_owned(), ..ours() });
    assert!(line.contains("clear text"), "{line}");
    let line = refused(LedgerOptions { database: "missing".to_owned(), ..ours() });
    assert!(line.contains("DATABASE"), "{line}");
    let line = refused(LedgerOptions { replicas: Replicas::Required, ..ours() });
    assert!(line.contains("waits for no standby"), "{line}");
    let line = refused(LedgerOptions { roster: Roster::parse("4294967295-4294967295").unwrap(), ..ours() });
    assert!(line.contains("agency 4294967295"), "{line}");
    let (_, opened) = Desk::try_open(ours());
    opened.unwrap();
    let line = refused(LedgerOptions { winning_number: 8, ..ours() });
    assert!(line.contains("winning number 7574") && line.contains("WINNING_NUMBER is 8"), "{line}");
    let line = refused(LedgerOptions { roster: Roster::parse("1-4").unwrap(), ..ours() });
    assert!(line.contains("agencies 1-3") && line.contains("are 1-4"), "{line}");
    let mut desk = Desk::open(&engine, 2);
    engine.ask("REVOKE INSERT ON loteria.batches FROM loteria");
    let line = refused(options(&engine, 3));
    assert!(line.contains("lacks INSERT on batches: ") && line.contains("grants"), "{line}");
    // A hub that runs waits for the person.
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    let turn = desk.submit();
    let denied =
        |desk: &mut Desk| desk.ledger.trouble().is_some_and(|why| why.contains("permission denied")).then_some(());
    desk.wait_for("the refusal", denied);
    engine.ask("GRANT INSERT ON loteria.batches TO loteria");
    desk.committed(turn);
}

#[test]
fn a_schema_that_is_not_whole_is_refused_before_anything_is_written() {
    let Some(engine) = Engine::start() else { return };
    let broken = [
        ("ALTER TABLE loteria.instances DROP CONSTRAINT turn_is_whole", "lacks turn_is_whole on instances: "),
        (
            "ALTER TABLE loteria.batches DROP CONSTRAINT batches_pkey",
            "lacks PRIMARY KEY (draw, agency, batch) on batches: ",
        ),
        ("ALTER TABLE loteria.agencies ALTER batches TYPE int", "lacks agencies.batches bigint: "),
        ("ALTER TABLE loteria.draws DROP COLUMN held", "lacks draws.held text: "),
        ("ALTER TABLE loteria.batches ENABLE ROW LEVEL SECURITY", "lacks DISABLE ROW LEVEL SECURITY on batches: "),
        ("REVOKE UPDATE ON loteria.draws FROM loteria", "lacks UPDATE on draws: "),
        (
            "ALTER ROLE loteria SET default_transaction_read_only = on",
            "default_transaction_read_only = on: it must be off",
        ),
    ];
    for (breaks, said) in broken {
        engine.ask(breaks);
        let line = Desk::try_open(options(&engine, 1)).1.unwrap_err().to_string();
        assert!(line.contains(said), "{breaks}: {line}");
        assert_eq!(engine.ask("SELECT count(*) FROM loteria.draws"), "0", "{breaks}");
        engine.ask("DROP SCHEMA loteria CASCADE; ALTER ROLE loteria RESET ALL");
        engine.make_schema();
    }
    engine.ask("ALTER TABLE loteria.draws ADD COLUMN remark text");
    Desk::open(&engine, 1);
}

#[test]
fn a_lock_that_another_session_holds_is_what_is_wrong_until_the_turn_is_committed() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    engine.refuse_batches("55P03");
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    let turn = desk.submit();
    let why = desk.wait_for("what is wrong", |desk| desk.ledger.trouble().map(str::to_owned));
    assert!(why.contains("(55P03): another session holds a lock"), "{why}");
    engine.take_batches();
    desk.committed(turn);
    assert_eq!(desk.ledger.trouble(), None);
}

#[test]
fn winners_that_a_policy_hides_are_waited_for() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
    engine.ask("ALTER TABLE loteria.batches ENABLE ROW LEVEL SECURITY");
    [1, 2, 3].into_iter().for_each(|agency| desk.finish(agency));
    desk.submit();
    let hides = |desk: &mut Desk| desk.ledger.trouble().is_some_and(|why| why.contains("(42501)")).then_some(());
    desk.wait_for("the refusal", hides);
    assert_eq!(desk.drawn, None);
    engine.ask("ALTER TABLE loteria.batches DISABLE ROW LEVEL SECURITY");
    let drawn = desk.wait_for("the draw", |desk| desk.drawn.take());
    assert_eq!(drawn.iter().map(|(_, winners)| winners.len()).sum::<usize>(), 1);
}

#[test]
fn a_time_limit_of_the_role_ends_no_session() {
    let Some(engine) = Engine::start() else { return };
    engine.ask("ALTER ROLE loteria SET idle_session_timeout = '100ms'");
    let mut desk = Desk::open(&engine, 1);
    for _ in 0..2 {
        desk.settled.clear();
        desk.wait_for("a survey", |desk| (!desk.settled.is_empty()).then_some(()));
    }
    assert_eq!(engine.ask("SELECT epoch FROM loteria.instances"), "1");
}

#[test]
fn hosts_are_tried_until_one_leads() {
    let Some(engine) = Engine::start() else { return };
    let hosts = vec![address_of_nothing().to_string(), engine.address.to_string()];
    let (mut desk, opened) = Desk::try_open(LedgerOptions { hosts, ..options(&engine, 1) });
    opened.unwrap();
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
}

#[test]
fn a_host_that_may_be_a_standby_behind_refuses_a_start_only_where_all_do() {
    let (Some(engine), Some(behind)) = (Engine::start(), Engine::start()) else { return };
    behind.sql("postgres", "DROP DATABASE loteria");
    let hosts = vec![behind.address.to_string(), engine.address.to_string()];
    let (mut desk, opened) = Desk::try_open(LedgerOptions { hosts: hosts.clone(), ..options(&engine, 1) });
    opened.unwrap();
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    desk.commit();
    drop(desk);
    // What an operator's command asks.
    let both = || LedgerOptions { hosts: hosts.clone(), ..options(&engine, 1) };
    Reader::connect(both(), network(&both())).unwrap();
    engine.sql("postgres", "DROP DATABASE loteria WITH (FORCE)");
    let line = Desk::try_open(both()).1.unwrap_err().to_string();
    assert!(line.contains("does not exist") && line.contains("DATABASE"), "{line}");
    let line = Reader::connect(both(), network(&both())).unwrap_err().to_string();
    assert!(line.contains("does not exist") && line.contains("DATABASE"), "{line}");
}
