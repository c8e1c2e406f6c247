//! Whole sessions with an engine over a disk in memory.
#![no_main]

#[path = "../engine/mod.rs"]
mod engine;
#[path = "../../tests/storage_kit/mod.rs"]
mod storage_kit;

libfuzzer_sys::fuzz_target!(|input: &[u8]| engine::run(input));
