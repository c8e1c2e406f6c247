//! The raw floor: what the socket and the disk allow when nothing is done with the bytes.
//!
//! It receives `binary` batches, appends them to a file unparsed, and answers one byte a batch. It looks at
//! headers only, to know where a batch ends. A hub cannot be faster than this; how close it comes is what
//! `make bench` measures.
//!
//! Two shapes. With one connection, blocking calls and nothing else: read, append, answer. With `--many`, an
//! epoll loop that appends all that every connection sent in one write, as a fair floor for a hub that shares
//! its writes between connections. `--sync` adds an fdatasync to each append.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// What one read takes at most; the hub's is as large.
const READ_BYTES: usize = 256 * 1024;
/// With many connections: what is gathered before it is appended.
const GATHER_BYTES: usize = 16 * 1024 * 1024;
/// u32 type and u32 length of the rest (`docs/PROTOCOLS.md`, binary).
const HEADER_BYTES: usize = 8;
const STORED: u8 = 0;
const LISTENER: Token = Token(usize::MAX);

const USAGE: &str = "floor --listen IP:PORT --file FILE [--sync] [--many]";

fn main() -> ExitCode {
    let run = |options: Option<Options>| options.map_or(Ok(()), |options| options.run());
    match Options::parse().and_then(|options| run(options).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "floor: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    listen: std::net::SocketAddr,
    file: PathBuf,
    sync: bool,
    many: bool,
}

impl Options {
    fn parse() -> Result<Option<Options>, String> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_env();
        let (mut listen, mut file, mut sync, mut many) = (None, None, false, false);
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            match argument {
                Long("listen") => {
                    let value = parser.value().map_err(|error| error.to_string())?;
                    listen = Some(value.parse().map_err(|error| format!("--listen: {error}"))?);
                }
                Long("file") => file = Some(PathBuf::from(parser.value().map_err(|error| error.to_string())?)),
                Long("sync") => sync = true,
                Long("many") => many = true,
                // `cargo bench` says --bench to every bench target.
                Long("bench") => return Ok(None),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().to_string()),
            }
        }
        let listen = listen.ok_or("--listen is missing")?;
        Ok(Some(Options { listen, file: file.ok_or("--file is missing")?, sync, many }))
    }

    fn run(&self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        let mut log = Appender { file, sync: self.sync };
        if self.many { many(self.listen, &mut log) } else { one_by_one(self.listen, &mut log) }
    }
}

/// The file, and whether each append is made durable.
struct Appender {
    file: File,
    sync: bool,
}

impl Appender {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }
}

/// Where the batches of one stream end.
#[derive(Default)]
struct Boundaries {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    body_left: usize,
}

impl Boundaries {
    /// How many batches end in `bytes`, which follow those given before.
    fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.header_len < HEADER_BYTES {
                let taken = bytes.len().min(HEADER_BYTES - self.header_len);
                self.header[self.header_len..self.header_len + taken].copy_from_slice(&bytes[..taken]);
                self.header_len += taken;
                bytes = &bytes[taken..];
                if self.header_len < HEADER_BYTES {
                    break;
                }
                let [_, _, _, _, length @ ..] = self.header;
                self.body_left = u32::from_be_bytes(length) as usize;
            }
            let skipped = bytes.len().min(self.body_left);
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            if self.body_left == 0 {
                self.header_len = 0;
                ended += 1;
            }
        }
        ended
    }
}

/// One connection after the other, with blocking calls.
fn one_by_one(listen: std::net::SocketAddr, log: &mut Appender) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(listen)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut boundaries = Boundaries::default();
        loop {
            let read = match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            log.append(&buffer[..read])?;
            let ended = boundaries.count(&buffer[..read]);
            if ended > 0 && stream.write_all(&vec![STORED; ended]).is_err() {
                break;
            }
        }
    }
}

/// A connection of the epoll loop.
struct Peer {
    stream: TcpStream,
    boundaries: Boundaries,
    /// Batches that wait for the append.
    unanswered: usize,
    open: bool,
}

/// All connections at once; one append a turn.
fn many(listen: std::net::SocketAddr, log: &mut Appender) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let listener = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.bind(&listen.into())?;
    listener.listen(4096)?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut peers: slab::Slab<Peer> = slab::Slab::new();
    let mut gathered = vec![0; GATHER_BYTES];
    let (mut ready, mut full) = (Vec::new(), Vec::new());
    loop {
        let timeout = if ready.is_empty() { None } else { Some(std::time::Duration::ZERO) };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Err(_) | Ok(()) => {}
        }
        if events.iter().any(|event| event.token() == LISTENER) {
            accept(&listener, poll.registry(), &mut peers)?;
        }
        ready.extend(events.iter().map(Event::token).filter(|token| *token != LISTENER).map(|Token(key)| key));
        let mut len = 0;
        for &key in &ready {
            if gathered.len() - len < READ_BYTES {
                full.push(key);
                continue;
            }
            let Some(peer) = peers.get_mut(key) else { continue };
            let read = peer.read(&mut gathered[len..len + READ_BYTES]);
            len += read;
            if read == READ_BYTES {
                full.push(key);
            }
        }
        if len > 0 {
            log.append(&gathered[..len])?;
        }
        for key in ready.drain(..) {
            let Some(peer) = peers.get_mut(key) else { continue };
            peer.answer();
            if !peer.open {
                peers.remove(key);
            }
        }
        std::mem::swap(&mut ready, &mut full);
    }
}

fn accept(listener: &TcpListener, registry: &mio::Registry, peers: &mut slab::Slab<Peer>) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true)?;
        let entry = peers.vacant_entry();
        registry.register(&mut stream, Token(entry.key()), Interest::READABLE)?;
        entry.insert(Peer { stream, boundaries: Boundaries::default(), unanswered: 0, open: true });
    }
    Ok(())
}

impl Peer {
    /// Reads once; returns how many bytes came.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self.stream.read(buffer) {
            Ok(read) => {
                self.open = read > 0;
                self.unanswered += self.boundaries.count(&buffer[..read]);
                read
            }
            Err(error) => {
                self.open = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                0
            }
        }
    }

    /// Answers what has been appended. A handful of bytes always fits a socket that is being read.
    fn answer(&mut self) {
        if self.unanswered > 0 {
            let answers = vec![STORED; std::mem::take(&mut self.unanswered)];
            self.open &= self.stream.write_all(&answers).is_ok();
        }
    }
}
