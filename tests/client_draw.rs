//! Real clients, a real hub, and the bets of `.data`: the whole draw.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;
mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use client_kit::{Client, Start, client};

/// Winners of agencies 1 to 5 of `.data`, with the number that wins by default.
const WINNERS: [usize; 5] = [2, 3, 1, 4, 0];

fn data(agency: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".data/agency-{agency}.csv"))
}

fn agency(hub: &common::Hub, agency: usize, protocol: &str) -> Start {
    client()
        .hub(hub.address)
        .env("CLI_ID", &agency.to_string())
        .env("CLI_DATA", data(agency).to_str().unwrap())
        .env("CLI_PROTOCOL", protocol)
}

fn assert_winners(running: Client, expected: usize) {
    let ended = running.end();
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{}", ended.log);
    let said = format!("action: consulta_ganadores | result: success | cant_ganadores: {expected}");
    assert_eq!(ended.said("consulta_ganadores"), [said], "{}", ended.log);
    assert_eq!(ended.said("ganador").len(), expected);
}

/// Every row of the hub's file against every row of the agencies' own.
fn assert_stored(hub: &common::Hub) {
    let stored = String::from_utf8(hub.rows()).unwrap();
    for agency in 1..=5 {
        let prefix = format!("{agency},");
        let own: Vec<_> = stored.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let sent = std::fs::read_to_string(data(agency)).unwrap();
        assert!(own == sent.lines().collect::<Vec<_>>(), "agency {agency}: {} rows are stored", own.len());
    }
}

#[test]
fn five_agencies_draw_in_every_dialect() {
    for protocol in loteria::agency::protocols() {
        let hub = common::hub().start();
        let clients: Vec<_> = if protocol == "csv" {
            // The hub knows these by the order in which they come.
            let all = (1..=5).map(|id| {
                let running = agency(&hub, id, protocol).start();
                running.wait_for("action: send_batch | result: success");
                running
            });
            all.collect()
        } else {
            (1..=5).map(|id| agency(&hub, id, protocol).start()).collect()
        };
        for (running, winners) in clients.into_iter().zip(WINNERS) {
            assert_winners(running, winners);
        }
        assert_stored(&hub);
    }
}

#[test]
fn the_courses_own_bets_draw_with_its_own_winners() {
    let Some(folder) = common::course_data() else { return };
    let hub = common::hub().start();
    let clients: Vec<_> = (1..=5)
        .map(|id| {
            let file = folder.join(format!("agency-{id}.csv"));
            agency(&hub, id, "native").env("CLI_DATA", file.to_str().unwrap()).start()
        })
        .collect();
    for (running, winners) in clients.into_iter().zip([2, 3, 3, 2, 0]) {
        assert_winners(running, winners);
    }
    assert_eq!(hub.rows().iter().filter(|byte| **byte == b'\n').count(), 78_697);
}

#[test]
fn a_client_killed_in_the_middle_goes_on_where_it_was() {
    let hub = common::hub().start();
    for batches in [1, 20, 40] {
        let running = agency(&hub, 1, "native").env("CLI_BATCH_MAXAMOUNT", "10").start();
        hub.wait_for_count("action: apuesta_recibida | result: success", batches);
        running.signal("KILL");
        assert_eq!(running.end().signal, Some(9));
    }
    let first = agency(&hub, 1, "native").env("CLI_BATCH_MAXAMOUNT", "10").start();
    first.wait_for("action: resume | result: success");
    let others: Vec<_> = (2..=5).map(|id| agency(&hub, id, "native").start()).collect();
    for (running, winners) in std::iter::once(first).chain(others).zip(WINNERS) {
        assert_winners(running, winners);
    }
    assert_stored(&hub);
}

#[test]
fn a_hub_killed_in_the_middle_and_started_again_changes_nothing() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let hub = common::in_folder(folder).start();
    let port = hub.address.port().to_string();
    let clients: Vec<_> =
        (1..=5).map(|id| agency(&hub, id, "native").env("CLI_BATCH_MAXAMOUNT", "10").start()).collect();
    hub.wait_for_count("action: apuesta_recibida | result: success", 50);
    let folder = hub.kill();
    let hub = common::in_folder(folder).env("SERVER_PORT", &port).start();
    for (running, winners) in clients.into_iter().zip(WINNERS) {
        assert_winners(running, winners);
    }
    assert_stored(&hub);
}

#[test]
fn single_bets_are_stored_as_often_as_they_are_made() {
    let hub = common::hub().start();
    let mut expected = BTreeSet::new();
    for number in 1..=3 {
        let running = client()
            .hub(hub.address)
            .env("NOMBRE", "Santiago Lionel")
            .env("APELLIDO", "Lorca")
            .env("DOCUMENTO", "30904465")
            .env("NACIMIENTO", "1999-03-17")
            .env("NUMERO", &number.to_string())
            .start();
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        expected.insert(format!("1,Santiago Lionel,Lorca,30904465,1999-03-17,{number}"));
    }
    let stored = String::from_utf8(hub.rows()).unwrap();
    assert_eq!(stored.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
}
