//! Hub processes that share a PostgreSQL: one draw, a PostgreSQL that is away and comes back, and starts that are refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod engine_kit;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use common::machine::{eventually, peak_memory_bytes};
use common::{Peer, Start, binary, binary_batch, binary_bet, hub_over};
use engine_kit::desk::{Desk, options};
use engine_kit::{Engine, PASSWORD, batch};
use loteria::lottery::{AgencyId, Bet};
use loteria::storage::{Keep, LedgerOptions, Place};
use loteria::wire::Dialect;
use socket2::{Domain, Socket, Type};

/// A hub of two agencies over `engine`.
fn shared(engine: &Engine) -> Start {
    hub_over(&engine.address.to_string(), PASSWORD)
}

/// Kinds of frames in `binary`.
const FINISH_KIND: u32 = 2;
const QUERY: u32 = 3;

/// Has commits wait for a standby that there is not, or no longer.
fn commits_wait(engine: &Engine, wait: bool) {
    let names = if wait { "none" } else { "" };
    engine.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
    engine.ask("SELECT pg_reload_conf()");
    eventually("the setting holds", || engine.ask("SHOW synchronous_standby_names") == names);
}

#[test]
fn agencies_of_two_hubs_are_in_one_draw_and_a_hub_that_starts_later_answers_too() {
    let Some(engine) = Engine::start() else { return };
    let (one, two) = (shared(&engine).start(), shared(&engine).start());
    let mut first = one.connect();
    first.send(&binary_batch(1, 11, 7574));
    first.expect(&[0]);
    first.send(&[binary(FINISH_KIND, &[1], b""), binary(QUERY, &[1], b"")].concat());
    first.expect(&[0]);
    let mut second = two.connect();
    second.send(&binary_batch(2, 22, 1));
    second.expect(&[0]);
    assert!(first.is_quiet(), "the draw waits for agency 2");
    second.send(&[binary(FINISH_KIND, &[2], b""), binary(QUERY, &[2], b"")].concat());
    second.expect(&[0]);
    one.wait_for("action: sorteo | result: success");
    two.wait_for("action: sorteo | result: success");
    // One byte for all is well, then how many, then the documents.
    let winner = [0, 0, 0, 0, 1, 0, 0, 0, 11];
    first.expect(&winner);
    second.expect(&[0; 5]);
    let late = shared(&engine).start();
    let mut again = late.connect();
    again.send(&binary(QUERY, &[1], b""));
    again.expect(&winner);
    assert_eq!(engine.ask("SELECT count(*), sum(bets) FROM loteria.draws WHERE drawn_at IS NOT NULL"), "1|2");
}

/// What a hub may hold while its PostgreSQL is away: as much as under attack.
const MEMORY_MAX: usize = 384 * 1024 * 1024;

#[test]
fn the_log_of_a_finish_has_the_bets_that_other_hubs_have_stored() {
    let Some(engine) = Engine::start() else { return };
    let (one, two) = (shared(&engine).start(), shared(&engine).start());
    let mut first = one.connect();
    first.send(&[binary_batch(1, 11, 7574), binary_batch(1, 12, 1)].concat());
    first.expect(&[0, 0]);
    let mut second = two.connect();
    second.send(&[binary_batch(1, 13, 1), binary(FINISH_KIND, &[1], b"")].concat());
    second.expect(&[0, 0]);
    let line = two.wait_for("action: finish | result: success");
    assert!(line.ends_with("agency: 1 | bets: 3"), "{line}");
}

#[test]
fn agencies_that_press_on_while_postgresql_is_away_cost_no_more_memory_than_an_attack() {
    const AGENCIES: u32 = 300;
    let Some(mut engine) = Engine::start() else { return };
    let agencies = AGENCIES.to_string();
    let hub = shared(&engine).env("LOTTERY_AGENCIES", &agencies).env("POSTGRES_ASIDE_AFTER", "10m").start();
    let mut peers: Vec<Peer> = (1..=AGENCIES)
        .map(|agency| {
            let mut peer = hub.connect();
            peer.send(&binary_batch(agency, agency, 1));
            peer.expect(&[0]);
            peer
        })
        .collect();
    engine.crash();
    let bets: Vec<u8> = (0..40_000).flat_map(|nth| binary_bet("Ana", "Paz", nth, 19_990_317, 1)).collect();
    let frames: Vec<Vec<u8>> = (1..=AGENCIES).map(|agency| binary(1, &[agency, 40_000], &bets)).collect();
    peers.iter().for_each(|peer| peer.stream.set_nonblocking(true).unwrap());
    // How much of its next frame each has sent.
    let mut sent = [0; AGENCIES as usize];
    let mut rests = 0;
    eventually("the hub takes no more", || {
        rests += 1;
        for ((peer, frame), sent) in peers.iter_mut().zip(&frames).zip(&mut sent) {
            while let Ok(count) = peer.stream.write(&frame[*sent..]) {
                *sent = (*sent + count) % frame.len();
                rests = 0;
            }
        }
        rests == 100
    });
    let peak = peak_memory_bytes(hub.child.id());
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    engine.boot();
    hub.wait_for("action: apuesta_recibida | result: success | cantidad: 40000");
}

#[test]
fn after_the_draw_a_hub_whose_postgresql_is_away_answers_newcomers() {
    let Some(mut engine) = Engine::start() else { return };
    let hub = shared(&engine).env("LOTTERY_AGENCIES", "1").env("POSTGRES_ASIDE_AFTER", "1s").start();
    let mut agency = hub.connect();
    agency.send(&[binary_batch(1, 11, 7574), binary(FINISH_KIND, &[1], b"")].concat());
    agency.expect(&[0, 0]);
    hub.wait_for("action: sorteo | result: success");
    engine.crash();
    hub.wait_for("action: engine | result: fail");
    // That it does not step aside is no event to wait for.
    std::thread::sleep(Duration::from_millis(1500));
    let (finish, query) = (binary(FINISH_KIND, &[1], b""), binary(QUERY, &[1], b""));
    let winner = [0, 0, 0, 0, 1, 0, 0, 0, 11];
    let requests = [(query.clone(), winner.to_vec()), ([finish, query].concat(), [&[0], &winner[..]].concat())];
    for (request, answer) in requests {
        let mut newcomer = hub.connect();
        newcomer.send(&request);
        newcomer.expect(&answer);
    }
    let mut newcomer = hub.connect();
    newcomer.send(b"hola\n");
    newcomer.expect(b"hola\n");
}

#[test]
fn a_hub_whose_postgresql_is_away_refuses_newcomers_keeps_its_agencies_and_goes_on() {
    let Some(mut engine) = Engine::start() else { return };
    let hub = shared(&engine).env("POSTGRES_ASIDE_AFTER", "1s").start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 11, 7574));
    agency.expect(&[0]);
    let mut other = hub.connect();
    engine.crash();
    agency.send(&binary_batch(1, 12, 7574));
    hub.wait_for("action: step_aside | result: success");
    assert!(agency.is_quiet(), "nothing is acknowledged without PostgreSQL");
    other.send(b"hola\n");
    other.expect(b"hola\n");
    assert!(TcpStream::connect(hub.address).is_err(), "a balancer is to send newcomers elsewhere");
    engine.boot();
    hub.wait_for("action: step_back | result: success");
    agency.expect(&[0]);
    eventually("newcomers are served again", || TcpStream::connect(hub.address).is_ok());
    assert_eq!(engine.ask("SELECT batches, bets FROM loteria.agencies WHERE agency = 1"), "2|2");
    let (status, log) = hub.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn a_client_that_can_go_on_elsewhere_is_parted_with_whenever_it_waits_for_a_postgresql_that_is_away() {
    let Some(mut engine) = Engine::start() else { return };
    let hub = shared(&engine).env("POSTGRES_ASIDE_AFTER", "1s").start();
    let [mut presses, mut pauses] = [1, 2].map(|agency| {
        let mut peer = hub.connect();
        let mut bytes = Vec::new();
        Dialect::Native.put_hello(AgencyId(agency), &mut bytes);
        peer.send(&[bytes, native_batch(agency, 0)].concat());
        peer
    });
    eventually("both are served", || hub.count("action: apuesta_recibida | result: success") == 2);
    engine.crash();
    presses.send(&native_batch(1, 1));
    let parted = "PostgreSQL cannot be used here for now, its client goes on elsewhere";
    eventually("the first one is parted with", || hub.count(parted) == 1);
    pauses.send(&native_batch(2, 1));
    eventually("the second one is, too", || hub.count(parted) == 2);
}

#[test]
fn batches_in_flight_of_an_agency_that_is_excluded_elsewhere_are_too_late_and_no_gap() {
    let Some(engine) = Engine::start() else { return };
    let hub = shared(&engine).start();
    let mut peer = hub.connect();
    let mut hello = Vec::new();
    Dialect::Native.put_hello(AgencyId(1), &mut hello);
    peer.send(&[hello, native_batch(1, 0)].concat());
    hub.wait_for("action: apuesta_recibida | result: success");
    std::thread::scope(|scope| {
        // Another session has the agency's row, and excludes the agency once a turn of the hub's waits for it.
        scope.spawn(|| {
            engine.ask(
                "BEGIN; SELECT FROM loteria.agencies WHERE agency = 1 FOR UPDATE; LOCK TABLE loteria.format;
                 DO $$ BEGIN
                   WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'loteria' AND wait_event_type = 'Lock') LOOP
                     PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
                   END LOOP;
                 END $$;
                 UPDATE loteria.agencies SET standing = 'excluded' WHERE agency = 1; COMMIT",
            )
        });
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'loteria.format'::regclass";
        while engine.ask(locks) == "0" {}
        peer.send(&[1, 2, 3].map(|number| native_batch(1, number)).concat());
    });
    hub.wait_for("reason: the agency was excluded from the draw");
    let (_, log) = hub.terminate();
    assert!(!log.contains("gap in the sequence"), "{log}");
}

/// A batch of one bet.
fn native_batch(agency: u32, number: u64) -> Vec<u8> {
    let bet = Bet::from_text(b"Ana", b"Paz", b"30904465", b"1999-03-17", b"1").unwrap();
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    Dialect::Native.put_bet(AgencyId(agency), 0, &bet.as_raw(), &mut body);
    Dialect::Native.put_batch(AgencyId(agency), number, 1, &body, &mut frame);
    frame
}

#[test]
fn a_start_that_a_person_must_mend_ends_with_2_and_says_what() {
    let Some(engine) = Engine::start() else { return };
    drop(shared(&engine).start());
    let refusals = [
        ("LOTTERY_WINNING_NUMBER", "5", "draw 1 has winning number 7574, and this hub's WINNING_NUMBER is 5"),
        ("LOTTERY_AGENCIES", "3", "draw 1 has agencies 1-2, and this hub's AGENCIES are 1-3"),
        ("POSTGRES_REPLICAS", "required", "PostgreSQL waits for no standby"),
        ("POSTGRES_USER", "unknown", "PostgreSQL refuses user 'unknown'"),
        ("STORAGE_PATH", "b.csv", "[STORAGE] PATH is for ENGINE = files"),
        ("LOTTERY_ON_AGENCY_LOSS", "exclude", "[LOTTERY] LOSS_GRACE = 10s: with ON_AGENCY_LOSS = exclude and"),
        ("LOTTERY_UNNUMBERED_AGENCIES", "", "each hub needs ids of its own for the csv dialect"),
        ("POSTGRES_PASSWORD_FILE", "none", "[POSTGRES] PASSWORD_FILE = none: No such file"),
    ];
    for (key, value, said) in refusals {
        let start = shared(&engine).with(|command| {
            if value.is_empty() {
                command.env_remove(key)
            } else {
                command.env(key, value)
            };
        });
        let (code, _, error) = start.run();
        assert_eq!(code, Some(2), "{key} = {value}: {error}");
        assert!(error.contains(said) && error.lines().count() == 1, "{key} = {value}: {error}");
    }
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.draws"), "1", "none of them has made a draw");
}

#[test]
fn a_start_waits_for_the_names_of_its_hosts() {
    let (reader, writer) = std::io::pipe().unwrap();
    let start = hub_over("lost.invalid:5432", PASSWORD).env("POSTGRES_TLS", "verify-full").env("POSTGRES_CA", "ca.pem");
    let hub = start.start_with_output(Stdio::from(writer));
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let waits = lines.find(|line| line.contains("the start is given up in 2")).expect("it says that it waits");
    assert!(waits.contains("reason: [POSTGRES] HOSTS: lost.invalid:5432: "), "{waits}");
    drop(hub);
}

#[test]
fn a_start_without_postgresql_says_at_once_what_it_waits_for_and_what_fails() {
    // A port that is taken, and at which nothing listens.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let hub = hub_over(&address.to_string(), PASSWORD).start_with_output(Stdio::from(writer));
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let mut next =
        |told: &str| lines.find(|line| line.contains(told)).unwrap_or_else(|| panic!("it does not say {told}"));
    next(&format!(
        "action: engine | result: in_progress | place: postgres://loteria@{address}/loteria draw 1 | reason: connecting"
    ));
    next(&format!("action: engine | result: fail | host: {address} | reason: Connection refused"));
    let waits = next("action: engine | result: in_progress | reason: ");
    assert!(waits.contains("Connection refused") && waits.contains("warning: the start is given up in 2"), "{waits}");
    hub.signal(15);
    next("action: shutdown | result: success");
}

#[test]
fn what_is_wrong_with_a_host_names_it_once() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    engine.ask(
        "ALTER ROLE loteria PASSWORD 'another';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub 1'",
    );
    let said = |desk: &mut Desk| desk.ledger.trouble().filter(|why| why.contains("refuses user")).map(str::to_owned);
    let why = desk.wait_for("the refusal", said);
    assert!(why.starts_with(&format!("{}: PostgreSQL refuses user 'loteria': ", engine.address)), "{why}");
}

#[test]
fn a_check_says_what_each_host_is_and_changes_nothing() {
    let Some(mut engine) = Engine::start() else { return };
    let (code, said, error) = shared(&engine).arg("--check").run();
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let leader = format!("# {}: the leader: PostgreSQL ", engine.address);
    assert!(said.contains(&leader), "{said}");
    let (code, said, error) = shared(&engine).env("POSTGRES_REPLICAS", "required").arg("--check").run();
    assert_eq!(code, Some(2), "{said}");
    assert!(error.contains("PostgreSQL waits for no standby"), "{error}");
    assert_eq!(
        engine.ask("SELECT (SELECT count(*) FROM loteria.draws) + (SELECT count(*) FROM loteria.instances)"),
        "0"
    );
    assert!(shared(&engine).arg("--check").run().1.contains("; draw 1 is not there yet, the first start makes it\n"));
    drop(shared(&engine).start());
    let (code, said, error) = shared(&engine).arg("--check").run();
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(said.contains("; draw 1 is as configured\n"), "{said}");
    for (key, value, said) in [
        ("LOTTERY_WINNING_NUMBER", "5", "draw 1 has winning number 7574, and this hub's WINNING_NUMBER is 5"),
        ("LOTTERY_AGENCIES", "3", "draw 1 has agencies 1-2, and this hub's AGENCIES are 1-3"),
        ("LOTTERY_AGENCIES", "1,3000000000", "agency 3000000000 has a number over 2147483647"),
    ] {
        let (code, _, error) = shared(&engine).env(key, value).arg("--check").run();
        assert_eq!(code, Some(2), "{key} = {value}: {error}");
        assert!(error.contains(said) && error.lines().count() == 1, "{key} = {value}: {error}");
    }
    engine.ask("REVOKE INSERT ON loteria.batches FROM loteria");
    let (code, _, error) = shared(&engine).arg("--check").run();
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("lacks INSERT on batches") && error.lines().count() == 1, "{error}");
    engine.crash();
    let (code, said, error) = shared(&engine).arg("--check").run();
    assert_eq!(code, Some(69), "{said}");
    assert!(error.contains("no host is a leader"), "{error}");
}

#[test]
fn a_hub_that_stops_settles_what_is_under_way() {
    let Some(engine) = Engine::start() else { return };
    let hub = shared(&engine).start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 11, 7574));
    agency.expect(&[0]);
    commits_wait(&engine, true);
    agency.send(&binary_batch(1, 12, 7574));
    eventually("the batch waits for its commit", || {
        engine.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0"
    });
    hub.signal(15);
    hub.wait_for("action: close_listener | result: success");
    commits_wait(&engine, false);
    agency.expect(&[0]);
    drop(agency);
    let (status, log) = hub.end();
    assert!(status.success(), "{log}");
    assert_eq!(engine.ask("SELECT batches FROM loteria.agencies WHERE agency = 1"), "2");
}

/// Makes PostgreSQL forget what the hub has stored, while `draws` cannot be written, and ends the hub's connection.
fn forget(engine: &Engine) {
    engine.ask(
        "CREATE FUNCTION not_yet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'locked' USING ERRCODE = '55P03'; END $$;
         CREATE TRIGGER not_yet BEFORE UPDATE ON loteria.draws FOR EACH ROW EXECUTE FUNCTION not_yet();
         UPDATE loteria.instances SET turn = 0; DELETE FROM loteria.batches;
         UPDATE loteria.agencies SET batches = 0, bets = 0;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loteria'",
    );
}

#[test]
fn a_hub_that_stops_after_an_alarm_has_the_draw_held_or_says_that_it_is_not() {
    for can_be_held in [true, false] {
        let Some(engine) = Engine::start() else { return };
        let hub = shared(&engine).start();
        let mut agency = hub.connect();
        agency.send(&binary_batch(1, 11, 7574));
        agency.expect(&[0]);
        drop(agency);
        forget(&engine);
        hub.wait_for("are gone, the draw is held");
        hub.signal(15);
        hub.wait_for("action: close_listener | result: success");
        if can_be_held {
            engine.ask("DROP TRIGGER not_yet ON loteria.draws");
        }
        let (status, log) = hub.end();
        assert!(status.success(), "{log}");
        let held = engine.ask("SELECT held FROM loteria.draws");
        assert_eq!(held.contains("were committed and are gone"), can_be_held, "{held}");
        let said = log.contains(", and the hub ends before the draw is held: hold it in loteria.draws");
        assert_eq!(said, !can_be_held, "{log}");
    }
}

#[test]
fn what_is_mended_is_not_said_any_more_while_a_turn_waits_for_something_else() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    engine.ask("REVOKE INSERT ON loteria.batches FROM loteria");
    desk.stage(1, Place::Numbered(0), &batch(0, 3));
    let turn = desk.submit();
    let says = |desk: &mut Desk, what: &str| {
        let why = Keep::trouble(&desk.ledger)?.why;
        why.contains(what).then_some(why)
    };
    desk.wait_for("the refusal", |desk| says(desk, "permission denied"));
    commits_wait(&engine, true);
    engine.ask("SET synchronous_commit = local; GRANT INSERT ON loteria.batches TO loteria");
    desk.wait_for("the silence", |desk| says(desk, " has not answered for "));
    commits_wait(&engine, false);
    desk.committed(turn);
    assert_eq!(Keep::trouble(&desk.ledger), None);
}

#[test]
fn hubs_of_one_name_are_all_listed() {
    let Some(engine) = Engine::start() else { return };
    let mut desks = [1, 2].map(|instance| {
        let (desk, opened) = Desk::try_open(LedgerOptions { name: "hub".to_owned(), ..options(&engine, instance) });
        opened.unwrap();
        desk
    });
    let lists_both = |desk: &Desk| {
        let instances = Keep::engine(&desk.ledger).unwrap().instances;
        instances.len() == 2 && instances.iter().filter(|instance| instance.here).count() == 1
    };
    eventually("each of them lists both", || {
        desks.iter_mut().for_each(|desk| desk.step(Duration::from_millis(10)));
        desks.iter().all(lists_both)
    });
}

#[test]
fn rows_of_the_draw_that_are_deleted_are_an_alarm() {
    let Some(engine) = Engine::start() else { return };
    let hub = shared(&engine).start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 11, 7574));
    agency.expect(&[0]);
    engine.ask("DELETE FROM loteria.batches; DELETE FROM loteria.agencies; DELETE FROM loteria.draws");
    hub.wait_for("reason: batches 0 to 0 of agency 1 were committed and are gone, the draw is held");
    hub.wait_for("reason: rows of draw 1 were deleted: ");
    // The draw is there again, without bets, and is held.
    agency.send(&binary_batch(1, 12, 7574));
    agency.expect(&[0]);
    assert!(engine.ask("SELECT held FROM loteria.draws").contains("batches 0 to 0 of agency 1"));

    // Of an agency alone: it waits until a person has made its row.
    engine.ask("DELETE FROM loteria.batches; DELETE FROM loteria.agencies WHERE agency = 1");
    agency.send(&binary_batch(1, 13, 7574));
    hub.wait_for_count("of agency 1 were committed and are gone, the draw is held", 2);
    engine.ask("INSERT INTO loteria.agencies (draw, agency) VALUES (1, 1)");
    agency.expect(&[0]);
    assert_eq!(engine.ask("SELECT batches FROM loteria.agencies WHERE agency = 1"), "1");
}

#[test]
fn a_draw_that_a_person_changes_is_not_gone_on_with() {
    let Some(engine) = Engine::start() else { return };
    let mut desk = Desk::open(&engine, 1);
    for (change, said, back) in [
        (
            "INSERT INTO loteria.agencies (draw, agency) VALUES (1, 9)",
            "draw 1 has agencies 1-3,9, and this hub's AGENCIES are 1-3",
            "DELETE FROM loteria.agencies WHERE agency = 9",
        ),
        (
            "UPDATE loteria.draws SET winning_number = 5",
            "draw 1 has winning number 5, and this hub's WINNING_NUMBER is 7574",
            "UPDATE loteria.draws SET winning_number = 7574",
        ),
    ] {
        engine.ask(change);
        desk.wait_for(said, |desk| desk.ledger.trouble().is_some_and(|why| why.contains(said)).then_some(()));
        engine.ask(back);
        desk.wait_for("the draw of before", |desk| desk.ledger.trouble().is_none().then_some(()));
    }
}
