//! The server's own copy of a store that a hub writes to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use common::{hub, in_folder, upload_until_the_end};

#[test]
fn a_hub_under_load_is_copied_by_the_servers_own_command() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").start();
    let upload = upload_until_the_end(hub.connect(), 7574);
    hub.wait_for_count("action: apuesta_recibida | result: success", 50);
    let copy_to = |name: &str| {
        let start = in_folder(std::sync::Arc::clone(&hub.folder));
        start.arg("--copy").arg(name).run()
    };
    for round in 0..20 {
        let acknowledged = hub.count("action: apuesta_recibida | result: success");
        let name = format!("copy-{round}");
        let (code, out, err) = copy_to(&name);
        assert_eq!(code, Some(0), "{err}");
        let (_, told) = out.split_once(": ").unwrap();
        let bets: usize = told.split(' ').next().unwrap().parse().unwrap();
        assert!(bets + 1 >= acknowledged, "{bets} of {acknowledged}");
    }
    let (code, _, err) = copy_to("copy-0");
    assert_eq!((code, err.contains("copy-0: is there already; name a new folder")), (Some(2), true), "{err}");
    let (code, _, err) = copy_to("no/folder");
    assert_eq!(code, Some(74), "{err}");
    let folder = hub.kill();
    upload.join().unwrap();
    let copied = in_folder(folder).env("LOTTERY_AGENCIES", "1").env("STORAGE_PATH", "copy-19/bets.csv").start();
    copied.wait_for("action: recover | result: success | bets: ");
}
