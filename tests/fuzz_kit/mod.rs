//! Short runs of fuzz targets on any toolchain: their corpus, mutated the same way every time, and bounded by count.
//! The real runs are `make fuzz`.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::path::PathBuf;

/// Numbers that lengths and counts break at.
const EDGES: [u32; 10] = [0, 1, 3, 255, 256, 4096, 65_535, 65_536, 1 << 31, u32::MAX];

/// A path in `fuzz/`.
pub fn fuzz_path(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(below)
}

/// What the corpus keeps for `target`.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let corpus = fuzz_path("corpus").join(target);
    let mut files: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Runs `body` on each of `seeds`, and on `mutations` mutations of each.
pub fn short_run(target: &str, seeds: &[Vec<u8>], mutations: usize, body: fn(&[u8])) {
    let mut random = Random(0x5eed);
    for seed in seeds {
        try_one(target, seed, body);
        for _ in 0..mutations {
            let other = &seeds[random.below(seeds.len())];
            try_one(target, &mutate(seed, other, &mut random), body);
        }
    }
}

/// The input is told where a check in the body fails.
fn try_one(target: &str, input: &[u8], body: fn(&[u8])) {
    let outcome = std::panic::catch_unwind(|| body(input));
    assert!(outcome.is_ok(), "{target} failed on {}", input.escape_ascii());
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
