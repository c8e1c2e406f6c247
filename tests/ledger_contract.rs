//! The model of PostgreSQL (`tests/engine_model`) is held to PostgreSQL itself.
//!
//! The same bytes go to the model and to a PostgreSQL 15, and every answer is compared: rows, tags, SQLSTATEs, names of
//! constraints, warnings. Where the model says that a link waits for a lock or for a standby, the server must say so, too. First
//! come the cases that the hub relies on, one by one; then random interleavings of two instances, cut in the middle of turns.
//! `LEDGER_CONTRACT_SEEDS=5000` runs more of them, `LEDGER_CONTRACT_SEED=42` one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // As helpers of tests may.

#[path = "ledger_contract/bytes.rs"]
mod bytes;
#[path = "ledger_contract/cases.rs"]
mod cases;
mod engine_model;
mod environment;
#[path = "ledger_contract/interleaved.rs"]
mod interleaved;
#[path = "ledger_contract/pair.rs"]
mod pair;
#[path = "ledger_contract/real.rs"]
mod real;

use std::io::Write;

use pair::Bench;

const SEEDS: u64 = 100;

#[test]
fn the_model_answers_as_postgresql_does() {
    let mut bench = match real::Server::start() {
        Ok(server) => Bench::new(server),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: the model of PostgreSQL is compared with nothing: {why}");
            return;
        }
    };
    for (name, case) in cases::ALL {
        bench.begin(name, &cases::ROSTER);
        case(&mut bench);
        bench.compare_tables();
    }
    let seeds = match environment::number("LEDGER_CONTRACT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..environment::number("LEDGER_CONTRACT_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = interleaved::Seen::default();
    for seed in seeds {
        bench.begin(&format!("LEDGER_CONTRACT_SEED={seed}"), &cases::ROSTER);
        interleaved::run(&mut bench, seed, &mut seen);
        bench.compare_tables();
    }
    println!("{seen:?}");
    assert!(
        environment::number("LEDGER_CONTRACT_SEED").is_some() || seen.everything(),
        "the runs show too little: {seen:?}"
    );
}

/// The comparison says nothing about the hub if the hub sends other statements.
#[test]
fn the_statements_are_those_of_the_hub() {
    let Ok(hub) = std::fs::read_to_string("src/storage/ledger/statements.rs") else {
        let _ = writeln!(std::io::stderr(), "skipped: the hub has no statements yet");
        return;
    };
    for (name, sql, _) in bytes::PREPARED {
        assert!(hub.contains(&format!("\"{sql}\"")), "{name} is another one in src/storage/ledger/statements.rs");
    }
}
