//! Clients written from the documents alone, in another language, agree with the real server.
//!
//! `tests/peers` holds them: one Python file per dialect, none of the project's encoders. Each test here
//! starts the server and lets them play draws; they check winners and stored rows against the bets sent.

#![allow(clippy::panic, reason = "how a test fails")]

mod common;
#[path = "peers/python.rs"]
mod python;

use common::Hub;
use loteria::wire::Dialect;
use python::{python, success};

const FIVE: &str = "case-id,text,key-value,binary,csv";
const VARIANTS: &str = "native,text-per-message,key-value-colon,binary-length-first,csv";
const ROTATED: &str = "binary,native-dropping,text,case-id,csv";

/// The dialects of agencies.
fn dialects() -> Vec<&'static str> {
    Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Echo).map(|dialect| dialect.name()).collect()
}

/// A hub with these settings.
fn hub(settings: &[(&str, &str)]) -> Hub {
    let start = common::hub();
    settings.iter().fold(start, |start, (key, value)| start.env(key, value)).start()
}

/// The hub's log, if it stopped well.
fn stop(hub: Hub) -> Vec<String> {
    let (status, log) = hub.terminate();
    assert!(status.success(), "{status}: {log}");
    log.lines().map(str::to_owned).collect()
}

/// One draw, agency 1 in the first of `dialects`, and so on; `None` where there is no Python.
fn draw(dialects: &str, settings: &[(&str, &str)], arguments: &[&str]) -> Option<(String, Vec<String>)> {
    let names: Vec<&str> = dialects.split(',').collect();
    let agencies = names.len().to_string();
    // A connection without an agency on the wire must not be given another client's.
    let unnumbered =
        (1..).zip(&names).filter(|(_, name)| **name == "csv").map(|(agency, _): (u32, _)| agency.to_string());
    let unnumbered = unnumbered.collect::<Vec<String>>().join(",");
    let mut all = vec![("LOTTERY_AGENCIES", agencies.as_str())];
    if !unnumbered.is_empty() {
        all.push(("LOTTERY_UNNUMBERED_AGENCIES", &unnumbered));
    }
    all.extend(settings);
    let hub = hub(&all);
    let (address, store) = (hub.address.to_string(), hub.path("bets.csv").display().to_string());
    let mut given = vec!["--server", &address, "--dialects", dialects, "--store", &store];
    given.extend(arguments);
    let out = success(&python("run.py", &given)?);
    Some((out, stop(hub)))
}

/// The log of a good draw: drawn once, and after every bet.
fn assert_drawn_once(log: &[String]) {
    let drawn: Vec<usize> = positions(log, "action: sorteo | result: success");
    let received = positions(log, "action: apuesta_recibida | result: success");
    assert_eq!(drawn.len(), 1, "one draw: {log:#?}");
    assert!(received.last() < drawn.last(), "the draw comes after every bet: {log:#?}");
}

fn positions(log: &[String], token: &str) -> Vec<usize> {
    (0..).zip(log).filter(|(_, line)| line.contains(token)).map(|(at, _)| at).collect()
}

/// The sum of `cantidad` over the stored batches.
fn bets_logged(log: &[String]) -> u64 {
    let token = "action: apuesta_recibida | result: success | cantidad: ";
    log.iter().filter_map(|line| line.split_once(token)?.1.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// How many winners each agency was told, from the runner's JSON.
fn counts(json: &str) -> Vec<usize> {
    json.split(']')
        .filter(|part| part.contains('['))
        .map(|part| {
            let list = part.rsplit('[').next().unwrap_or_default();
            list.matches('"').count() / 2
        })
        .collect()
}

/// A draw of the course's bets: the winners and the number of rows that they are known to give.
fn draw_of_the_data(dialects: &str) {
    let Some(data) = common::course_data() else { return };
    let data = data.display().to_string();
    let Some((out, log)) = draw(dialects, &[], &["--data", &data]) else { return };
    assert_eq!(counts(&out), [2, 3, 3, 2, 0], "{out}");
    assert_eq!(bets_logged(&log), 78_697);
    assert_drawn_once(&log);
}

#[test]
fn the_clients_write_the_bytes_that_the_documents_print() {
    if let Some(output) = python("documented.py", &[]) {
        success(&output);
    }
}

#[test]
fn five_dialects_draw_together_on_the_data() {
    draw_of_the_data(FIVE);
}

#[test]
fn the_other_forms_of_the_dialects_draw_together_on_the_data() {
    draw_of_the_data(VARIANTS);
}

#[test]
fn a_native_client_that_loses_its_connection_resumes_and_stores_nothing_twice_on_the_data() {
    draw_of_the_data(ROTATED);
}

#[test]
#[ignore = "minutes: make mixed-runs"]
fn fifty_mixed_draws_in_a_row() {
    for run in 0..50 {
        draw_of_the_data([FIVE, VARIANTS, ROTATED][run % 3]);
    }
}

#[test]
fn awkward_names_documents_and_numbers_are_stored_as_sent_in_every_dialect() {
    let variants = ["text-per-message", "key-value-colon", "binary-length-first", "native-one-at-a-time"];
    let every = [dialects(), variants.to_vec()].concat();
    for batch in ["1", "17", "90"] {
        let generated = ["--generate", "200", "--seed", batch, "--batch", batch];
        let Some((out, log)) = draw(&every.join(","), &[], &generated) else { return };
        assert_eq!(counts(&out).len(), every.len(), "{out}");
        assert_eq!(bets_logged(&log), 200 * every.len() as u64);
        assert_drawn_once(&log);
    }
}

#[test]
fn agencies_of_one_dialect_draw_together() {
    for dialect in dialects() {
        let Some((_, log)) = draw(&[dialect; 5].join(","), &[], &["--generate", "100"]) else { return };
        assert_eq!(bets_logged(&log), 500, "{dialect}");
        assert_drawn_once(&log);
    }
}

#[test]
fn frames_in_pieces_mean_the_same_as_whole_ones() {
    for split in ["bytes", "random"] {
        for dialects in [FIVE, VARIANTS] {
            let pieces = ["--generate", "60", "--batch", "7", "--split", split];
            let Some((_, log)) = draw(dialects, &[], &pieces) else { return };
            assert_eq!(bets_logged(&log), 300);
        }
    }
}

#[test]
fn clients_that_are_told_not_yet_ask_until_the_draw() {
    let settings = [("LOTTERY_EARLY_QUERY", "reject")];
    let generated = ["--generate", "300", "--early-rejects"];
    let Some((_, log)) = draw("binary,text,text-per-message,binary-length-first,case-id,native", &settings, &generated)
    else {
        return;
    };
    assert_drawn_once(&log);
}

#[test]
fn early_queries_are_answered_not_yet_where_the_operator_says_so() {
    let hub = hub(&[("LOTTERY_AGENCIES", "3"), ("LOTTERY_EARLY_QUERY", "reject")]);
    let arguments = ["--server", &hub.address.to_string(), "--early-rejects"];
    let Some(output) = python("errors.py", &arguments) else { return };
    success(&output);
    stop(hub);
}

#[test]
fn agencies_that_all_send_no_bets_draw_too() {
    let Some((out, log)) = draw(FIVE, &[], &["--generate", "0"]) else { return };
    assert_eq!(counts(&out), [0; 5]);
    assert_drawn_once(&log);
}

#[test]
fn every_error_is_answered_as_the_documents_say() {
    let hub = hub(&[("LOTTERY_AGENCIES", "8"), ("LOTTERY_UNNUMBERED_AGENCIES", "7")]);
    let Some(output) = python("errors.py", &["--server", &hub.address.to_string()]) else { return };
    success(&output);
    assert!(positions(&stop(hub), "action: sorteo | result: success").is_empty());
}
