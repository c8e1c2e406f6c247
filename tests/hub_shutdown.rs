//! The server's end, seen from clients that have much under way: what it has committed it has told them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

use common::machine::eventually;
use common::{Hub, PATIENCE, binary_batch, hub};

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

    /// How many batches the server acknowledges before it ends its side.
    fn acknowledged(mut self) -> usize {
        let mut answers = Vec::new();
        self.stream.read_to_end(&mut answers).expect("the server ends its side, and resets nothing");
        assert!(answers.iter().all(|answer| *answer == 0), "good bets are not refused");
        self.stream.shutdown(std::net::Shutdown::Both).ok();
        self.writer.join().unwrap();
        answers.len()
    }
}

#[test]
fn batches_committed_before_sigterm_are_acknowledged_during_an_upload() {
    for _ in 0..3 {
        let hub = hub().env("LOTTERY_AGENCIES", "2").start();
        let uploaders = [1, 2].map(|agency| Uploader::start(&hub, agency));
        eventually("both have stored something", || {
            let rows = hub.rows();
            [b'1', b'2'].iter().all(|agency| rows.split(|byte| *byte == b'\n').any(|row| row.first() == Some(agency)))
        });
        hub.signal(15);
        let acknowledged = uploaders.map(Uploader::acknowledged);
        let rows = std::fs::read(hub.path("bets.csv")).unwrap();
        let (status, log) = hub.end();
        assert_eq!(status.code(), Some(0), "{log}");
        let stored = [b'1', b'2']
            .map(|agency| rows.split(|byte| *byte == b'\n').filter(|row| row.first() == Some(&agency)).count());
        assert_eq!(acknowledged, stored, "every stored batch was acknowledged to its client");
    }
}
