//! Standard output that never makes the loop wait.
//!
//! Lines go into a bounded buffer; the loop writes it out once a turn, as far as the reader takes it. What
//! does not fit is dropped and counted, and the count is told once lines flow again. Where the reader stalls,
//! nothing is written until an event says that it goes on, or, where no event can, until a moment has passed.
//!
//! DEBUG lines are taken only while the buffer holds little: the rest of it is for the others. A reader that is slow,
//! but reads, gets all of those: while it has much to catch up on, [`LogOutput::hold`] asks the loop to take in
//! nothing new. A reader that does not read is not waited for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;

use crate::logging;

/// Lines kept while the reader does not read, in bytes.
const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The same, over which DEBUG lines are dropped.
const DEBUG_BYTES_MAX: usize = 1024 * 1024;
/// The same, over which a reader that reads is given time to catch up. The lines of a turn fit into what is left.
const HOLD_BYTES: usize = 4 * 1024 * 1024;
/// A reader that has taken nothing for so long does not read.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// Memory that is kept for lines when all are written, in bytes.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// A pipe that polls as writable takes so much without blocking (`PIPE_BUF` on Linux, pipe(7)).
const PIPE_BYTES: usize = 4096;
/// A terminal that polls as writable has room for so much (the kernel's threshold for it, `WAKEUP_CHARS`).
const TERMINAL_BYTES: usize = 256;
/// How long an ending program waits for a reader that takes nothing.
const DRAIN_PATIENCE: Duration = Duration::from_millis(200);
/// How long an ending program waits for a reader that is slow: Docker kills a container that is stopped after 10 s.
const DRAIN_MAX: Duration = Duration::from_secs(8);
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
    /// They cannot be written now: the disk is full, or the reader is gone. No event tells when that changes.
    Failed,
}

#[derive(Debug)]
struct Shared {
    buffer: VecDeque<u8>,
    dropped: Dropped,
    /// Bytes written in all.
    total: u64,
    sink: Sink,
    flow: Flow,
    /// The reader was behind once: what is taken since then shows that it reads.
    has_stalled: bool,
    /// When a reader that was behind last took something.
    read_at: Option<Instant>,
}

/// How many lines were dropped since that was last told.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    debug: u64,
    others: u64,
}

impl Dropped {
    fn lines(self) -> u64 {
        self.debug + self.others
    }
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
        LogOutput { shared: Arc::new(Mutex::new(Shared::new(Sink::find()))) }
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
        if flow != Flow::Done || shared.dropped.lines() == 0 {
            return flow;
        }
        let dropped = std::mem::take(&mut shared.dropped);
        drop(shared);
        let (lines, debug) = (dropped.lines(), dropped.debug);
        log::warn!("action: log | result: in_progress | dropped_lines: {lines} | of_them_debug: {debug}");
        self.lock().flush()
    }

    /// How long to take in nothing that has lines to write: the reader is behind, but reads, and no line but those of
    /// DEBUG is dropped while it does. `None` where there is no reason to wait, or a reader that takes nothing. An
    /// event of [`descriptor`](Self::descriptor) may end it sooner.
    pub fn hold(&self) -> Option<Duration> {
        let mut shared = self.lock();
        shared.flush();
        let behind = shared.flow == Flow::Stalled && shared.buffer.len() > HOLD_BYTES;
        let since = shared.read_at.filter(|_| behind)?.elapsed();
        READER_PATIENCE.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// How many bytes have been written in all: where the number grows, somebody reads.
    pub fn written(&self) -> u64 {
        self.lock().total
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.lock().buffer.is_empty()
    }

    /// Whether so much waits that a reader that reads is given time to catch up.
    pub fn is_crowded(&self) -> bool {
        self.lock().buffer.len() > HOLD_BYTES
    }

    /// The reader may take more now.
    pub fn try_again(&self) {
        self.lock().flow = Flow::Done;
    }

    /// Writes what is left, as long as the reader takes it, for a bounded time: the program is ending.
    pub fn drain(&self) {
        let began = Instant::now();
        let (mut left, mut taken_at) = (self.lock().buffer.len(), began);
        self.try_again();
        while self.flush() != Flow::Done && taken_at.elapsed() < DRAIN_PATIENCE && began.elapsed() < DRAIN_MAX {
            let now_left = self.lock().buffer.len();
            if now_left < left {
                (left, taken_at) = (now_left, Instant::now());
            }
            std::thread::sleep(DRAIN_PAUSE);
            self.try_again();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn new(sink: Sink) -> Shared {
        let (buffer, dropped) = (VecDeque::new(), Dropped::default());
        Shared { buffer, dropped, total: 0, sink, flow: Flow::Done, has_stalled: false, read_at: None }
    }

    fn push(&mut self, line: &[u8]) {
        if matches!(self.sink, Sink::Closed) {
            return;
        }
        let is_debug = logging::is_debug(line);
        if self.buffer.len() + line.len() > if is_debug { DEBUG_BYTES_MAX } else { BUFFER_BYTES_MAX } {
            *(if is_debug { &mut self.dropped.debug } else { &mut self.dropped.others }) += 1;
            return;
        }
        self.buffer.extend(line);
    }

    fn flush(&mut self) -> Flow {
        while self.flow == Flow::Done && !self.buffer.is_empty() {
            match self.sink.write(self.buffer.as_slices().0) {
                Ok(bytes) => {
                    self.buffer.drain(..bytes);
                    self.total += bytes as u64;
                    if self.has_stalled && bytes > 0 {
                        self.read_at = Some(Instant::now());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flow = Flow::Stalled;
                    self.has_stalled = true;
                }
                Err(_) => self.flow = Flow::Failed,
            }
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = VecDeque::new();
        }
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

/// Writes one line to standard error, unless its reader takes nothing: a program that ends must not wait for that.
pub fn say_on_stderr(line: &str) {
    let end = line.floor_char_boundary(PIPE_BYTES - 1);
    let line = format!("{}\n", &line[..end]);
    let _ = write_if_ready(io::stderr().as_fd(), line.as_bytes(), DRAIN_PATIENCE);
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    const LINE: &[u8] = b"2024-08-21 22:11:15 INFO     action: x | result: success\n";
    const DEBUG_LINE: &[u8] = b"2024-08-21 22:11:15 DEBUG    action: x | result: success\n";

    /// An output to a pipe, and the reader's end.
    fn piped() -> (LogOutput, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let sink = Sink::Reopened(File::from(OwnedFd::from(writer)));
        (LogOutput { shared: Arc::new(Mutex::new(Shared::new(sink))) }, reader)
    }

    fn push(output: &LogOutput, line: &[u8], bytes: usize) {
        let mut shared = output.lock();
        (0..bytes / line.len()).for_each(|_| shared.push(line));
    }

    #[test]
    fn debug_lines_leave_room_for_the_others() {
        let (output, _reader) = piped();
        push(&output, DEBUG_LINE, 2 * DEBUG_BYTES_MAX);
        assert!(output.lock().buffer.len() <= DEBUG_BYTES_MAX);
        push(&output, LINE, BUFFER_BYTES_MAX - DEBUG_BYTES_MAX);
        let dropped = output.lock().dropped;
        assert!(dropped.debug > 0 && dropped.others == 0, "{dropped:?}");
        push(&output, LINE, DEBUG_BYTES_MAX);
        assert!(output.lock().dropped.others > 0 && output.lock().buffer.len() <= BUFFER_BYTES_MAX);
    }

    #[test]
    fn a_reader_that_reads_is_waited_for_and_one_that_does_not_is_not() {
        let (output, mut reader) = piped();
        push(&output, LINE, HOLD_BYTES + 1024 * 1024);
        assert_eq!(output.flush(), Flow::Stalled);
        assert_eq!(output.hold(), None, "what fits into an unread pipe shows no reader");
        reader.read_exact(&mut [0; 16 * 1024]).unwrap();
        output.try_again();
        let left = output.hold().expect("it reads");
        assert!(left <= READER_PATIENCE);
        output.lock().read_at = Instant::now().checked_sub(READER_PATIENCE);
        assert_eq!(output.hold(), None, "it has stopped");
        reader.read_exact(&mut vec![0; 64 * 1024]).unwrap();
        output.try_again();
        assert!(output.hold().is_some(), "it has begun again");
        while output.lock().buffer.len() > HOLD_BYTES {
            reader.read_exact(&mut vec![0; 64 * 1024]).unwrap();
            output.try_again();
            output.flush();
        }
        assert_eq!(output.hold(), None, "it has caught up");
    }

    #[test]
    fn memory_for_lines_is_given_back_when_they_are_written() {
        let (output, mut reader) = piped();
        push(&output, LINE, BUFFER_BYTES_MAX);
        while output.flush() != Flow::Done {
            reader.read_exact(&mut vec![0; 4096]).unwrap();
            output.try_again();
        }
        assert!(output.lock().buffer.capacity() <= KEPT_BYTES_MAX);
    }
}
