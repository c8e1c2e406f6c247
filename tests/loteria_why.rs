//! `loteria why`: a sentence for each agency that the draw waits for, against an HTTP server in place of the hub.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod loteria_kit;

use loteria::status::report::{Agency, AgencyState, DrawState, Engine};
use loteria_kit::loteria;
use loteria_kit::reports::{agency, drawn, engine, reporting, waiting};

#[test]
fn why_has_a_sentence_for_each_missing_agency() {
    let folder = tempfile::tempdir().unwrap();
    let hub = reporting(folder.path(), &waiting());
    let (code, out, err) = loteria(folder.path(), &["why"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let expected = [
        "The draw waits for 5 agencies; 1 query waits for 1m1s.",
        "Agency 1 has never been seen: no connection has spoken for it.",
        "Agency 2 is connected from 10.0.0.7:4321 (native), silent for 32s, and no bet of it is stored: its client may wait for its own file.",
        "Agency 3 is uploading from 10.0.0.7:4321 (native): 1,240 bets in 20 batches so far, 512/s, last heard 0.2s ago; it last did: sent a batch of 62 bets.",
        "Agency 4 is connected from 10.0.0.7:4321 (native) and silent for 1m15s after 1,240 bets in 20 batches: its client may wait for its own file.",
        "Agency 5 was lost 3m20s ago: its last connection from 10.0.0.9:99 ended after 1,240 bets in 20 batches and before its finish; 3 batches were rejected, the last one because: bet 2: document.[2J.",
        "Agency 6 is excluded: it was lost after 1,240 bets, and the draw does not wait for it.",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    assert_eq!(hub.requests(), ["GET /status.json"]);
}

#[test]
fn why_blames_the_disk_a_rejection_an_end_or_an_earlier_run_and_not_the_agencys_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = waiting();
    let rejected = "sent a batch that was rejected: bet 2: document".to_owned();
    for at in [1, 3] {
        report.agencies[at].last_did = Some(rejected.clone());
    }
    report.agencies[2] = Agency {
        state: AgencyState::Gone,
        connections: 0,
        last_heard: Some(9.0),
        last_did: None,
        ..report.agencies[2].clone()
    };
    report.agencies[4] = Agency { lost_for: Some(0.4), bets: 5, batches: 1, ..agency(5, AgencyState::Lost) };
    report.agencies[0] = Agency {
        last_heard: Some(6.0),
        peer: Some("10.0.0.9:99".to_owned()),
        last_did: Some("its connection ended: peer closed".to_owned()),
        ..agency(1, AgencyState::Gone)
    };
    let hub = reporting(folder.path(), &report);
    let (_, out, _) = loteria(folder.path(), &["why"]);
    drop(hub);
    let expected = [
        "Agency 1 was connected from 10.0.0.9:99, has no connection now, and no bet of it is stored, last heard 6.0s ago; it last did: its connection ended: peer closed.",
        "Agency 2 is connected from 10.0.0.7:4321 (native), silent for 32s, and no bet of it is stored: its last batch was rejected; it last did: sent a batch that was rejected: bet 2: document.",
        "Agency 3 has no connection now: its last one from 10.0.0.7:4321 (native) ended after 1,240 bets in 20 batches, and it was last heard 9.0s ago.",
        "Agency 4 is connected from 10.0.0.7:4321 (native) and silent for 1m15s after 1,240 bets in 20 batches: its last batch was rejected; it last did: sent a batch that was rejected: bet 2: document.",
        "Agency 5 has 5 bets in 1 batch of an earlier run, and has not been heard since the hub started.",
    ];
    assert_eq!(out.lines().skip(1).take(5).collect::<Vec<_>>(), expected);

    for (full, free) in [(true, Some(1 << 20)), (false, Some(0))] {
        (report.store.full, report.store.disk_free_bytes) = (full, free);
        let _hub = reporting(folder.path(), &report);
        let (_, out, _) = loteria(folder.path(), &["why"]);
        let told: Vec<&str> = out.lines().collect();
        assert_eq!(told[1], "The hub's disk is full: it rejects every batch until there is space.");
        for connected in [told[3], told[5]] {
            assert!(connected.contains(": the hub's disk is full; "), "{connected}");
        }
        assert!(!out.contains("its own file"), "{out}");
    }
    (report.store.full, report.store.disk_free_bytes, report.unhealthy) =
        (false, None, Some("not listening".to_owned()));
    let _hub = reporting(folder.path(), &report);
    let (_, out, _) = loteria(folder.path(), &["why"]);
    assert_eq!(out.lines().nth(1), Some("The hub is not healthy: not listening."));
    assert!(out.contains(": the hub is not healthy; ") && !out.contains("its own file"), "{out}");
}

#[test]
fn why_says_that_an_agency_may_be_at_another_hub_and_that_the_draw_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = waiting();
    report.agencies[0].state = AgencyState::NotHere;
    report.agencies[1] = Agency { bets: 70, batches: 2, ..agency(2, AgencyState::NotHere) };
    report.engine = Some(Engine { held: true, held_because: Some("bets are gone".to_owned()), ..engine() });
    let hub = reporting(folder.path(), &report);
    let out = loteria(folder.path(), &["why"]).1;
    for told in [
        "The draw is held until a person says that it may be made: bets are gone.",
        "Agency 1 is not connected here, and no bet of it is stored by any hub of this draw.",
        "Agency 2 is betting, not connected here: 70 bets in 2 batches so far by all hubs of this draw, it may be at another one.",
    ] {
        assert!(out.lines().any(|line| line == told), "{told}: {out}");
    }
    drop(hub);
    // What other hubs store meanwhile is not known.
    report.trouble = Some("db1: gone".to_owned());
    let _hub = reporting(folder.path(), &report);
    let out = loteria(folder.path(), &["why"]).1;
    for (agency, known) in [(1, "0 bets in 0 batches"), (2, "70 bets in 2 batches")] {
        let told = format!(
            "Agency {agency} is not connected here: {known} of it were known before, and other hubs may have stored more since"
        );
        assert!(out.lines().any(|line| line.starts_with(&told)), "{told}: {out}");
    }
}

#[test]
fn why_says_when_the_draw_was_made_or_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut none = drawn(None);
    none.draw.state = DrawState::None;
    let mut held = drawn(None);
    held.engine = Some(Engine { held: true, ..engine() });
    let mut due = drawn(None);
    due.draw.state = DrawState::Open;
    let mut alone = waiting();
    alone.agencies.retain(|agency| agency.state == AgencyState::Excluded);
    (alone.draw.waiting_for, alone.draw.waiting_count) = (Vec::new(), 0);
    for (report, says) in [
        (
            alone,
            "Every agency is excluded: there is no agency left to draw for. A new draw needs a new store.\n\
             Agency 6 is excluded: it was lost after 1,240 bets, and the draw does not wait for it.\n",
        ),
        (
            drawn(Some(75.0)),
            "The draw has been made on number 7574, at 2024-08-21 22:10:00 UTC, 1m15s ago; 10 bets won.\n",
        ),
        (drawn(None), "The draw has been made on number 7574, in an earlier run of the hub; 10 bets won.\n"),
        (held, "The draw has been made on number 7574, in an earlier run of the hub; 10 bets won.\n"),
        (none, "There is no draw: the roster of this hub is empty.\n"),
        (due, "Every agency has finished: the draw is due.\n"),
    ] {
        let _hub = reporting(folder.path(), &report);
        assert_eq!(loteria(folder.path(), &["why"]), (Some(0), says.to_owned(), String::new()));
    }
}
