//! One peer that asks and reads as fast as it can, and others beside it: everybody gets a turn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::machine::eventually;
use common::{binary, binary_batch, hub};

/// An upload of agency 1 beside it, in as many answers.
const BATCHES: u32 = 200;

#[test]
fn a_fast_reader_of_many_small_answers_starves_nobody() {
    let hub = hub().env("LOTTERY_AGENCIES", "1").env("STORAGE_FSYNC", "never").start();
    let greedy = hub.connect();
    // Finishes of an agency that there is not: twelve bytes, of which each is answered with one.
    let requests = binary(2, &[9], &[]).repeat(10_000);
    let (mut asking, mut reading) = (greedy.stream.try_clone().unwrap(), greedy.stream.try_clone().unwrap());
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answers);
    let asker = std::thread::spawn(move || while asking.write_all(&requests).is_ok() {});
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(bytes @ 1..) = reading.read(&mut buffer) {
            counted.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    eventually("it is answered", || answers.load(Ordering::Relaxed) > 100_000);
    let before = answers.load(Ordering::Relaxed);
    let mut honest = hub.connect();
    for document in 0..BATCHES {
        honest.send(&binary_batch(1, document, 1));
        honest.expect(&[0]);
    }
    let meanwhile = answers.load(Ordering::Relaxed) - before;
    greedy.stream.shutdown(Shutdown::Both).unwrap();
    asker.join().unwrap();
    reader.join().unwrap();
    // A turn answers 4096 of its requests at most, and each turn answers the other, too; some hundreds are usual.
    let per_batch = meanwhile / BATCHES as usize;
    assert!(meanwhile > 0, "it was busy all the time");
    assert!(per_batch <= 16 * 4096, "{per_batch} answers to the one for each of the other");
}
