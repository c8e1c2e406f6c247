//! Any bytes, as a stream and as answers of this dialect.
#![no_main]

#[path = "../body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::run(loteria::wire::Dialect::Binary, input));
