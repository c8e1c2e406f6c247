//! An agency's file, or a pipe in its place: a read of a pipe waits for its other end, and a signal ends the wait.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::system::as_int;

/// How long a wait for a pipe is before signals are looked at.
const LOOK_PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// An open file whose reads end once `stop` is true, also those that wait.
#[derive(Debug)]
pub(super) struct Input {
    file: BufReader<File>,
    /// It is a file, which no read waits for.
    is_file: bool,
    stop: Arc<AtomicBool>,
}

impl Input {
    /// Opens `path`, of which `ahead` bytes are read at once. Of a pipe the first bytes, or the end, are waited for.
    ///
    /// # Errors
    /// Those of the system; `stop` has become true.
    pub(super) fn open(path: &Path, ahead: usize, stop: Arc<AtomicBool>) -> io::Result<(Input, Metadata)> {
        // To open a pipe waits for its other end; of a file the flag means nothing (open(2)).
        let file = OpenOptions::new().read(true).custom_flags(as_int(OFlags::NONBLOCK)).open(path)?;
        let metadata = file.metadata()?;
        let file = BufReader::with_capacity(ahead, file);
        let input = Input { file, is_file: metadata.is_file() || metadata.is_dir(), stop };
        input.wait()?;
        Ok((input, metadata))
    }

    /// Waits until a read does not.
    fn wait(&self) -> io::Result<()> {
        if self.is_file {
            return Ok(());
        }
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped by a signal"));
            }
            match poll(&mut [PollFd::new(self.file.get_ref(), PollFlags::IN)], Some(&LOOK_PERIOD)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

// The buffer is in here, and not around this: the file's own reads do not write zeros into it first.
impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.file.buffer().is_empty() {
            self.wait()?;
            match self.file.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        Ok(self.file.buffer())
    }

    fn consume(&mut self, bytes: usize) {
        self.file.consume(bytes);
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
