//! A start on any rows and journal.
#![no_main]

#[path = "../recovery.rs"]
mod recovery;
#[path = "../../tests/storage_kit/mod.rs"]
mod storage_kit;

libfuzzer_sys::fuzz_target!(|input: &[u8]| recovery::run(input));
