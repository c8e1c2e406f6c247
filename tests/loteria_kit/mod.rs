//! What the tests of `loteria` share: the program in a folder, and a small HTTP server in place of a hub.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

pub mod reports;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// `loteria` in `folder`, with nothing of the caller's environment.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loteria"));
    command.current_dir(folder).env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end: exit code, standard output, standard error.
pub fn loteria(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(command(folder, arguments))
}

pub fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("loteria starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a hub answers to a request, given its method, path and body, and how many there were before.
type Answers = dyn Fn(&str, &str, &str, usize) -> String + Send;

/// A hub that answers one request a connection. It ends with the test.
pub struct FakeHub {
    /// `GET /path`, or `POST /path body`, in order.
    pub requests: Arc<Mutex<Vec<String>>>,
    stop: Option<std::path::PathBuf>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeHub {
    /// At the socket beside `bets.csv` in `folder`.
    pub fn in_folder(folder: &Path, answers: impl Fn(&str, &str, &str, usize) -> String + Send + 'static) -> FakeHub {
        FakeHub::at(&folder.join("bets.csv.sock"), answers)
    }

    pub fn at(socket: &Path, answers: impl Fn(&str, &str, &str, usize) -> String + Send + 'static) -> FakeHub {
        let listener = UnixListener::bind(socket).unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let answers: Box<Answers> = Box::new(answers);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !serve(&stream.unwrap(), &seen, &answers) {
                    return;
                }
            }
        });
        FakeHub { requests, stop: Some(socket.to_owned()), thread: Some(thread) }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        if let Some(socket) = self.stop.take() {
            // A connection without a request ends it.
            drop(UnixStream::connect(&socket));
            let _ = self.thread.take().map(std::thread::JoinHandle::join);
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Answers one request; false where there is none.
fn serve(stream: &UnixStream, seen: &Mutex<Vec<String>>, answers: &Answers) -> bool {
    let mut lines = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    lines.read_line(&mut first).unwrap();
    let mut words = first.split_whitespace();
    let (Some(method), Some(path), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else { return false };
    let mut header = String::new();
    let mut has_host = false;
    while lines.read_line(&mut header).unwrap() > 2 {
        let (name, value) = header.split_once(": ").unwrap();
        has_host |= name == "Host";
        if name == "Content-Length" {
            length = value.trim().parse().unwrap();
        }
        header.clear();
    }
    assert!(has_host, "HTTP/1.1 asks for it");
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let mut seen = seen.lock().unwrap();
    let before = seen.len();
    seen.push(format!("{method} {path} {body}").trim_end().to_owned());
    drop(seen);
    // A client that has read enough may be gone.
    let _ = (&mut &*stream).write_all(answers(method, path, &body, before).as_bytes());
    true
}

/// An answer with a length.
pub fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
