//! JetStream's side of the generator: a batch is one message, and its acknowledgement says that the stream has stored it.
//!
//! NATS speaks lines of text. What a publisher needs of it is here, since the published clients for Rust bring an asynchronous
//! runtime, and the generator is one loop over mio.

use loteria::lottery::AgencyId;
use loteria::wire::Answer;
use serde::Deserialize;

/// The stream's name, which its acknowledgements repeat. It takes each agency's subject, `bets.1` and so on.
const STREAM: &str = "bets";

/// What a connection says first: the acknowledgements of its agency come to it. The PONG tells that the server has taken this.
pub fn put_hello(agency: AgencyId, out: &mut Vec<u8>) {
    // With headers, a message that no stream takes is answered, too: the run fails at once.
    let connect = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
    out.extend(format!("{connect}\r\nSUB inbox.{agency} 1\r\nPING\r\n").bytes());
}

/// Publishes `rows` to the agency's subject.
///
/// Without an identifier for the message: JetStream looks for no duplicates, which is to its advantage.
pub fn put_publish(agency: AgencyId, rows: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("PUB {STREAM}.{agency} inbox.{agency} {}\r\n", rows.len()).bytes());
    out.extend(rows);
    out.extend(b"\r\n");
}

/// What JetStream says of a message. An error has `error`, and mostly no number.
#[derive(Deserialize)]
struct Acknowledgement {
    stream: Option<String>,
    seq: Option<u64>,
    error: Option<serde_json::Value>,
    #[serde(default)]
    duplicate: bool,
}

/// Reads one answer from the start of `bytes`; `None` while it is not whole.
///
/// # Errors
/// In words: the message is not stored, or nothing that belongs here came.
pub fn read_answer(bytes: &[u8]) -> Result<Option<(usize, Answer)>, String> {
    let mut start = 0;
    loop {
        let Some(len) = memchr::memchr(b'\n', &bytes[start..]) else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[start..start + len]);
        let line = line.trim_end();
        start += len + 1;
        let mut words = line.split(' ');
        match words.next() {
            // The bench's servers ask once at the beginning, and then not for an hour: no PONG is due.
            Some("INFO" | "PING") => {}
            Some("PONG") => return Ok(Some((start, Answer::Welcome { next: 0 }))),
            Some("MSG") => {
                let len = words.next_back().and_then(|len| len.parse::<usize>().ok()).ok_or_else(|| line.to_owned())?;
                // A line break follows.
                let Some(message) = bytes.get(start..start + len + 2) else { return Ok(None) };
                return stored(&message[..len]).map(|()| Some((start + len + 2, Answer::Stored)));
            }
            Some(_) | None => return Err(format!("the server said: {line}")),
        }
    }
}

/// Whether the stream has stored a message that it had not had.
fn stored(message: &[u8]) -> Result<(), String> {
    let refused = || format!("not stored: {}", String::from_utf8_lossy(message));
    let said: Acknowledgement = serde_json::from_slice(message).map_err(|_| refused())?;
    let right = said.error.is_none() && !said.duplicate && said.stream.as_deref() == Some(STREAM);
    if right && said.seq > Some(0) { Ok(()) } else { Err(refused()) }
}
