//! A short run of the fuzz target `status`: any bytes to a connection of the status service, in any pieces.
//!
//! Bounded by count, and the same every time. The real runs are `make fuzz`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod fuzz_kit;
#[path = "../fuzz/status.rs"]
mod status;

use fuzz_kit::{corpus, fuzz_path, short_run};

#[test]
fn mutated_requests_are_answered_or_refused() {
    short_run("status", &corpus("status"), 1000, status::run);
}

#[test]
fn the_body_has_its_fuzz_target() {
    let manifest = std::fs::read_to_string(fuzz_path("Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"status\""), "fuzz/Cargo.toml has no status");
    let code = std::fs::read_to_string(fuzz_path("fuzz_targets/status.rs")).unwrap();
    assert!(code.contains("status::run(input)"), "the target runs something else");
}
