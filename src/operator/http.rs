//! A client of HTTP/1.1 (RFC 9112) over a Unix socket: one request a connection, blocking, with time-outs and bounds.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::failure::Failure;
use super::text::clean;
use crate::limits::{
    ANSWER_BODY_BYTES_MAX, ANSWER_HEAD_BYTES_MAX, ANSWER_HEADERS_MAX, EVENT_LINE_BYTES_MAX, OPERATOR_PATIENCE,
};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// A running hub, asked at its socket.
#[derive(Clone, Debug)]
pub struct Hub {
    socket: PathBuf,
    stop: Arc<AtomicBool>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body's first line, for a person.
    pub fn line(&self) -> String {
        clean(String::from_utf8_lossy(&self.body).lines().next().unwrap_or_default())
    }
}

impl Hub {
    /// The hub whose socket is at `socket`. Nothing is connected yet.
    pub fn at(socket: &Path) -> Hub {
        Hub { socket: socket.to_owned(), stop: Arc::default() }
    }

    /// Makes a wait for the hub end once `stop` is true and a signal has come.
    #[must_use]
    pub fn until(self, stop: Arc<AtomicBool>) -> Hub {
        Hub { stop, ..self }
    }

    /// GET `path`.
    ///
    /// # Errors
    /// No hub is there, or its answer is too late, too long or not HTTP.
    pub fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.whole("GET", path, "")
    }

    /// POST `path` with `body`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post(&self, path: &str, body: &str) -> Result<Answer, Failure> {
        self.whole("POST", path, body)
    }

    /// GET `path`, whose answer has no end: gives each line of its body to `take` until the hub ends it, or `take` says
    /// no. A status other than 200 is given back as a whole answer.
    ///
    /// # Errors
    /// As [`get`](Self::get), and a line that is too long.
    pub fn lines(&self, path: &str, mut take: impl FnMut(&str) -> bool) -> Result<Option<Answer>, Failure> {
        let (status, mut body) = self.request("GET", path, "")?;
        if status != 200 {
            return body.whole().map(|body| Some(Answer { status, body })).map_err(|error| self.failed(&error));
        }
        body.from.input.until = None;
        let mut rest: Vec<u8> = Vec::new();
        while let Some(piece) = body.next_piece().map_err(|error| self.failed(&error))? {
            rest.extend_from_slice(&piece);
            let mut from = 0;
            while let Some(end) = memchr::memchr(b'\n', &rest[from..]).map(|end| from + end) {
                let line = String::from_utf8_lossy(&rest[from..end]);
                if !take(line.trim_end_matches('\r')) {
                    return Ok(None);
                }
                from = end + 1;
            }
            rest.drain(..from);
            if rest.len() > EVENT_LINE_BYTES_MAX {
                return Err(self.failed(&malformed("a line of its events is too long")));
            }
        }
        Ok(None)
    }

    fn whole(&self, method: &str, path: &str, body: &str) -> Result<Answer, Failure> {
        let (status, mut body) = self.request(method, path, body)?;
        let body = body.whole().map_err(|error| self.failed(&error))?;
        Ok(Answer { status, body })
    }

    /// Sends a request, and reads the head of its answer.
    fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, Body<Timed>), Failure> {
        let stream = connect(&self.socket).map_err(|error| self.absent(error))?;
        let until = Some(Instant::now() + OPERATOR_PATIENCE);
        let mut from = Source::new(Timed { stream, until, stop: Arc::clone(&self.stop) });
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n{body}");
        let sent = from.input.stream.write_all(request.as_bytes());
        // A hub that refuses a request may answer and close before it has read all of it.
        let sent = sent.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
        sent.and_then(|()| from.head())
            .map(|(status, framing)| (status, Body { from, framing }))
            // A hub that ends closes the connections that it has not accepted.
            .map_err(|error| {
                let ended = error.kind() == ErrorKind::ConnectionReset;
                if ended { self.absent(error) } else { self.failed(&error) }
            })
    }

    fn absent(&self, error: io::Error) -> Failure {
        Failure::NotRunning { socket: self.socket.clone(), error }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        if self.stop.load(Ordering::Relaxed) {
            return Failure::Stopped;
        }
        let socket = clean(self.socket.display());
        if error.kind() == ErrorKind::TimedOut {
            let waited = OPERATOR_PATIENCE.as_secs();
            return Failure::Answer(format!(
                "the hub at {socket} does not answer within {waited} s; it is stopped, or has no free file descriptors"
            ));
        }
        Failure::Answer(format!("the hub at {socket} did not answer as expected: {error}"))
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Also bounds the wait for a place in the hub's queue.
    socket.set_write_timeout(Some(OPERATOR_PATIENCE))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// A socket that is read until a moment, and until a signal.
#[derive(Debug)]
struct Timed {
    stream: UnixStream,
    until: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped by a signal"));
            }
            let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(left.map(|left| left.max(Duration::from_millis(1))))?;
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                done => return done,
            }
        }
    }
}

/// How the end of a body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// This many bytes are left.
    Length(u64),
    /// Chunks; this many bytes are left of the current one, whose line end is read with the next size.
    Chunks { left: u64, is_first: bool },
    /// Until the connection ends.
    Close,
}

/// Bytes that were read and are not used yet.
#[derive(Debug)]
struct Source<R> {
    input: R,
    buffer: Vec<u8>,
}

impl<R: Read> Source<R> {
    fn new(input: R) -> Source<R> {
        Source { input, buffer: Vec::new() }
    }

    /// Reads some more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let here = self.buffer.len();
        self.buffer.resize(here + PIECE_BYTES, 0);
        let got = self.input.read(&mut self.buffer[here..]);
        self.buffer.truncate(here + *got.as_ref().unwrap_or(&0));
        got.map(|got| got > 0)
    }

    fn head(&mut self) -> io::Result<(u16, Framing)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(&self.buffer).map_err(|error| malformed(&error.to_string()))?;
            if let httparse::Status::Complete(bytes) = parsed {
                let status = head.code.unwrap_or_default();
                let framing = framing(head.headers)?;
                self.buffer.drain(..bytes);
                return Ok((status, framing));
            }
            if self.buffer.len() > ANSWER_HEAD_BYTES_MAX {
                return Err(malformed("the head of its answer is too long"));
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn framing(headers: &[httparse::Header<'_>]) -> io::Result<Framing> {
    let value = |name: &str| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let text = |header: &httparse::Header<'_>| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase();
    match (value("Transfer-Encoding").map(text), value("Content-Length").map(text)) {
        (Some(encoding), _) if encoding == "chunked" => Ok(Framing::Chunks { left: 0, is_first: true }),
        (Some(_), _) => Err(malformed("its answer has an unknown transfer encoding")),
        (None, Some(length)) => {
            length.parse().map(Framing::Length).map_err(|_| malformed("the length of its answer is not a number"))
        }
        (None, None) => Ok(Framing::Close),
    }
}

/// The body of an answer.
#[derive(Debug)]
struct Body<R> {
    from: Source<R>,
    framing: Framing,
}

impl<R: Read> Body<R> {
    /// All of it.
    fn whole(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next_piece()? {
            if whole.len() + piece.len() > ANSWER_BODY_BYTES_MAX {
                return Err(malformed("its answer is too long"));
            }
            whole.extend(piece);
        }
        Ok(whole)
    }

    /// The next bytes; `None` at the end.
    fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.some(left)?;
                self.framing = Framing::Length(left - piece.len() as u64);
                Ok(Some(piece))
            }
            Framing::Close if self.from.buffer.is_empty() && !self.from.fill()? => Ok(None),
            Framing::Close => Ok(Some(std::mem::take(&mut self.from.buffer))),
            Framing::Chunks { left: 0, is_first } => match self.chunk_size(is_first)? {
                // What follows the last chunk is not needed: the connection is closed.
                0 => Ok(None),
                size => {
                    self.framing = Framing::Chunks { left: size, is_first: false };
                    self.next_piece()
                }
            },
            Framing::Chunks { left, .. } => {
                let piece = self.some(left)?;
                self.framing = Framing::Chunks { left: left - piece.len() as u64, is_first: false };
                Ok(Some(piece))
            }
        }
    }

    /// At least one byte, and at most `most`.
    fn some(&mut self, most: u64) -> io::Result<Vec<u8>> {
        if self.from.buffer.is_empty() && !self.from.fill()? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.from.buffer.len());
        Ok(self.from.buffer.drain(..count).collect())
    }

    /// Reads the line with the size of the next chunk, and the end of the chunk before it.
    fn chunk_size(&mut self, is_first: bool) -> io::Result<u64> {
        let skipped = if is_first { 0 } else { 2 };
        loop {
            let buffer = &self.from.buffer;
            if !b"\r\n"[..skipped].starts_with(&buffer[..skipped.min(buffer.len())]) {
                return Err(malformed("a chunk of its answer has no end"));
            }
            let rest = buffer.get(skipped..).unwrap_or_default();
            let size = httparse::parse_chunk_size(rest).map_err(|_| malformed("a chunk of its answer has no size"))?;
            if let httparse::Status::Complete((used, size)) = size {
                self.from.buffer.drain(..skipped + used);
                return Ok(size);
            }
            if rest.len() > ANSWER_HEAD_BYTES_MAX {
                return Err(malformed("the size of a chunk of its answer is too long"));
            }
            if !self.from.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn read(answer: &[u8], at_once: usize) -> io::Result<(u16, Vec<u8>)> {
        let mut from = Source::new(Slow(answer, at_once));
        let (status, framing) = from.head()?;
        Ok((status, Body { from, framing }.whole()?))
    }

    #[test]
    fn every_framing_is_read_however_the_bytes_arrive() {
        for answer in [
            "HTTP/1.1 503 No\r\nContent-Length: 11\r\n\r\nhello worldand more",
            "HTTP/1.1 503 No\r\nA: b\r\ntransfer-encoding: Chunked\r\n\r\n6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\n\r\n",
            "HTTP/1.0 503 No\r\n\r\nhello world",
        ] {
            for at_once in 1..=answer.len() {
                let (status, body) = read(answer.as_bytes(), at_once).unwrap();
                assert_eq!((status, String::from_utf8(body).unwrap().as_str()), (503, "hello world"), "{answer}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_too_long_or_not_http_is_an_error() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(ANSWER_HEAD_BYTES_MAX + PIECE_BYTES));
        let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(40_000));
        for (answer, kind) in [
            ("", ErrorKind::UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nContent-Le", ErrorKind::UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", ErrorKind::UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", ErrorKind::InvalidData),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", ErrorKind::InvalidData),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", ErrorKind::UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", ErrorKind::InvalidData),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\nhello", ErrorKind::InvalidData),
            ("hello\r\n\r\n", ErrorKind::InvalidData),
            (long.as_str(), ErrorKind::InvalidData),
            (endless.as_str(), ErrorKind::InvalidData),
        ] {
            assert_eq!(read(answer.as_bytes(), 1000).unwrap_err().kind(), kind, "{:.60}", answer);
        }
    }

    #[test]
    fn a_body_over_the_bound_is_not_read() {
        let head: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        let mut from = Source::new(head.chain(io::repeat(b'x')));
        let (_, framing) = from.head().unwrap();
        assert_eq!(Body { from, framing }.whole().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
