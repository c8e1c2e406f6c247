//! Reading a file from its start to its end, with a buffer of bounded size.

use std::io;

use super::disk::{File, ReadAt, read_full};

/// Bytes that are read at a time, where a whole file is read.
const PIECE_BYTES: usize = 1024 * 1024;
/// Bytes that are read at a time, where only a few records are needed.
const SMALL_PIECE_BYTES: usize = 4096;

/// A part of a file that is read in order.
#[derive(Debug)]
pub(in crate::storage) struct Stream {
    file: File,
    /// Offset in the file from which `buffer` is filled next.
    next: u64,
    to: u64,
    piece_bytes: usize,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Stream {
    /// The bytes of `file` from offset `from` up to `to`.
    pub(in crate::storage) fn new(file: File, from: u64, to: u64) -> Stream {
        Stream { file, next: from, to, piece_bytes: PIECE_BYTES, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// As [`new`](Self::new), in small pieces: for a reader that stops early.
    pub(in crate::storage) fn in_small_pieces(file: File, from: u64, to: u64) -> Stream {
        Stream { piece_bytes: SMALL_PIECE_BYTES, ..Stream::new(file, from, to) }
    }

    /// The next `bytes` bytes; fewer only where the part or the file ends. The buffer grows to what the part can still
    /// have, not to what is requested.
    pub(in crate::storage) fn take(&mut self, disk: &mut impl ReadAt, bytes: u64) -> io::Result<&[u8]> {
        let here = self.end - self.start;
        if (here as u64) < bytes {
            let missing = (bytes - here as u64).min(self.to - self.next);
            self.fill(disk, missing)?;
        }
        let taken = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.end - self.start);
        let taken = self.start..self.start + taken;
        self.start = taken.end;
        Ok(&self.buffer[taken])
    }

    /// Reads at least `missing` more bytes, unless the file ends.
    fn fill(&mut self, disk: &mut impl ReadAt, missing: u64) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let want =
            usize::try_from((self.to - self.next).min(missing.max(self.piece_bytes as u64))).unwrap_or(usize::MAX);
        let len = self.end.saturating_add(want);
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let got = read_full(disk, self.file, self.next, &mut self.buffer[self.end..len])?;
        self.next += got as u64;
        self.end += got;
        Ok(())
    }
}
