//! Short runs of the fuzz targets that are more than a dialect: whole sessions, starts on any files, configurations,
//! and a client's uploads.
//!
//! Bounded by count, and the same every time. The real runs are `make fuzz`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fuzz/client.rs"]
mod client;
#[path = "../fuzz/config.rs"]
mod config;
mod fuzz_kit;
mod golden;
#[path = "../fuzz/recovery.rs"]
mod recovery;
#[path = "../fuzz/session/mod.rs"]
mod session;
mod storage_kit;

use fuzz_kit::{corpus, fuzz_path, short_run};
use loteria::wire::Dialect;
use session::step;

/// Every golden conversation as a session: frame by frame, and all in one with a power cut behind it.
fn golden_sessions() -> Vec<Vec<u8>> {
    let mut sessions = Vec::new();
    for (_, conversation) in golden::all() {
        // Three agencies, one record of journal at a time; the second byte has both.
        let start = [u8::from(conversation.early_reject), 2, step::OPEN, 0, 255];
        let (mut apart, mut together) = (start.to_vec(), start.to_vec());
        for exchange in &conversation.exchanges {
            for piece in exchange.frame.chunks(255) {
                let said = [&[step::RAW, 0, u8::try_from(piece.len()).unwrap()], piece].concat();
                apart.extend(&said);
                together.extend(&said);
            }
            apart.push(step::SETTLE);
        }
        apart.extend([step::PASS, 6, step::HALF_CLOSE, 0, step::SETTLE, step::KILL]);
        together.extend([step::TURN, step::POWER_CUT]);
        sessions.extend([apart, together]);
    }
    sessions
}

/// What hubs answer in every golden conversation, to an upload of a few bets.
fn golden_uploads() -> Vec<Vec<u8>> {
    let mut uploads = Vec::new();
    for (dialect, conversation) in golden::all() {
        let dialects = Dialect::ALL.iter();
        let Some(choice) = dialects.filter(|it| **it != Dialect::Echo).position(|it| *it == dialect) else { continue };
        let mut upload = vec![u8::try_from(choice).unwrap(), 3];
        for piece in conversation.exchanges.iter().flat_map(|exchange| exchange.bytes.chunks(63)) {
            upload.extend([&[u8::try_from(piece.len()).unwrap()], piece].concat());
        }
        uploads.push(upload);
    }
    uploads
}

#[test]
fn mutated_sessions_break_nothing() {
    let mut seeds = corpus("session");
    seeds.extend(golden_sessions());
    short_run("session", &seeds, 6, session::run);
}

#[test]
fn mutated_stores_are_refused_or_recovered() {
    short_run("recovery", &corpus("recovery"), 40, recovery::run);
}

#[test]
fn mutated_configurations_are_taken_or_refused_in_a_line() {
    let mut seeds = corpus("config");
    seeds.extend(["config.ini", "config.yaml"].map(|name| std::fs::read(name).unwrap()));
    short_run("config", &seeds, 40, config::run);
}

#[test]
fn mutated_answers_break_no_client() {
    let mut seeds = corpus("client");
    seeds.extend(golden_uploads());
    short_run("client", &seeds, 100, client::run);
}

#[test]
fn every_body_has_its_fuzz_target() {
    let manifest = std::fs::read_to_string(fuzz_path("Cargo.toml")).unwrap();
    for target in ["session", "recovery", "config", "client"] {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml has no {target}");
        let code = std::fs::read_to_string(fuzz_path(&format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(code.contains(&format!("{target}::run(input)")), "{target} runs something else");
    }
}

/// The golden conversations are in the corpus, too, where `make fuzz` finds them.
#[test]
#[ignore = "after a change of the golden conversations"]
fn write_golden_seeds() {
    for (target, seeds) in [("session", golden_sessions()), ("client", golden_uploads())] {
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(fuzz_path(&format!("corpus/{target}/golden-{number:03}")), seed).unwrap();
        }
    }
}
