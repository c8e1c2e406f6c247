//! `loteria verify` and `loteria winners` on stores: sound, damaged, in use, and against the agencies' files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod loteria_kit;
mod storage_kit;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{hub, upload_until_the_end};
use loteria::lottery::{AgencyId, Bet};
use loteria::storage::{Options, OsDisk, Store};
use loteria_kit::{ended, loteria};
use storage_kit::bets::{Bets, batch};

const A: AgencyId = AgencyId(1);
const B: AgencyId = AgencyId(2);

fn open(folder: &Path) -> Store<OsDisk> {
    let options = Options { journal_step: 16, agencies: 2, ..Options::default() };
    Store::open(OsDisk::new(&folder.join("bets.csv")), options).unwrap().0
}

/// Agency 1 with 30 bets and agency 2 with 6, each finished; a draw if `drawn`.
fn store(folder: &Path, drawn: bool) -> Store<OsDisk> {
    let mut store = open(folder);
    for sequence in 0..10 {
        store.stage_batch(A, sequence, &batch(u32::try_from(sequence).unwrap() * 3, 3)).unwrap();
        store.commit().unwrap();
    }
    store.stage_batch(B, 0, &batch(100, 6)).unwrap();
    store.stage_finish(A);
    store.stage_finish(B);
    store.commit().unwrap();
    if drawn {
        store.stage_draw(7574);
        store.commit().unwrap();
    }
    store
}

fn closed_store(drawn: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    close(folder.path(), store(folder.path(), drawn));
    folder
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

/// Every file of a folder.
fn image(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|file| file.path().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn row(bet: &Bet) -> String {
    let (first, last, document) = (bet.first_name(), bet.last_name(), bet.document());
    format!("{first},{last},{document},{},{}\r\n", bet.birthdate(), bet.number())
}

/// The agencies' files of [`store`], in the folder `files`.
fn files_of(folder: &Path) {
    let write = |name: &str, bets: &Bets| {
        fs::create_dir_all(folder.join("files")).unwrap();
        fs::write(folder.join("files").join(name), bets.0.iter().map(row).collect::<String>()).unwrap();
    };
    write("agency-1.csv", &batch(0, 30));
    write("agency-2.csv", &batch(100, 6));
}

#[test]
fn a_sound_store_is_told_with_its_counts_and_not_changed() {
    for drawn in [false, true] {
        let folder = closed_store(drawn);
        let before = image(folder.path());
        let (code, out, err) = loteria(folder.path(), &["verify", "bets.csv"]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
        let draw: &[&str] = if drawn { &["draw:", "made,", "on", "number", "7574"] } else { &["draw:", "not", "made"] };
        let won = |count| if drawn { count } else { "-" };
        let expected: [&[&str]; 6] = [
            &["bets.csv:", "sound"],
            draw,
            &["agency", "bets", "batches", "winners", "state"],
            &["1", "30", "10", won("10"), "finished"],
            &["2", "6", "1", won("2"), "finished"],
            &["total", "36", "11", won("12")],
        ];
        assert_eq!(lines, expected);
        assert_eq!(image(folder.path()), before, "nothing is changed, and nothing made");
    }
}

#[test]
fn a_store_that_a_crash_left_is_read_with_its_redo_log_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    drop(store(folder.path(), true));
    // As a power cut leaves it: only the redo log has the rows.
    fs::write(folder.path().join("bets.csv"), "").unwrap();
    let before = image(folder.path());
    files_of(folder.path());
    let (code, out, err) = loteria(folder.path(), &["verify", "bets.csv", "--against", "files"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("every bet is stored as its file has it"), "{out}");
    assert_eq!(image(folder.path()), before);
}

#[test]
fn an_unfinished_turn_at_the_end_is_told_and_is_no_damage() {
    let folder = closed_store(true);
    let rows = folder.path().join("bets.csv");
    fs::write(&rows, [fs::read(&rows).unwrap(), b"1,Ana".to_vec()].concat()).unwrap();
    let (code, out, _) = loteria(folder.path(), &["verify", "bets.csv"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("5 bytes at its end are of a turn that was never acknowledged"), "{out}");
}

#[test]
fn a_pipe_in_the_place_of_a_store_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo").arg(folder.path().join("bets.csv")).status().unwrap();
    assert!(made.success());
    let (code, _, err) = loteria(folder.path(), &["verify", "bets.csv"]);
    assert_eq!(code, Some(74), "{err}");
    assert!(err.contains("bets.csv: it is no file, but a pipe or a device; set another path"), "{err}");
    fs::rename(folder.path().join("bets.csv"), folder.path().join("bets.csv.journal")).unwrap();
    for arguments in [&["verify", "bets.csv"][..], &["new-store", "--store", "bets.csv"]] {
        let (code, _, err) = loteria(folder.path(), arguments);
        assert_eq!(code, Some(74), "{err}");
        assert!(err.starts_with("loteria: cannot lock bets.csv.journal: it is no file"), "{err}");
    }
    fs::remove_file(folder.path().join("bets.csv.journal")).unwrap();
    fs::create_dir(folder.path().join("bets.csv.journal")).unwrap();
    let (_, _, err) = loteria(folder.path(), &["verify", "bets.csv"]);
    assert!(err.contains("cannot lock bets.csv.journal: ") && err.contains("a folder has its name"), "{err}");
}

#[test]
fn damage_is_exit_65_with_the_file_and_the_offset_whether_a_hub_holds_the_store_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file);
    let running = store(folder.path(), true);
    for held in [Some(running), None] {
        for (file, byte, says) in [
            ("bets.csv", 40, "bets.csv: damaged at byte 0: the rows up to byte"),
            (
                "bets.csv.journal",
                8192 + 3 * 64,
                "bets.csv.journal: damaged at byte 8384: there is no valid record here",
            ),
        ] {
            let sound = fs::read(path(file)).unwrap();
            let mut flipped = sound.clone();
            flipped[byte] ^= 1;
            fs::write(path(file), &flipped).unwrap();
            let (code, out, err) = loteria(folder.path(), &["verify", "bets.csv"]);
            let is_held = held.is_some();
            assert_eq!((code, out.as_str()), (Some(65), ""), "{file}, held: {is_held}: {err}");
            assert!(err.starts_with(&format!("loteria: {says}")) && err.lines().count() == 1, "held: {is_held}: {err}");
            fs::write(path(file), sound).unwrap();
        }
        // The rest is for a store without a hub, and without the log that could put things right.
        if let Some(store) = held {
            close(folder.path(), store);
        }
    }
    fs::remove_file(path("bets.csv.journal")).unwrap();
    let (code, _, err) = loteria(folder.path(), &["verify", "bets.csv"]);
    assert!(code == Some(65) && err.contains("there is no journal"), "{err}");
    for arguments in [&["verify", "absent.csv"][..], &["winners", "--store", "absent.csv"]] {
        let (code, _, err) = loteria(folder.path(), arguments);
        assert!(code == Some(74) && err.contains("cannot find a store at absent.csv: No such file"), "{err}");
        assert!(err.ends_with("; say where it is: --store PATH, or --config FILE as the hub has it\n"), "{err}");
    }
    let names: Vec<String> = image(folder.path()).into_keys().collect();
    assert!(!names.iter().any(|name| name.contains("absent") || name.contains("quarantine")), "{names:?}");
}

#[test]
fn a_store_that_is_written_to_is_read_as_of_a_whole_commit() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let upload = upload_until_the_end(hub.connect(), 7574);
    hub.wait_for_count("action: apuesta_recibida | result: success", 50);
    for _ in 0..20 {
        let acknowledged = hub.count("action: apuesta_recibida | result: success");
        let (code, out, err) = loteria(hub.folder.path(), &["verify", "bets.csv"]);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.starts_with("bets.csv: sound; a hub uses it"), "{out}");
        let total = out.lines().last().unwrap().split_whitespace().nth(1).unwrap().replace(',', "");
        assert!(total.parse::<usize>().unwrap() + 1 >= acknowledged, "{out} of {acknowledged}");
    }
    let (code, _, err) = loteria(hub.folder.path(), &["winners", "--socket", "absent.sock", "--store", "bets.csv"]);
    assert!(code == Some(1) && err.contains("bets.csv: the draw has not been made"), "{err}");
    drop(hub.kill());
    upload.join().unwrap();
}

#[test]
fn what_differs_from_the_agencies_files_is_told_bet_by_bet() {
    let folder = closed_store(true);
    files_of(folder.path());
    let file = |name: &str| folder.path().join("files").join(name);
    let verify = || loteria(folder.path(), &["verify", "bets.csv", "--against", "files"]);
    let (code, out, err) = verify();
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("files/agency-1.csv: the same 30 bets\nfiles/agency-2.csv: the same 6 bets\n"), "{out}");

    let rows: Vec<String> = batch(0, 30).0.iter().map(row).collect();
    let other = "Ana,Paz,12,1990-02-03,1\r\n";
    let without = |places: &[usize]| -> String {
        rows.iter().enumerate().filter(|(place, _)| !places.contains(place)).map(|(_, row)| row.as_str()).collect()
    };
    let with = |place: usize, row: &str, instead: usize| -> String {
        [rows[..place].concat(), row.to_owned(), rows[place + instead..].concat()].concat()
    };
    for (text, counts, line) in [
        (without(&[3, 4, 29]), "27 bets are the same, 0 missing, 3 extra, 0 different", "extra: stored bet 30: "),
        (
            with(7, other, 0),
            "30 bets are the same, 1 missing, 0 extra, 0 different",
            "missing: line 8 of the file: Ana,Paz,12,1990-02-03,1",
        ),
        (
            with(30, other, 0),
            "30 bets are the same, 1 missing, 0 extra, 0 different",
            "missing: line 31 of the file: Ana",
        ),
        (
            with(7, other, 1),
            "29 bets are the same, 0 missing, 0 extra, 1 different",
            "different: stored bet 8: Ramón,O'Higgins,00000007,1999-03-17,1; line 8 of the file: Ana",
        ),
        (String::new(), "0 bets are the same, 0 missing, 30 extra, 0 different", "and 10 more"),
        (
            [&rows[1], &rows[0], rows[2..].concat().as_str()].map(str::to_owned).concat(),
            "29 bets are the same, 1 missing, 1 extra, 0 different",
            "missing: line 1 of the file",
        ),
    ] {
        fs::write(file("agency-1.csv"), text).unwrap();
        let (code, out, err) = verify();
        assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
        assert!(out.contains(&format!("agency-1.csv: {counts}\n")) && out.contains(line), "{counts}, {line}: {out}");
        assert!(out.ends_with("the bets are not those of the files\n"), "{out}");
    }

    files_of(folder.path());
    fs::rename(file("agency-2.csv"), file("agency-3.csv")).unwrap();
    let (code, out, _) = verify();
    assert_eq!(code, Some(1));
    assert!(out.contains("agency-2.csv: 0 bets are the same, 0 missing, 6 extra, 0 different"), "{out}");
    assert!(out.contains("agency-3.csv: 0 bets are the same, 6 missing, 0 extra, 0 different"), "{out}");

    fs::write(file("agency-3.csv"), "Ana,Paz,12,1990-02-31,1\r\n").unwrap();
    let (code, _, err) = verify();
    assert!(code == Some(1) && err.starts_with("loteria: files/agency-3.csv, line 1: birthdate"), "{err}");
    let (code, _, err) = loteria(folder.path(), &["verify", "bets.csv", "--against", "."]);
    assert!(code == Some(2) && err.contains("--against .: there is no file agency-N.csv"), "{err}");
}

#[test]
fn a_pipe_among_the_agencies_files_is_refused_at_once() {
    let folder = closed_store(true);
    files_of(folder.path());
    let made = Command::new("mkfifo").arg(folder.path().join("files/agency-3.csv")).status().unwrap();
    assert!(made.success());
    let (code, _, err) = loteria(folder.path(), &["verify", "bets.csv", "--against", "files"]);
    assert_eq!((code, err.as_str()), (Some(1), "loteria: files/agency-3.csv: it is no file, but a pipe or a device\n"));
}

#[test]
fn more_files_than_the_soft_limit_of_descriptors_can_be_compared() {
    let folder = closed_store(true);
    files_of(folder.path());
    for agency in 3..=60 {
        fs::write(folder.path().join(format!("files/agency-{agency}.csv")), "").unwrap();
    }
    let limited = "ulimit -S -n 40 && exec \"$0\" verify bets.csv --against files";
    let mut shell = Command::new("sh");
    shell.current_dir(folder.path()).args(["-c", limited, env!("CARGO_BIN_EXE_loteria")]);
    let (code, out, err) = ended(shell);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("files/agency-60.csv: the same 0 bets"), "{out}");
}

#[test]
fn a_gap_of_many_bets_is_told_as_missing_and_the_rest_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for (sequence, first) in [(0, 0), (1, 1_900)] {
        store.stage_batch(A, sequence, &batch(first, 1_000)).unwrap();
    }
    store.commit().unwrap();
    close(folder.path(), store);
    fs::create_dir(folder.path().join("files")).unwrap();
    let rows: String = batch(0, 2_900).0.iter().map(row).collect();
    fs::write(folder.path().join("files/agency-1.csv"), rows).unwrap();
    let (code, out, _) = loteria(folder.path(), &["verify", "bets.csv", "--against", "files"]);
    assert_eq!(code, Some(1));
    assert!(out.contains(": 2000 bets are the same, 900 missing, 0 extra, 0 different"), "{out}");
}

#[test]
fn winners_are_those_of_the_draw_in_each_format_and_refused_before_it() {
    let folder = closed_store(true);
    let (code, out, _) = loteria(folder.path(), &["winners", "--agency", "2"]);
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, Some(0));
    assert_eq!(lines[0], ["winning", "number", "7574:", "2", "winners"]);
    assert_eq!(
        lines[2..],
        [["2", "00000102", "1999-03-17", "Ramón", "O'Higgins"], ["2", "00000105", "1999-03-17", "Ramón", "O'Higgins"]]
    );
    let (_, csv, _) = loteria(folder.path(), &["winners", "--csv"]);
    assert_eq!(csv.lines().count(), 13);
    assert!(
        csv.starts_with(
            "agency,first_name,last_name,document,birthdate,number\r\n1,Ramón,O'Higgins,00000000,1999-03-17,7574\r\n"
        ),
        "{csv}"
    );
    let (_, json, _) = loteria(folder.path(), &["winners", "--json"]);
    let json: loteria::status::report::Winners = serde_json::from_str(&json).unwrap();
    assert_eq!((json.winning_number, json.winners.len(), json.winners[11].document.as_str()), (7574, 12, "00000105"));

    let (code, out, err) = loteria(folder.path(), &["winners", "--agency", "3"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "loteria: bets.csv: agency 3 is not of this draw\n");

    let folder = closed_store(false);
    let (code, out, err) = loteria(folder.path(), &["winners"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "loteria: bets.csv: the draw has not been made, so there are no winners yet\n");
}

#[test]
fn the_bets_of_an_excluded_agency_are_no_winners() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for agency in [A, B] {
        store.stage_batch(agency, 0, &batch(0, 6)).unwrap();
    }
    store.stage_finish(A);
    store.stage_exclusion(B);
    store.commit().unwrap();
    store.stage_draw(7574);
    store.commit().unwrap();
    close(folder.path(), store);
    for (arguments, winners) in [(&["winners"][..], 2), (&["winners", "--agency", "2"], 0)] {
        let (code, out, err) = loteria(folder.path(), arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.starts_with(&format!("winning number 7574: {winners} winners\n")), "{out}");
    }
    let (_, out, _) = loteria(folder.path(), &["verify", "bets.csv"]);
    let rows: Vec<Vec<&str>> = out.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
    let told = [&["1", "6", "1", "2", "finished"][..], &["2", "6", "1", "0", "excluded"], &["total", "12", "2", "2"]];
    assert_eq!(rows, told, "{out}");
}
