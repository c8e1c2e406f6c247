//! See `../status.rs`.
#![no_main]

#[path = "../status.rs"]
mod status;

libfuzzer_sys::fuzz_target!(|input: &[u8]| status::run(input));
