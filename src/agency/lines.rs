//! A file of rows as the CSV reader reads it: line by line, without byte order marks, and no row without end.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// The longest row, in bytes; a longer one probably has a quote that is never closed. It bounds the memory of a row.
pub(super) const ROW_BYTES_MAX: u64 = 64 * 1024;
/// How much of the file is read at once, in bytes.
pub(super) const READ_AHEAD_BYTES: usize = 64 * 1024;
/// The byte order mark of UTF-8, which some editors write at the start of a text.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A file that is read line by line, so that the line number is known although the file is read ahead. The CSV reader's
/// own count is off by one in files with CRLF. A byte order mark before any line is skipped: concatenated files have
/// one in the middle.
#[derive(Debug)]
pub(super) struct Lines<R> {
    pub(super) inner: R,
    /// The line that was read last, from 1.
    pub(super) line: u64,
    ended: bool,
    /// How many bytes of the current row may still be read.
    pub(super) ration: u64,
    /// The bytes of skipped byte order marks.
    pub(super) passed_over: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(inner: R) -> Lines<R> {
        Lines { inner, line: 0, ended: true, ration: 0, passed_over: 0 }
    }

    /// Skips byte order marks. Returns the bytes of an incomplete mark, which are data.
    fn pass_over_marks(&mut self) -> io::Result<&'static [u8]> {
        loop {
            let mut matched = 0;
            while matched < MARK.len() && self.inner.fill_buf()?.first() == Some(&MARK[matched]) {
                self.inner.consume(1);
                matched += 1;
            }
            if matched < MARK.len() {
                return Ok(&MARK[..matched]);
            }
            self.passed_over += MARK.len() as u64;
        }
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ration == 0 {
            return Err(io::Error::other(format!(
                "a row of over {ROW_BYTES_MAX} bytes: is there a quote that is never closed?"
            )));
        }
        let begun = if self.ended { self.pass_over_marks()? } else { &[] };
        // The CSV reader's buffer is longer than a mark.
        let (head, room) = buffer.split_at_mut(begun.len());
        head.copy_from_slice(begun);
        let ahead = self.inner.fill_buf()?;
        let line = memchr::memchr(b'\n', ahead).map_or(ahead, |end| &ahead[..=end]);
        let taken = line.len().min(room.len());
        room[..taken].copy_from_slice(&line[..taken]);
        self.inner.consume(taken);
        let count = begun.len() + taken;
        if count > 0 {
            self.line += u64::from(self.ended);
            self.ended = buffer[count - 1] == b'\n';
        }
        self.ration = self.ration.saturating_sub(count as u64);
        Ok(count)
    }
}

impl<R: Seek> Seek for Lines<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.line = 0;
        self.ended = true;
        self.passed_over = 0;
        self.inner.seek(to)
    }
}
