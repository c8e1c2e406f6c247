//! A short run of every fuzz target on any toolchain: its corpus and the golden exchanges, mutated.
//!
//! Bounded by count, and the same every time. The real runs are `cargo +nightly fuzz run TARGET`, from `fuzz/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fuzz/body.rs"]
mod body;
mod golden;

use loteria::wire::Dialect;
use proptest::prelude::*;
use std::path::PathBuf;

/// How often each seed is mutated.
const MUTATIONS: usize = 2000;
/// Numbers that lengths and counts break at.
const EDGES: [u32; 10] = [0, 1, 3, 255, 256, 4096, 65_535, 65_536, 1 << 31, u32::MAX];

fn fuzz_path(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(below)
}

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
    let corpus = fuzz_path("corpus").join(target(dialect));
    let mut files: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    files.sort();
    seeds.extend(files.iter().map(|file| std::fs::read(file).unwrap()));
    seeds
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % end.max(1)
    }
}

/// `bytes` with one to four changes.
fn mutate(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below(bytes.len() - at + 1).min(16);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, b"|\\:,\n 0\xff\0"[random.below(9)]),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            4 => {
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            5 => {
                let edge = EDGES[random.below(EDGES.len())].to_be_bytes();
                let width = [1, 2, 4][random.below(3)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge[4 - width..]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

fn short_run(dialect: Dialect) {
    let seeds = seeds(dialect);
    let mut random = Random(0x5eed);
    for seed in &seeds {
        body::run(dialect, seed);
        for _ in 0..MUTATIONS {
            let other = &seeds[random.below(seeds.len())];
            let input = mutate(seed, other, &mut random);
            // The input is told where a check in the body fails.
            let outcome = std::panic::catch_unwind(|| body::run(dialect, &input));
            assert!(outcome.is_ok(), "{} failed on {}", dialect.name(), input.escape_ascii());
        }
    }
}

#[test]
fn mutated_binary_breaks_nothing() {
    short_run(Dialect::Binary);
}

#[test]
fn mutated_case_id_breaks_nothing() {
    short_run(Dialect::CaseId);
}

#[test]
fn mutated_text_breaks_nothing() {
    short_run(Dialect::Text);
}

#[test]
fn mutated_key_value_breaks_nothing() {
    short_run(Dialect::KeyValue);
}

#[test]
fn mutated_csv_breaks_nothing() {
    short_run(Dialect::Csv);
}

#[test]
fn mutated_native_breaks_nothing() {
    short_run(Dialect::Native);
}

#[test]
fn mutated_echo_breaks_nothing() {
    short_run(Dialect::Echo);
}

#[test]
fn every_dialect_has_a_fuzz_target() {
    let manifest = std::fs::read_to_string(fuzz_path("Cargo.toml")).unwrap();
    for dialect in Dialect::ALL {
        let target = target(*dialect);
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml has no {target}");
        let code = std::fs::read_to_string(fuzz_path(&format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(code.contains(&format!("Dialect::{dialect:?}, input")), "{target} is another dialect's");
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
