//! `loteria` over a real PostgreSQL: import, verify, export, winners, release-draw.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;
mod loteria_kit;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use engine_kit::desk::Desk;
use engine_kit::{Bets, Engine, PASSWORD, address_of_nothing, batch, rows_of};
use loteria::lottery::AgencyId;
use loteria::storage::{Keep, Options, OsDisk, Place, Store};
use loteria_kit::{command, loteria};

/// The configuration of a hub over the engine; `lottery` are lines of the section `LOTTERY`.
fn configure(folder: &Path, hosts: &str, password: &str, lottery: &str) {
    let config = format!(
        "[LOTTERY]\n{lottery}\n[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = {hosts}\nPASSWORD_FILE = password\nREPLICAS = none\n"
    );
    fs::write(folder.join("config.ini"), config).unwrap();
    fs::write(folder.join("password"), format!("{password}\n")).unwrap();
}

fn folder_for(engine: &Engine) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &engine.address.to_string(), PASSWORD, "AGENCIES = 1-3");
    folder
}

/// The batches of the store in these tests: an agency, and its bets. Those of agency 1 are more than one buffer.
fn stored() -> Vec<(u32, Bets)> {
    let mut batches = vec![(2, batch(0, 4)), (1, batch(100, 150)), (3, batch(300, 5)), (2, batch(50, 6))];
    batches.extend((0..20).map(|n| (1, batch(10_000 + n * 2_000, 2_000))));
    batches
}

/// A store of files with [`stored`]; agencies 1 and 2 have finished. Where it is `drawn`, agency 3 is excluded.
fn store(folder: &Path, drawn: bool) -> Store<OsDisk> {
    let options = Options { agencies: 3, ..Options::default() };
    let mut store = Store::open(OsDisk::new(&folder.join("bets.csv")), options).unwrap().0;
    let mut next = [0; 4];
    for (agency, bets) in stored() {
        store.stage_batch(AgencyId(agency), next[agency as usize], &bets).unwrap();
        next[agency as usize] += 1;
        store.commit().unwrap();
    }
    store.stage_finish(AgencyId(1));
    store.stage_finish(AgencyId(2));
    store.commit().unwrap();
    if drawn {
        store.stage_exclusion(AgencyId(3));
        store.commit().unwrap();
        store.stage_draw(7574);
        store.commit().unwrap();
    }
    store
}

/// Closes a store, and waits until it is not locked. A program that another test starts holds the locks of this process until
/// it is executed.
fn close(folder: &Path, mut store: Store<OsDisk>) {
    store.close().unwrap();
    drop(store);
    for name in ["bets.csv", "bets.csv.journal"] {
        fs::File::open(folder.join(name)).unwrap().lock().unwrap();
    }
}

/// The rows of [`stored`] by agency.
fn rows() -> Vec<u8> {
    let mut batches = stored();
    batches.sort_by_key(|(agency, _)| *agency);
    batches.iter().flat_map(|(agency, bets)| rows_of(*agency, bets)).collect()
}

/// What a command fails with: its exit code, and one line without the program's name.
fn refused(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let (code, out, err) = loteria(folder, arguments);
    assert_eq!((out.as_str(), err.lines().count()), ("", 1), "{arguments:?}: {out}{err}");
    (code.unwrap(), err.strip_prefix("loteria: ").unwrap().trim_end().to_owned())
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = loteria(folder, arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    out
}

#[test]
fn a_store_of_files_comes_into_the_engine_and_out_again_with_its_winners() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    let running = store(folder, true);
    let (code, why) = refused(folder, &["import", "bets.csv"]);
    assert!(code == 75 && why.starts_with("a hub or a check uses the store bets.csv"), "{why}");
    close(folder, running);
    let files = done(folder, &["verify", "bets.csv"]);

    let out = done(folder, &["import", "bets.csv"]);
    assert!(out.starts_with("bets.csv: 40,165 bets in 24 batches imported into postgres://"), "{out}");
    let checked = done(folder, &["verify"]);
    let (first, table) = checked.split_once('\n').unwrap();
    assert!(first.starts_with("postgres://loteria@127.0.0.1:") && first.ends_with("/loteria draw 1: sound"), "{first}");
    assert_eq!(table, files.split_once('\n').unwrap().1, "the engine has what the store has");

    fs::write(folder.join("out.csv.part"), "a person's").unwrap();
    let out = done(folder, &["export", "out.csv"]);
    assert!(out.starts_with("out.csv: 40,165 bets of postgres://"), "{out}");
    assert!(fs::read(folder.join("out.csv")).unwrap() == rows(), "the rows are others");
    assert_eq!(done(folder, &["export", "-"]).into_bytes(), rows());
    let (code, why) = refused(folder, &["export", "out.csv"]);
    assert!(code == 1 && why.starts_with("cannot write out.csv: "), "{why}");
    // A store of files gives its rows as they are.
    done(folder, &["export", "copy.csv", "--store", "bets.csv"]);
    assert!(fs::read(folder.join("copy.csv")).unwrap() == fs::read(folder.join("bets.csv")).unwrap());
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with(".part")).collect::<Vec<_>>(), ["out.csv.part"]);
    assert_eq!(fs::read_to_string(folder.join("out.csv.part")).unwrap(), "a person's");

    // Excluded agencies win nothing.
    let mut batches = stored();
    batches.sort_by_key(|(agency, _)| *agency);
    let won = batches.iter().filter(|(agency, _)| *agency != 3).flat_map(|(agency, bets)| {
        bets.0.iter().filter(|bet| bet.number() == 7574).map(move |bet| (*agency, bet.document().to_owned()))
    });
    let won: Vec<(u32, String)> = won.collect();
    let csv = done(folder, &["winners", "--csv"]);
    let told: Vec<(u32, String)> = csv
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            (fields[0].parse().unwrap(), fields[3].to_owned())
        })
        .collect();
    assert!(won.len() > 10_000 && told == won, "{} winners, and {} are told", won.len(), told.len());
    let one = done(folder, &["winners", "--stored", "--agency", "2", "--csv"]);
    assert_eq!(one.lines().count() - 1, won.iter().filter(|(agency, _)| *agency == 2).count());
    let (code, why) = refused(folder, &["winners", "--stored", "--agency", "9"]);
    assert!(code == 1 && why == "agency 9 is not of this draw", "{why}");

    let (code, why) = refused(folder, &["import", "bets.csv"]);
    assert!(code == 1 && why.starts_with("draw 1 is in use: "), "{why}");
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.batches"), "24", "a refused import changes nothing");
}

#[test]
fn a_store_whose_draw_is_open_goes_on_in_the_engine() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    close(folder, store(folder, false));
    done(folder, &["import", "bets.csv"]);
    let (code, why) = refused(folder, &["winners"]);
    assert!(code == 1 && why.ends_with("draw 1: the draw has not been made, so there are no winners yet"), "{why}");

    let mut desk = Desk::open(&engine, 1);
    desk.stage(3, Place::Numbered(1), &batch(400, 3));
    desk.finish(3);
    desk.commit();
    desk.wait_for("the draw", |desk| desk.drawn.take());
    assert!(done(folder, &["verify"]).contains("draw: made, on number 7574"));
    assert_eq!(engine.ask("SELECT bets FROM loteria.draws"), "40168");
}

#[test]
fn a_store_that_does_not_fit_the_draw_is_refused_and_nothing_is_stored() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    close(folder, store(folder, true));
    let address = engine.address.to_string();
    for (lottery, code, says) in [
        ("AGENCIES = 1-2", 1, "agency 3, and [LOTTERY] AGENCIES is 1-2: the store has agencies 1-3"),
        ("AGENCIES = 1-4", 1, "without agency 4: it has agencies 1-3, and [LOTTERY] AGENCIES is 1-4"),
        ("AGENCIES = 3\nWINNING_NUMBER = 1", 1, "draw was made on 7574, and [LOTTERY] WINNING_NUMBER is 1"),
    ] {
        configure(folder, &address, PASSWORD, lottery);
        let (got, why) = refused(folder, &["import", "bets.csv"]);
        assert!(got == code && why.contains(says), "{says}: {why}");
    }
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.draws"), "0");
    configure(folder, &address, PASSWORD, "AGENCIES = 3");
    for (made, says) in [
        ("(1, 9)", "draw 1 has winning number 9, and this hub's WINNING_NUMBER is 7574"),
        ("(1, 7574)", "draw 1 has agencies 8-8, and this hub's AGENCIES are 1-3"),
    ] {
        engine.ask(&format!(
            "INSERT INTO loteria.draws (draw, winning_number) VALUES {made}; INSERT INTO loteria.agencies VALUES (1, 8)"
        ));
        let (code, why) = refused(folder, &["import", "bets.csv"]);
        assert!(code == 2 && why.contains(says), "{says}: {why}");
        engine.ask("DELETE FROM loteria.agencies; DELETE FROM loteria.draws");
    }
    engine.ask("REVOKE INSERT ON loteria.batches FROM loteria");
    let (code, why) = refused(folder, &["import", "bets.csv"]);
    assert!(code == 1 && why.contains("permission denied for table batches"), "{why}");
    assert_eq!(engine.ask("SELECT (SELECT count(*) FROM loteria.draws) + count(*) FROM loteria.instances"), "0");
}

#[test]
fn an_import_whose_connection_is_ended_is_exit_69_and_stores_nothing() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    close(folder, store(folder, true));
    let (code, why) = std::thread::scope(|scope| {
        // An administrator ends it while its copy waits for the table.
        scope.spawn(|| {
            engine.ask(
                "BEGIN; LOCK TABLE loteria.batches IN SHARE MODE;
                 DO $$ BEGIN
                   WHILE (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                          WHERE application_name = 'loteria' AND wait_event_type = 'Lock') = 0 LOOP
                     PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
                   END LOOP;
                 END $$; COMMIT",
            )
        });
        while engine.ask("SELECT count(*) FROM pg_locks WHERE relation = 'loteria.batches'::regclass") == "0" {}
        refused(folder, &["import", "bets.csv"])
    });
    assert!(code == 69 && why.starts_with("PostgreSQL cannot be reached: ") && why.contains("57P01"), "{code}: {why}");
    assert_eq!(engine.ask("SELECT count(*) FROM loteria.draws"), "0");
}

#[test]
fn damage_is_exit_65_with_the_agency_and_the_batch() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    close(folder, store(folder, true));
    done(folder, &["import", "bets.csv"]);
    engine.ask("CREATE TABLE sound AS SELECT * FROM loteria.batches");
    for (damage, exports, says) in [
        (
            "UPDATE loteria.batches SET rows = overlay(rows placing 'X' from 3 for 1) WHERE agency = 2 AND batch = 1",
            false,
            "draw 1 is damaged: agency 2, batch 1: its rows are not those stored: their CRC-32C is another",
        ),
        (
            "UPDATE loteria.batches SET bets = 7 WHERE agency = 2 AND batch = 1",
            false,
            "agency 2, batch 1: it has another",
        ),
        ("DELETE FROM loteria.batches WHERE agency = 1 AND batch = 3", false, "agency 1, batch 3: it is missing"),
        (
            "UPDATE loteria.batches SET winners = NULL WHERE agency = 2 AND batch = 0",
            true,
            "agency 2, batch 0: its winners",
        ),
        ("UPDATE loteria.agencies SET bets = bets + 1 WHERE agency = 3", false, "agency 3 has 1 batches with 5 bets"),
        ("UPDATE loteria.draws SET bets = 1", false, "its agencies have 40160 bets, and its row says 1"),
        ("UPDATE loteria.agencies SET standing = 'betting' WHERE agency = 3", false, "and agency 3 has not finished"),
    ] {
        engine.ask(damage);
        let (code, why) = refused(folder, &["verify"]);
        assert!(code == 65 && why.contains(says), "{says}: {why}");
        let (code, _, err) = loteria(folder, &["export", "out.csv"]);
        assert_eq!(code, Some(if exports { 0 } else { 65 }), "{damage}: {err}");
        assert_eq!(fs::remove_file(folder.join("out.csv")).is_ok(), exports, "{damage}");
        engine.ask(
            "TRUNCATE loteria.batches; INSERT INTO loteria.batches SELECT * FROM sound; \
             UPDATE loteria.agencies a SET bets = (SELECT sum(bets) FROM sound s WHERE s.agency = a.agency), \
             standing = CASE agency WHEN 3 THEN 'excluded' ELSE 'finished' END; UPDATE loteria.draws SET bets = 40160",
        );
    }
    done(folder, &["verify"]);
    fs::create_dir(folder.join("files")).unwrap();
    for agency in 1..=3 {
        let bets = stored().into_iter().filter(|(of, _)| *of == agency);
        let rows: Vec<u8> = bets.flat_map(|(agency, bets)| rows_of(agency, &bets)).collect();
        let rows = String::from_utf8(rows).unwrap();
        let rows: String = rows.lines().map(|row| format!("{}\r\n", row.split_once(',').unwrap().1)).collect();
        let rows = if agency == 3 { rows.replace(",00000301,", ",99,") } else { rows };
        fs::write(folder.join(format!("files/agency-{agency}.csv")), rows).unwrap();
    }
    let (code, out, err) = loteria(folder, &["verify", "--against", "files"]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("agency-1.csv: the same 40,150 bets\n"), "{out}");
    assert!(out.contains("agency-3.csv: 4 bets are the same, 0 missing, 0 extra, 1 different"), "{out}");
}

#[test]
fn an_import_is_not_among_the_hubs() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    close(folder.path(), store(folder.path(), false));
    done(folder.path(), &["import", "bets.csv"]);
    assert_eq!(engine.ask("SELECT name FROM loteria.instances"), "import of bets.csv");
    let mut desk = Desk::open(&engine, 1);
    let hubs = desk.wait_for("the hubs", |desk| {
        let hubs = desk.ledger.engine()?.instances;
        (!hubs.is_empty()).then_some(hubs)
    });
    assert_eq!(hubs.into_iter().map(|hub| hub.name).collect::<Vec<_>>(), ["hub 1"]);
}

#[test]
fn an_export_that_a_signal_ends_leaves_no_rows() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    drop(Desk::open(&engine, 1));
    engine.ask("UPDATE loteria.draws SET held = 'until the end'");
    std::thread::scope(|scope| {
        // The export waits for the table.
        scope.spawn(|| {
            engine.ask(
                "BEGIN; LOCK TABLE loteria.batches;
                 DO $$ BEGIN
                   WHILE (SELECT held FROM loteria.draws) IS NOT NULL AND clock_timestamp() < now() + '1min'::interval LOOP
                     PERFORM pg_sleep(0.005);
                   END LOOP;
                 END $$; COMMIT",
            )
        });
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'loteria.batches'::regclass AND NOT granted = ";
        while engine.ask(&format!("{locks} false")) == "0" {}
        let mut export = command(folder, &["export", "out.csv"]).spawn().unwrap();
        while engine.ask(&format!("{locks} true")) == "0" {}
        let files = || fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(files().len(), 3, "the part, the configuration and the password: {:?}", files());
        rustix::process::kill_process(rustix::process::Pid::from_child(&export), rustix::process::Signal::TERM)
            .unwrap();
        assert_eq!(export.wait().unwrap().signal(), Some(15));
        assert_eq!(files().len(), 2, "{:?}", files());
        engine.ask("UPDATE loteria.draws SET held = NULL");
    });
}

#[test]
fn a_draw_that_is_held_is_released_by_a_person_and_then_made() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    let (code, why) = refused(folder, &["release-draw"]);
    assert!(code == 1 && why.starts_with("the engine has no draw 1: "), "{why}");
    let mut desk = Desk::open(&engine, 1);
    assert_eq!(done(folder, &["release-draw"]), "draw 1 is not held\n");
    engine.ask("UPDATE loteria.draws SET held = 'turns 3 to 4 of hub ''a'' are gone'");
    desk.stage(1, Place::Next(0), &batch(0, 3));
    (1..=3).for_each(|agency| desk.finish(agency));
    desk.commit();
    let (code, why) = refused(folder, &["release-draw"]);
    assert!(code == 1 && why.starts_with("draw 1 is held: turns 3 to 4 of hub 'a' are gone; "), "{why}");
    assert!(why.ends_with("release it with --yes"), "{why}");
    let out = done(folder, &["verify"]);
    assert!(
        out.contains("draw: not made") && out.ends_with("release-draw: turns 3 to 4 of hub 'a' are gone\n"),
        "{out}"
    );
    assert!(desk.drawn.is_none());
    let out = done(folder, &["release-draw", "--yes"]);
    assert!(out.starts_with("draw 1 was held: turns 3 to 4 of hub 'a' are gone\n"), "{out}");
    let drawn = desk.wait_for("the draw", |desk| desk.drawn.take());
    let won: usize = drawn.iter().map(|(_, winners)| winners.len()).sum();
    assert!(done(folder, &["winners"]).starts_with("winning number 7574: 1 winner\n") && won == 1);
}

#[test]
fn settings_of_the_role_do_not_change_what_is_written() {
    let Some(engine) = Engine::start() else { return };
    engine.ask("ALTER ROLE loteria SET standard_conforming_strings = off");
    let folder = folder_for(&engine);
    let _desk = Desk::open(&engine, 1);
    engine.ask("UPDATE loteria.draws SET held = 'see C:\\log''s end\\'");
    let out = done(folder.path(), &["release-draw", "--yes"]);
    assert!(out.starts_with("draw 1 was held: see C:\\log's end\\\n"), "{out}");
    assert_eq!(engine.ask("SELECT held IS NULL FROM loteria.draws"), "t");
}

#[test]
fn a_draw_that_is_held_for_another_reason_meanwhile_is_not_said_to_be_released() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let _desk = Desk::open(&engine, 1);
    engine.ask("UPDATE loteria.draws SET held = 'turn 3 is gone'");
    let (code, why) = std::thread::scope(|scope| {
        // A hub says more while the command waits for the row.
        scope.spawn(|| {
            engine.ask(
                "BEGIN; UPDATE loteria.draws SET held = 'turn 3 is gone; batch 2 is gone';
                 DO $$ BEGIN
                   WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'loteria' AND wait_event_type = 'Lock') LOOP
                     PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
                   END LOOP;
                 END $$; COMMIT",
            )
        });
        while engine.ask(
            "SELECT count(*) FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'loteria.draws'::regclass",
        ) == "0"
        {}
        refused(folder.path(), &["release-draw", "--yes"])
    });
    assert!(code == 1 && why.ends_with("meanwhile: turn 3 is gone; batch 2 is gone"), "{why}");
    assert_eq!(engine.ask("SELECT held FROM loteria.draws"), "turn 3 is gone; batch 2 is gone");
}

#[test]
fn an_engine_that_cannot_be_used_is_one_line() {
    let Some(engine) = Engine::start() else { return };
    let folder = folder_for(&engine);
    let folder = folder.path();
    let address = engine.address.to_string();
    configure(folder, &address, "another word", "");
    for arguments in [&["verify"][..], &["winners"], &["export", "out.csv"], &["release-draw", "--yes"]] {
        let (code, why) = refused(folder, arguments);
        let says = format!("[POSTGRES] {address}: PostgreSQL refuses user 'loteria': ");
        assert!(code == 2 && why.starts_with(&says), "{arguments:?}: {why}");
    }
    assert!(!folder.join("out.csv").exists());
    let nothing = address_of_nothing();
    configure(folder, &nothing.to_string(), PASSWORD, "");
    let (code, why) = refused(folder, &["verify"]);
    assert!(code == 69 && why.starts_with(&format!("PostgreSQL cannot be reached: {nothing}: ")), "{why}");
    // The other host is tried.
    configure(folder, &format!("{nothing},{address}"), PASSWORD, "AGENCIES = 1-3");
    Desk::open(&engine, 1);
    assert!(done(folder, &["verify"]).contains("draw: not made"));
    let (code, why) = refused(folder, &["new-store"]);
    assert!(code == 2 && why.contains("a new draw is another [LOTTERY] DRAW"), "{why}");
    let (code, why) = refused(folder, &["release-draw", "--store", "bets.csv"]);
    assert!(code == 2 && why.contains("this is for [STORAGE] ENGINE = postgres"), "{why}");
}
