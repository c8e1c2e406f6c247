//! A short run of every dialect's fuzz target on any toolchain: its corpus and the golden exchanges, mutated.
//!
//! Bounded by count, and the same every time. The real runs are `make fuzz`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fuzz/body.rs"]
mod body;
mod fuzz_kit;
mod golden;

use loteria::wire::Dialect;
use proptest::prelude::*;

use fuzz_kit::{corpus, fuzz_path};

/// How often each seed is mutated.
const MUTATIONS: usize = 2000;

fn target(dialect: Dialect) -> String {
    dialect.name().replace('-', "_")
}

/// What a mutation starts from: every golden frame and answer, every conversation, and what the corpus keeps.
fn seeds(dialect: Dialect) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for conversation in golden::of(dialect) {
        seeds.push(conversation.exchanges.iter().flat_map(|exchange| exchange.frame.clone()).collect());
        for exchange in conversation.exchanges {
            seeds.extend([exchange.frame, exchange.bytes]);
        }
    }
    seeds.extend(corpus(&target(dialect)));
    seeds
}

fn short_run(dialect: Dialect, body: fn(&[u8])) {
    fuzz_kit::short_run(dialect.name(), &seeds(dialect), MUTATIONS, body);
}

#[test]
fn mutated_binary_breaks_nothing() {
    short_run(Dialect::Binary, |input| body::run(Dialect::Binary, input));
}

#[test]
fn mutated_case_id_breaks_nothing() {
    short_run(Dialect::CaseId, |input| body::run(Dialect::CaseId, input));
}

#[test]
fn mutated_text_breaks_nothing() {
    short_run(Dialect::Text, |input| body::run(Dialect::Text, input));
}

#[test]
fn mutated_key_value_breaks_nothing() {
    short_run(Dialect::KeyValue, |input| body::run(Dialect::KeyValue, input));
}

#[test]
fn mutated_csv_breaks_nothing() {
    short_run(Dialect::Csv, |input| body::run(Dialect::Csv, input));
}

#[test]
fn mutated_native_breaks_nothing() {
    short_run(Dialect::Native, |input| body::run(Dialect::Native, input));
}

#[test]
fn mutated_echo_breaks_nothing() {
    short_run(Dialect::Echo, |input| body::run(Dialect::Echo, input));
}

#[test]
fn every_dialect_has_a_fuzz_target() {
    let manifest = std::fs::read_to_string(fuzz_path("Cargo.toml")).unwrap();
    for dialect in Dialect::ALL {
        let target = target(*dialect);
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml has no {target}");
        let code = std::fs::read_to_string(fuzz_path(&format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(code.contains(&format!("Dialect::{dialect:?}, input")), "{target} is another dialect's");
        let call = format!("    short_run(Dialect::{dialect:?}, ");
        assert!(include_str!("wire_fuzz.rs").contains(&call), "no test here calls short_run(Dialect::{dialect:?}, …)");
    }
}

proptest! {
    #[test]
    fn any_bytes_at_all_break_nothing(input in prop::collection::vec(any::<u8>(), 0..300)) {
        for dialect in Dialect::ALL {
            body::run(*dialect, &input);
        }
    }
}
