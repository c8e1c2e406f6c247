//! Standard output that never makes the loop wait.
//!
//! Lines go into a bounded buffer; the loop writes it out once a turn, as far as the reader takes it. What
//! does not fit is dropped and counted, and the count is told once lines flow again. Where the reader stalls,
//! nothing is written until an event says that it goes on, or, where no event can, until a moment has passed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;

/// Lines kept while the reader does not read, in bytes.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// A pipe that polls as writable takes so much without blocking (`PIPE_BUF` on Linux, pipe(7)).
const PIPE_BYTES: usize = 4096;
/// A terminal that polls as writable has room for so much (the kernel's threshold for it, `WAKEUP_CHARS`).
const TERMINAL_BYTES: usize = 256;
/// How long an ending program waits for its reader.
const DRAIN_MAX: Duration = Duration::from_millis(200);
/// How long between tries in that time.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// The program's standard output, shared by the logger, which fills it, and the loop, which empties it.
#[derive(Clone, Debug)]
pub struct LogOutput {
    shared: Arc<Mutex<Shared>>,
}

/// How far the lines got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Everything is written.
    Done,
    /// The reader takes no more now. An event of [`LogOutput::descriptor`] tells when it does; then
    /// [`LogOutput::try_again`].
    Stalled,
    /// Nobody can take them now: the disk is full, or the reader is gone. No event tells when that changes.
    Failed,
}

#[derive(Debug)]
struct Shared {
    buffer: Vec<u8>,
    written: usize,
    dropped: u64,
    /// Bytes written in all.
    total: u64,
    sink: Sink,
    flow: Flow,
}

/// How to write without blocking, which depends on what standard output is.
#[derive(Debug)]
enum Sink {
    /// A pipe or terminal, opened anew: the non-blocking flag of the one given is shared with other programs.
    Reopened(File),
    /// A pipe or terminal that cannot be opened anew: written to in pieces, each only after it polls ready.
    Polled {
        /// The most bytes of one write.
        piece: usize,
    },
    /// A socket, where each write can say that it does not want to wait.
    Socket,
    /// A file, whose writes do not wait for anyone.
    File,
    /// There is no standard output.
    Closed,
}

impl LogOutput {
    /// The program's standard output.
    pub fn stdout() -> LogOutput {
        let shared =
            Shared { buffer: Vec::new(), written: 0, dropped: 0, total: 0, sink: Sink::find(), flow: Flow::Done };
        LogOutput { shared: Arc::new(Mutex::new(shared)) }
    }

    /// The end that the logger writes to.
    pub fn writer(&self) -> impl Write + Send + use<> {
        LineWriter(self.clone())
    }

    /// What becomes writable when a stalled reader goes on; `None` where that says nothing.
    pub fn descriptor(&self) -> Option<RawFd> {
        match &self.lock().sink {
            Sink::Reopened(file) => Some(file.as_raw_fd()),
            Sink::Polled { .. } | Sink::Socket => Some(io::stdout().as_raw_fd()),
            Sink::File | Sink::Closed => None,
        }
    }

    /// Writes what the reader takes now; nothing after it took no more, until [`try_again`](Self::try_again).
    pub fn flush(&self) -> Flow {
        let mut shared = self.lock();
        let flow = shared.flush();
        if flow != Flow::Done || shared.dropped == 0 {
            return flow;
        }
        let dropped = std::mem::take(&mut shared.dropped);
        drop(shared);
        log::warn!("action: log | result: in_progress | dropped_lines: {dropped}");
        self.lock().flush()
    }

    /// How many bytes have been written in all: where the number grows, somebody reads.
    pub fn written(&self) -> u64 {
        self.lock().total
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        let shared = self.lock();
        shared.written == shared.buffer.len()
    }

    /// Whether more than half of the room is taken.
    pub fn is_crowded(&self) -> bool {
        let shared = self.lock();
        shared.buffer.len() - shared.written > BUFFER_BYTES_MAX / 2
    }

    /// The reader may take more now.
    pub fn try_again(&self) {
        self.lock().flow = Flow::Done;
    }

    /// Writes what is left, for a bounded time: the program is ending.
    pub fn drain(&self) {
        let until = Instant::now() + DRAIN_MAX;
        self.try_again();
        while self.flush() != Flow::Done && Instant::now() < until {
            std::thread::sleep(DRAIN_PAUSE);
            self.try_again();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn push(&mut self, line: &[u8]) {
        if matches!(self.sink, Sink::Closed) {
            return;
        }
        if self.buffer.len() - self.written + line.len() > BUFFER_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.buffer.extend_from_slice(line);
    }

    fn flush(&mut self) -> Flow {
        while self.flow == Flow::Done && self.written < self.buffer.len() {
            match self.sink.write(&self.buffer[self.written..]) {
                Ok(bytes) => {
                    self.written += bytes;
                    self.total += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.flow = Flow::Stalled,
                Err(_) => self.flow = Flow::Failed,
            }
        }
        self.buffer.drain(..self.written);
        self.written = 0;
        self.flow
    }
}

impl Sink {
    fn find() -> Sink {
        let stdout = io::stdout();
        let Ok(stat) = rustix::fs::fstat(&stdout) else { return Sink::Closed };
        let piece = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => return Sink::File,
            FileType::Socket => return Sink::Socket,
            FileType::Fifo => PIPE_BYTES,
            FileType::CharacterDevice | FileType::Directory | FileType::Symlink | FileType::Unknown => TERMINAL_BYTES,
        };
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
            Ok(fd) => Sink::Reopened(File::from(fd)),
            Err(_) => Sink::Polled { piece },
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = io::stdout();
        match self {
            Sink::Reopened(file) => file.write(bytes),
            Sink::Polled { piece } => write_if_ready(stdout.as_fd(), &bytes[..bytes.len().min(*piece)], Duration::ZERO),
            Sink::Socket => Ok(rustix::net::send(&stdout, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            Sink::File => Ok(rustix::io::write(&stdout, bytes)?),
            Sink::Closed => Ok(bytes.len()),
        }
    }
}

/// Writes one line to standard error, unless nobody reads it: a program that ends must not wait for that.
pub fn say_on_stderr(line: &str) {
    let end = line.floor_char_boundary(PIPE_BYTES - 1);
    let line = format!("{}\n", &line[..end]);
    let _ = write_if_ready(io::stderr().as_fd(), line.as_bytes(), DRAIN_MAX);
}

/// Writes to what may block, once it polls ready; for a pipe, `bytes` are at most [`PIPE_BYTES`].
fn write_if_ready(fd: BorrowedFd<'_>, bytes: &[u8], patience: Duration) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    if poll(&mut fds, Some(&patience))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(fd, bytes)?)
}

/// Takes whole lines, as the logger writes them.
struct LineWriter(LogOutput);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
