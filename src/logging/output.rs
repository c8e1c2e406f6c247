//! Standard output without blocking writes.
//!
//! Lines go into a bounded buffer. The loop writes the buffer out once a turn, as far as the reader takes it. A line
//! that does not fit is dropped and counted, and the count is logged once lines flow again. When the reader takes no
//! more, nothing is written until an event reports room, or, where no event can, until the caller tries again.
//!
//! DEBUG lines may fill only a part of the buffer: the rest is for the other levels. A slow reader gets every line of
//! those levels: while it is far behind, [`LogOutput::hold`] asks the loop to take in nothing new. A reader that takes
//! nothing is not waited for.

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

/// The size of the buffer, in bytes.
const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes in the buffer above which DEBUG lines are dropped.
const DEBUG_BYTES_MAX: usize = 1024 * 1024;
/// Bytes in the buffer above which a slow reader is waited for. The lines of one turn fit into the rest.
const HOLD_BYTES: usize = 4 * 1024 * 1024;
/// How long the hub waits for a reader that takes nothing.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of memory that an empty buffer keeps.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that a pipe takes without blocking once it polls as writable (`PIPE_BUF` on Linux, pipe(7)).
const PIPE_BYTES: usize = 4096;
/// Bytes that a terminal takes without blocking once it polls as writable (the kernel's threshold, `WAKEUP_CHARS`).
const TERMINAL_BYTES: usize = 256;
/// How long a program that ends waits for a reader that takes nothing.
const DRAIN_PATIENCE: Duration = Duration::from_millis(200);
/// How long a program that ends waits for a slow reader: Docker kills a stopped container after 10 s.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// The time between two tries of a program that ends.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// The program's standard output. The logger fills it and the loop empties it; clones share one buffer.
#[derive(Clone, Debug)]
pub struct LogOutput {
    shared: Arc<Mutex<Shared>>,
}

/// The outcome of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Everything is written.
    Done,
    /// The reader takes no more now. After an event of [`LogOutput::descriptor`], call [`LogOutput::try_again`].
    Stalled,
    /// A write failed: the disk is full, or the reader is gone. No event reports when that changes.
    Failed,
}

#[derive(Debug)]
struct Shared {
    buffer: VecDeque<u8>,
    dropped: Dropped,
    /// Lines dropped since the start.
    dropped_ever: u64,
    /// Bytes written since the start.
    total: u64,
    sink: Sink,
    flow: Flow,
    /// A write has found no room before. Bytes taken after that show that there is a reader that reads.
    has_stalled: bool,
    /// When the reader last took something, after it was behind for the first time.
    read_at: Option<Instant>,
}

/// Lines dropped since the last report of dropped lines.
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

/// The kind of standard output, which decides how to write without blocking.
#[derive(Debug)]
enum Sink {
    /// A pipe or terminal, opened again: other programs share the flags of the inherited descriptor, the non-blocking
    /// one included.
    Reopened(File),
    /// A pipe or terminal that cannot be opened again. Each piece is written after the descriptor polls ready.
    Polled {
        /// The maximum of one write, in bytes.
        piece: usize,
    },
    /// A socket. Each write has a flag against blocking.
    Socket,
    /// A file. Its writes wait for no reader.
    File,
    /// There is no standard output.
    Closed,
}

impl LogOutput {
    /// The program's standard output.
    pub fn stdout() -> LogOutput {
        LogOutput { shared: Arc::new(Mutex::new(Shared::new(Sink::find()))) }
    }

    /// The writer for the logger. Each `write` is one whole line.
    pub fn writer(&self) -> impl Write + Send + use<> {
        LineWriter(self.clone())
    }

    /// The descriptor that becomes writable when the reader takes more; `None` for a file and a closed output.
    pub fn descriptor(&self) -> Option<RawFd> {
        match &self.lock().sink {
            Sink::Reopened(file) => Some(file.as_raw_fd()),
            Sink::Polled { .. } | Sink::Socket => Some(io::stdout().as_raw_fd()),
            Sink::File | Sink::Closed => None,
        }
    }

    /// Writes what the reader takes now. After a [`Flow`] other than `Done` it writes nothing until
    /// [`try_again`](Self::try_again).
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

    /// How long to take in nothing that produces lines, because the reader is behind but reads; `None` where there is no
    /// reason to wait. No line above DEBUG is dropped while the caller waits. An event of
    /// [`descriptor`](Self::descriptor) may end the wait earlier.
    pub fn hold(&self) -> Option<Duration> {
        let mut shared = self.lock();
        shared.flush();
        shared.hold_for(shared.read_at?.elapsed(), READER_PATIENCE)
    }

    /// As [`hold`](Self::hold), for a caller with a clock and a time limit of its own: what is left of `limit` when the
    /// reader last took something `silence` ago.
    pub fn hold_for(&self, silence: Duration, limit: Duration) -> Option<Duration> {
        self.lock().hold_for(silence, limit)
    }

    /// Bytes written since the start. Growth shows that the reader reads.
    pub fn written(&self) -> u64 {
        self.lock().total
    }

    /// Whether lines reach their reader: no write has failed, and the reader is not far behind.
    pub fn flows(&self) -> bool {
        let shared = self.lock();
        shared.flow != Flow::Failed && shared.buffer.len() <= HOLD_BYTES
    }

    /// Lines dropped since the start.
    pub fn dropped_lines(&self) -> u64 {
        self.lock().dropped_ever
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.lock().buffer.is_empty()
    }

    /// Lets the next flush write, after one that stalled or failed.
    pub fn try_again(&self) {
        self.lock().flow = Flow::Done;
    }

    /// Writes the rest of the buffer at the program's end: at most 8 s, and at most 200 ms without progress.
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
        Shared { buffer, dropped, dropped_ever: 0, total: 0, sink, flow: Flow::Done, has_stalled: false, read_at: None }
    }

    /// What is left of `limit` for a reader that is behind and last took something `silence` ago.
    fn hold_for(&self, silence: Duration, limit: Duration) -> Option<Duration> {
        let behind = self.flow == Flow::Stalled && self.buffer.len() > HOLD_BYTES;
        limit.checked_sub(silence).filter(|left| behind && !left.is_zero())
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

/// Writes one line to standard error. The line is lost if standard error has no room for 200 ms, since a program that
/// ends must not wait for the reader.
pub fn say_on_stderr(line: &str) {
    let end = line.floor_char_boundary(PIPE_BYTES - 1);
    let line = format!("{}\n", &line[..end]);
    let _ = write_if_ready(io::stderr().as_fd(), line.as_bytes(), DRAIN_PATIENCE);
}

/// Writes to a descriptor that may block, once it polls ready. For a pipe, `bytes` is at most [`PIPE_BYTES`] long.
fn write_if_ready(fd: BorrowedFd<'_>, bytes: &[u8], patience: Duration) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    if poll(&mut fds, Some(&patience))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(fd, bytes)?)
}

/// The logger's end. Each `write` is one whole line.
struct LineWriter(LogOutput);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shared = &mut *self.0.lock();
        if matches!(shared.sink, Sink::Closed) {
            return Ok(line.len());
        }
        let is_debug = logging::is_debug(line);
        if shared.buffer.len() + line.len() > if is_debug { DEBUG_BYTES_MAX } else { BUFFER_BYTES_MAX } {
            *(if is_debug { &mut shared.dropped.debug } else { &mut shared.dropped.others }) += 1;
            shared.dropped_ever += 1;
        } else {
            shared.buffer.extend(line);
        }
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
        let mut writer = output.writer();
        (0..bytes / line.len()).for_each(|_| writer.write_all(line).unwrap());
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
    fn the_time_to_wait_is_what_the_silence_leaves_of_the_limit() {
        let (output, mut reader) = piped();
        let hold = |silence| output.hold_for(Duration::from_millis(silence), Duration::from_millis(300));
        push(&output, LINE, HOLD_BYTES + 1024 * 1024);
        assert_eq!(hold(0), None, "no write has stalled yet");
        output.flush();
        for (silence, left) in [(0, Some(300)), (100, Some(200)), (299, Some(1)), (300, None), (301, None)] {
            assert_eq!(hold(silence), left.map(Duration::from_millis), "{silence} ms");
        }
        while output.lock().buffer.len() > HOLD_BYTES {
            reader.read_exact(&mut vec![0; 64 * 1024]).unwrap();
            output.try_again();
            assert_eq!(output.flush(), Flow::Stalled);
        }
        assert_eq!(hold(0), None, "the reader is no longer far behind");
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
