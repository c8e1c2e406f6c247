//! The server's end, seen from clients that have much under way: what it has committed it has told them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Instant;

use common::machine::{eventually, skip};
use common::{Hub, PATIENCE, binary_batch, hub};
use loteria::limits;

/// A client that sends without a pause, takes little at a time, and begins to read only when it is told to.
struct Uploader {
    stream: TcpStream,
    writer: JoinHandle<()>,
}

impl Uploader {
    fn start(hub: &Hub, agency: u32) -> Uploader {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // What does not fit waits at the server's end of the connection, where a reset destroys it.
        socket.set_recv_buffer_size(2048).unwrap();
        socket.connect(&hub.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut writing = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            for piece in 0.. {
                let batches = piece * 100..piece * 100 + 100;
                let bytes: Vec<u8> = batches.flat_map(|document| binary_batch(agency, document, 1)).collect();
                if writing.write_all(&bytes).is_err() {
                    // The server has closed, or this side has.
                    return;
                }
            }
        });
        Uploader { stream, writer }
    }

    /// How many batches the server acknowledges before it ends its side, and whether it does so without a reset.
    fn acknowledged(mut self) -> (usize, bool) {
        let mut answers = Vec::new();
        let ends = self.stream.read_to_end(&mut answers).is_ok();
        assert!(answers.iter().all(|answer| *answer == 0), "good bets are not refused");
        self.stream.shutdown(std::net::Shutdown::Both).ok();
        self.writer.join().unwrap();
        (answers.len(), ends)
    }
}

/// One end of a hub in the middle of two uploads; says whether it was over before the hub may give up a slow peer.
fn is_told_in_time() -> bool {
    let hub = hub().env("LOTTERY_AGENCIES", "2").start();
    let uploaders = [1, 2].map(|agency| Uploader::start(&hub, agency));
    eventually("both have stored something", || {
        let rows = hub.rows();
        [b'1', b'2'].iter().all(|agency| rows.split(|byte| *byte == b'\n').any(|row| row.first() == Some(agency)))
    });
    let began = Instant::now();
    hub.signal(15);
    let readers = uploaders.map(|uploader| std::thread::spawn(move || uploader.acknowledged()));
    let told = readers.map(|reader| reader.join().unwrap());
    let in_time = began.elapsed() < limits::SHUTDOWN_FLUSH;
    let rows = std::fs::read(hub.path("bets.csv")).unwrap();
    let (status, log) = hub.end();
    assert_eq!(status.code(), Some(0), "{log}");
    let stored =
        [b'1', b'2'].map(|agency| rows.split(|byte| *byte == b'\n').filter(|row| row.first() == Some(&agency)).count());
    for ((acknowledged, ends), stored) in told.into_iter().zip(stored) {
        assert!(ends || !in_time, "the server ends its side, and resets nothing");
        assert!(acknowledged == stored || !in_time, "of {stored} stored batches, {acknowledged} were acknowledged");
        assert!(acknowledged <= stored, "{acknowledged} batches were acknowledged, and {stored} stored");
    }
    in_time
}

#[test]
fn batches_committed_before_sigterm_are_acknowledged_during_an_upload() {
    // A machine may be too busy for the clients to read all in time.
    if (0..30).filter(|_| is_told_in_time()).take(3).count() == 0 {
        skip("the clients are too slow here for a hub that stops");
    }
}
