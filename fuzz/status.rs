//! Any bytes, in any pieces, to a connection of the status service. The body of the fuzz target `status`, and of its short run
//! in the tests.
//!
//! The first byte says how long the pieces are, and by which door they come; the rest is what the viewer sends.

use std::time::Duration;

use loteria::limits;
use loteria::status::Connection;
use loteria::status::facts::Door;
use loteria::status::http::Response;
use loteria::timers::Moment;

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((&first, sent)) = input.split_first() else { return };
    let door = if first & 1 == 0 { Door::Local } else { Door::Network };
    let whole = converse(sent, door, usize::MAX, usize::MAX);
    let pieces = converse(sent, door, usize::from(first >> 1) + 1, usize::from(first >> 3) + 1);
    assert_eq!(whole.1, pieces.1, "pieces are answered as the whole is");
    assert_eq!(whole.0, pieces.0, "as many requests");
}

/// Sends everything in pieces, reads answers in pieces, and ends the viewer's side. Returns how many requests were asked, and
/// everything that was answered.
fn converse(mut sent: &[u8], door: Door, piece: usize, read: usize) -> (usize, Vec<u8>) {
    let now = Moment::after_origin(Duration::from_secs(1));
    let names = ["hub".to_owned()];
    let mut connection = Connection::new(door, now);
    let (mut asked, mut answers) = (0, Vec::new());
    loop {
        let room = connection.room();
        assert!(room <= limits::STATUS_HEAD_BYTES_MAX + limits::STATUS_BODY_BYTES_MAX);
        let (bytes, rest) = sent.split_at(sent.len().min(room).min(piece));
        connection.receive(bytes, now);
        sent = rest;
        if sent.is_empty() && room > 0 {
            connection.end();
        }
        if connection.read_request(&names, now) {
            let request = connection.request().expect("a request waits");
            assert!(request.path.starts_with('/') && request.body.len() <= limits::STATUS_BODY_BYTES_MAX);
            assert!(request.method.is_safe() || door == Door::Local, "nothing is changed over TCP");
            assert!(request.method.is_safe() || request.origin.is_none(), "nor by a page");
            asked += 1;
            connection.answer(Response::line(200, "yes"), now);
        }
        let unsent = connection.unsent();
        let taken = &unsent[..unsent.len().min(read)];
        answers.extend_from_slice(taken);
        connection.sent(taken.len(), now);
        if connection.is_over() || (connection.is_parting() && !connection.has_unsent()) {
            break;
        }
        assert!(connection.deadline() > now, "there is always an end in sight");
    }
    assert!(!connection.has_unsent(), "what was said was heard before the end");
    well_formed(&answers);
    (asked, answers)
}

/// Each answer has a head that a client can read, and a body as long as that says.
fn well_formed(mut answers: &[u8]) {
    while !answers.is_empty() {
        let end = answers.windows(4).position(|it| it == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&answers[..end]).expect("text");
        assert!(head.starts_with("HTTP/1.1 ") && head.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let length: usize = length.parse().expect("a number");
        let body = &answers[end..];
        // The answer to a HEAD has none.
        let next = body.strip_prefix(b"HTTP/1.1 ").and_then(<[u8]>::first);
        let has_body = !next.is_some_and(u8::is_ascii_digit) && !body.is_empty();
        answers = &body[if has_body { length } else { 0 }..];
    }
}
