//! The generator of agency files, run as a person runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn datos(arguments: &[&str], out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_datos")).args(arguments).arg("--out").arg(out).output().expect("datos runs")
}

/// The arguments that the README of `.data` gives, without `--out`.
fn documented_arguments(readme: &str) -> Vec<&str> {
    let line = readme
        .lines()
        .find(|line| line.starts_with("cargo run --release --bin datos"))
        .expect("the README has the command");
    let arguments: Vec<_> = line.split(" -- ").nth(1).expect("arguments").split_whitespace().collect();
    assert_eq!(arguments[..2], ["--out", ".data"]);
    arguments[2..].to_vec()
}

#[test]
fn the_documented_command_makes_the_committed_files_with_the_documented_winners() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".data");
    let readme = fs::read_to_string(committed.join("README.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = datos(&documented_arguments(&readme), dir.path());
    assert!(output.status.success(), "{output:?}");
    for id in 1..=5 {
        let name = format!("agency-{id}.csv");
        let made = fs::read_to_string(dir.path().join(&name)).unwrap();
        // Not assert_eq: a difference would print two whole files.
        assert!(made == fs::read_to_string(committed.join(&name)).unwrap(), "{name} differs from what datos makes");
        let winners = made.lines().filter(|line| line.ends_with(",7574")).count();
        let bets = made.lines().count();
        let row = format!("| {id} | {},{:03} | {winners} |", bets / 1000, bets % 1000);
        assert!(readme.contains(&row), "the README lacks '{row}'");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "no other file is left");
}

#[test]
fn every_bet_of_the_committed_files_is_valid() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".data");
    for id in 1..=5 {
        let path = committed.join(format!("agency-{id}.csv"));
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
        for row in reader.byte_records() {
            let row = row.unwrap();
            let bet = loteria::lottery::Bet::from_text(&row[0], &row[1], &row[2], &row[3], &row[4]).unwrap();
            assert_eq!(bet.document().len(), 8, "binary writes eight digits: {row:?}");
        }
    }
}

#[test]
fn a_list_goes_on_with_its_last_value() {
    let dir = tempfile::tempdir().unwrap();
    assert!(datos(&["--agencies", "4", "--bets", "3,2", "--winners", "1"], dir.path()).status.success());
    let lines = |id: u32| fs::read_to_string(dir.path().join(format!("agency-{id}.csv"))).unwrap().lines().count();
    assert_eq!([1, 2, 3, 4].map(lines), [3, 2, 2, 2]);
}

#[test]
fn files_are_counted_as_the_client_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agency-1.csv");
    let rows = "\u{feff}\"Ana\",\"Paz, \"\"la\"\"\",\"11\",\"2000-01-02\",\"7574\"\r\n\r\n\
                Luz,Sol,12,2000-01-02,7574\nIgor,Mar,13,2000-01-02,007574\nEva,Mar,14,2000-01-02,75740\n\n\n";
    fs::write(&path, rows).unwrap();
    let count = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_datos")).arg("--count").args(more).arg(&path).output().expect("datos runs")
    };
    let said = |output: Output| String::from_utf8(output.stdout).unwrap().replace(path.to_str().unwrap(), "FILE");
    assert_eq!(said(count(&[])), "FILE: bets 4, winners 3\n");
    assert_eq!(said(count(&["--number", "75740", path.to_str().unwrap()])), "FILE: bets 4, winners 1\n".repeat(2));
    fs::write(&path, format!("{rows}Ana,Paz,11,2001-02-29,1\n")).unwrap();
    let output = count(&[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("agency-1.csv, line 8: birthdate"));
}

#[test]
fn wrong_usage_is_one_line_and_exit_2() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["--bets", "x"][..],
        &["--agencies", "1", "--bets", "1,2"],
        &["--bets", "1", "--winners", "2"],
        &["--agencies", "-1"],
        &["--nonsense"],
        &["word"],
        &["--count"],
        &["--count", "file"],
    ] {
        let output = datos(arguments, dir.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("datos: ") && said.lines().count() == 1, "{arguments:?}: {said}");
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named_and_exit_1() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = datos(&[], file.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&file.path().display().to_string()), "{said}");
}
