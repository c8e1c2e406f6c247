//! Whole sessions with a hub over a disk in memory.
#![no_main]

#[path = "../session/mod.rs"]
mod session;
#[path = "../../tests/storage_kit/mod.rs"]
mod storage_kit;

libfuzzer_sys::fuzz_target!(|input: &[u8]| session::run(input));
