//! Another program removes, renames, replaces or cuts the files of a running hub's store: it ends, and says why.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use common::{Hub, binary_batch, hub, upload_until_the_end};

const FILES: [&str; 3] = ["bets.csv", "bets.csv.journal", "bets.csv.redo"];

/// How the hub calls it, and what is done to a file or folder.
type Deed = (&'static str, fn(&Path));

/// What can be done to a file.
const DEEDS: [Deed; 6] = [
    ("was removed or renamed", |file| fs::remove_file(file).unwrap()),
    ("was removed or renamed", |file| fs::rename(file, file.with_extension("away")).unwrap()),
    ("was replaced", |file| {
        let other = file.with_extension("other");
        fs::copy(file, &other).unwrap();
        fs::rename(&other, file).unwrap();
    }),
    ("was replaced", |file| {
        let bytes = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        fs::write(file, bytes).unwrap();
    }),
    ("was shortened", |file| OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap()),
    ("was shortened", |file| {
        let open = OpenOptions::new().write(true).open(file).unwrap();
        open.set_len(open.metadata().unwrap().len() - 1).unwrap();
    }),
];

/// A hub with a batch in its store, whose files are in a folder of their own.
fn with_a_batch() -> Hub {
    let start = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_PATH", "store/bets.csv");
    let hub = start.with(|command| fs::create_dir(command.get_current_dir().unwrap().join("store")).unwrap()).start();
    let mut peer = hub.connect();
    peer.send(&binary_batch(1, 0, 1));
    peer.expect(&[0]);
    hub
}

fn ends_with(hub: Hub, what: &str) {
    let said = hub.wait_for("CRITICAL action: store | result: fail");
    let (status, log) = hub.end();
    assert!(said.contains(what) && said.contains("by another program"), "{what}: {said}");
    assert_eq!(status.code(), Some(74), "{log}");
    assert!(!log.contains("close_store"), "{log}");
}

#[test]
fn an_idle_hub_notices_what_happens_to_each_of_its_files() {
    for file in FILES {
        for (what, deed) in DEEDS {
            let hub = with_a_batch();
            deed(&hub.path("store").join(file));
            ends_with(hub, &format!("{file} {what}"));
        }
    }
}

#[test]
fn an_idle_hub_notices_that_its_folder_is_gone_and_that_its_rows_have_grown() {
    let deeds: [Deed; 3] = [
        ("bets.csv was removed or renamed", |folder| fs::rename(folder, folder.with_extension("away")).unwrap()),
        ("bets.csv was removed or renamed", |folder| fs::remove_dir_all(folder).unwrap()),
        ("bets.csv was lengthened", |folder| {
            let rows = OpenOptions::new().append(true).open(folder.join("bets.csv"));
            rows.unwrap().write_all(b"1,Ana,Paz,1,1999-03-17,1\r\n").unwrap();
        }),
    ];
    for (what, deed) in deeds {
        let hub = with_a_batch();
        deed(&hub.path("store"));
        ends_with(hub, what);
    }
}

#[test]
fn a_busy_hub_acknowledges_no_more() {
    for file in FILES {
        // A cut under load can come in the moment between a look and a write that makes the file as long as it was.
        for (what, deed) in DEEDS.into_iter().filter(|(what, _)| *what != "was shortened") {
            let hub = with_a_batch();
            let upload = upload_until_the_end(hub.connect(), 1);
            hub.wait_for_count("action: apuesta_recibida | result: success", 20);
            deed(&hub.path("store").join(file));
            // A replacement that was copied under load may have another length, too.
            ends_with(hub, if what == "was replaced" { "was " } else { what });
            upload.join().unwrap();
        }
    }
}

#[test]
fn a_hub_that_is_stopped_in_the_same_moment_does_not_say_that_all_is_well() {
    let hub = with_a_batch();
    fs::remove_file(hub.path("store").join("bets.csv")).unwrap();
    hub.signal(15);
    ends_with(hub, "bets.csv was removed or renamed");
}
