//! An agency's file, or a pipe in its place: a read of a pipe waits for its other end, and a signal ends the wait.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::system;

/// How long a wait for a pipe is before signals are looked at.
const LOOK_PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// An open file whose reads end once `stop` is true, also those that wait.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that are not consumed.
    unread: Range<usize>,
    /// A read has found the end.
    ended: bool,
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
        let file = OpenOptions::new().read(true).custom_flags(system::unwaited(path)).open(path)?;
        let metadata = file.metadata()?;
        let is_file = metadata.is_file() || metadata.is_dir();
        let input = Input { file, buffer: vec![0; ahead].into(), unread: 0..0, ended: false, is_file, stop };
        input.wait()?;
        Ok((input, metadata))
    }

    /// The descriptor to watch for the other end's bytes; `None` of a file.
    pub(super) fn awaited(&self) -> Option<RawFd> {
        (!self.is_file).then(|| self.file.as_raw_fd())
    }

    /// Whether a line that is not empty, the end, or an error can be read without a wait. If not, everything that had come
    /// was read ahead. A line that is longer than what is read ahead counts as soon as that is full.
    pub(super) fn has_line(&mut self) -> bool {
        while !self.is_file && !self.ended {
            let unread = &self.buffer[self.unread.clone()];
            let text = unread.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(unread.len());
            if memchr::memchr(b'\n', &unread[text..]).is_some() || unread.len() == self.buffer.len() {
                return true;
            }
            match self.read_ahead() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The next read says it.
                Err(_) => return true,
            }
        }
        true
    }

    /// Reads once, behind what is unread.
    fn read_ahead(&mut self) -> io::Result<()> {
        if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let bytes = rustix::io::retry_on_intr(|| rustix::io::read(&self.file, &mut self.buffer[self.unread.end..]))?;
        self.unread.end += bytes;
        self.ended = bytes == 0;
        Ok(())
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
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&LOOK_PERIOD)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.unread.is_empty() && !self.ended {
            self.wait()?;
            match self.read_ahead() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => result?,
            }
        }
        Ok(&self.buffer[self.unread.clone()])
    }

    fn consume(&mut self, bytes: usize) {
        self.unread.start += bytes;
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
        self.unread = 0..0;
        self.ended = false;
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_of_a_pipe_that_is_longer_than_what_is_read_ahead_is_whole() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"0123456789\n").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let (mut input, _) = Input::open(Path::new(&path), 4, Arc::default()).unwrap();
        let mut read = String::new();
        while input.has_line() && input.read(&mut [0]).unwrap() > 0 {
            read.push('.');
        }
        assert_eq!(read.len(), 11);
    }
}
