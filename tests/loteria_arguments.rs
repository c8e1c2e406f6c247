//! The command lines of all programs: help, versions, wrong usage, completions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod loteria_kit;

use std::process::Command;

use loteria_kit::{ended, loteria};

const PROGRAMS: [(&str, &str); 4] = [
    ("server", env!("CARGO_BIN_EXE_server")),
    ("client", env!("CARGO_BIN_EXE_client")),
    ("datos", env!("CARGO_BIN_EXE_datos")),
    ("loteria", env!("CARGO_BIN_EXE_loteria")),
];

fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    ended(command)
}

#[test]
fn every_program_has_help_and_a_version_in_both_forms() {
    for (name, program) in PROGRAMS {
        for flag in ["--help", "-h"] {
            let (code, out, err) = run(program, &[flag]);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{name} {flag}");
            assert!(out.to_lowercase().contains(&format!("usage: {name}")), "{out}");
        }
        for flag in ["--version", "-V"] {
            let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!(run(program, &[flag]), (Some(0), version, String::new()));
        }
    }
}

#[test]
fn wrong_usage_is_one_line_that_points_to_the_help_and_exit_2() {
    let [(_, server), (_, client), (_, datos), (_, loteria)] = PROGRAMS;
    for (program, arguments, says) in [
        (server, &["--chek"][..], "server: unexpected argument '--chek' found; a similar argument exists: '--check'"),
        (server, &["--check", "--copy", "x"], "server: the argument '--check' cannot be used with '--copy <FOLDER>'"),
        (client, &["--conf", "x"], "client: unexpected argument '--conf' found; a similar argument exists: '--config'"),
        (datos, &["--agencies", "x"], "datos: invalid value 'x' for '--agencies <N>': must be a whole number"),
        (loteria, &[], "loteria: 'loteria' requires a subcommand but one was not provided"),
        (loteria, &["statsu"], "loteria: unrecognized subcommand 'statsu'; a similar subcommand exists: 'status'"),
        (loteria, &["status", "--json", "--watch"], "loteria: the argument '--json' cannot be used with '--watch'"),
        (
            loteria,
            &["winners", "--agency", "one"],
            "loteria: invalid value 'one' for '--agency <N>': must be a whole number",
        ),
        (loteria, &["log-level", "LOUD"], "loteria: invalid value 'LOUD' for '<LEVEL>': must be DEBUG, INFO"),
        (loteria, &["import"], "loteria: the following required arguments were not provided: <STORE>"),
        (loteria, &["completions", "csh"], "loteria: invalid value 'csh' for '<SHELL>'"),
        (loteria, &["why", "a\nb"], "loteria: unexpected argument 'a b' found"),
    ] {
        let (code, out, err) = run(program, arguments);
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(2), "", 1), "{err}");
        assert!(err.starts_with(says) && err.ends_with(" (try --help)\n"), "{says}: {err}");
    }
}

#[test]
fn a_folder_in_the_place_of_a_store_is_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("hub")).unwrap();
    for arguments in [
        &["--store", "hub", "status"][..],
        &["--store", "hub", "why"],
        &["--store", "hub", "winners"],
        &["--store", "hub", "winners", "--stored"],
        &["--store", "hub", "new-store"],
        &["verify", "hub"],
    ] {
        let (code, out, err) = loteria(folder.path(), arguments);
        let told = "loteria: hub is a folder: name the file of the bets in it (try --help)\n";
        assert_eq!((code, out.as_str(), err.as_str()), (Some(2), "", told), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made");
}

/// The subcommands of `loteria`, as its help has them.
fn commands() -> Vec<String> {
    let (_, help, _) = run(env!("CARGO_BIN_EXE_loteria"), &["--help"]);
    let list = help.split("\nCommands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names =
        list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn completions_and_documents_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let commands = commands();
    assert!(commands.contains(&"status".to_owned()) && commands.len() > 10, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = loteria(folder.path(), &["completions", shell]);
        assert_eq!(code, Some(0));
        for command in &commands {
            assert!(out.contains(command), "{shell}: {command}");
        }
    }
    for document in ["README.md", "LEEME.md"] {
        let text = std::fs::read_to_string(document).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        for command in &commands {
            let named = [format!("`{command}`"), format!("`{command} ")];
            let is_there = rows.iter().any(|row| named.iter().any(|name| row.contains(name)));
            assert!(is_there, "{document}: the table of subcommands has no `{command}`");
        }
    }
}
