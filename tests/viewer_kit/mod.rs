//! What the tests of the status service share: a hub that serves it at both doors, and viewers by hand.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::common::{Hub, PATIENCE, Start, hub};

/// A hub with one agency that serves its status at a port that the system chooses, and beside the store.
pub fn served() -> Start {
    hub().env("LOTTERY_AGENCIES", "1").env("STATUS_ADDRESS", "127.0.0.1:0")
}

/// Where the status is served over TCP.
pub fn address(hub: &Hub) -> SocketAddr {
    let line = hub.wait_for("action: start | result: success");
    let (_, rest) = line.split_once("| status: http://").expect("it is served over TCP");
    rest.split('/').next().unwrap().parse().expect("an address")
}

/// A viewer over TCP.
pub fn network(hub: &Hub) -> Viewer<TcpStream> {
    let stream = TcpStream::connect(address(hub)).expect("the status service accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Viewer { stream, read: Vec::new() }
}

/// A viewer over TCP whose address is `source`, one of this machine's own.
pub fn network_from(hub: &Hub, source: IpAddr) -> Viewer<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).expect("an address of this machine");
    socket.connect(&address(hub).into()).expect("the status service accepts");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Viewer { stream: socket.into(), read: Vec::new() }
}

/// A viewer at the Unix socket.
pub fn local(hub: &Hub) -> Viewer<UnixStream> {
    let stream = UnixStream::connect(hub.path("bets.csv.sock")).expect("the status service accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Viewer { stream, read: Vec::new() }
}

/// A hand-written viewer.
pub struct Viewer<S> {
    pub stream: S,
    read: Vec<u8>,
}

/// What a viewer was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl<S: Read + Write> Viewer<S> {
    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("the status service takes bytes");
    }

    /// A plain request for `path`, and its answer.
    pub fn get(&mut self, path: &str) -> Answered {
        self.send(&get(path));
        self.answer()
    }

    /// The next answer to anything but a `HEAD`.
    pub fn answer(&mut self) -> Answered {
        let head = self.head();
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |it| it.parse().unwrap());
        while self.read.len() < length {
            assert!(self.more(), "the body ended early:\n{head}");
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Answered { status: status(&head), head, body }
    }

    /// The next answer's head.
    pub fn head(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.more(), "the end, after {}", self.read.escape_ascii());
        };
        String::from_utf8(self.read.drain(..end).collect()).unwrap()
    }

    /// Reads until what was read has `text`.
    pub fn wait_for(&mut self, text: &str) {
        while !self.read.windows(text.len()).any(|it| it == text.as_bytes()) {
            assert!(self.more(), "the end, after {}", self.read.escape_ascii());
        }
    }

    /// Whether nothing more comes.
    pub fn is_at_end(&mut self) -> bool {
        self.read.is_empty() && !self.more()
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(bytes) => {
                self.read.extend(&piece[..bytes]);
                bytes > 0
            }
            // Closed with bytes of ours unread.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}, after {}", self.read.escape_ascii()),
        }
    }
}

/// A plain request.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"))
}
