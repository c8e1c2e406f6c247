//! The interface to a disk, and reads and writes that handle short and interrupted calls. Simulations implement it,
//! too.

use std::io;
use std::ops::RangeInclusive;

/// A file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// `bets.csv`.
    Rows,
    /// `bets.csv.journal`.
    Journal,
    /// `bets.csv.quarantine`: what recovery cut off, for the operator. The store never reads it.
    Quarantine,
    /// `bets.csv.redo`: what the newest commits wrote to rows and journal. It is durable before these are.
    Redo,
}

/// The store's files on a disk. A missing file reads as empty, and the first write makes it.
pub trait Disk {
    /// Locks the store for this process until the disk is dropped; `false` where another process has locked it.
    ///
    /// # Errors
    /// The file that cannot be opened or locked, and the system's error.
    fn lock(&mut self) -> Result<bool, (File, io::Error)>;
    /// Reads at `offset` into `buffer`. Returns how many bytes were read, 0 at the end of the file.
    ///
    /// # Errors
    /// The system's error.
    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes at `offset`. Returns how many bytes were written, which may be fewer than given. A write of whole,
    /// aligned blocks to [`File::Redo`] may bypass the system's cache; the memory must be aligned, too.
    ///
    /// # Errors
    /// The system's error.
    fn write_at(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Starts to write `bytes` bytes of `file` from `offset` on to the disk, without waiting, so that a later sync has
    /// less to write. It is a hint and promises nothing; the sync reports errors.
    fn write_back(&mut self, _file: File, _offset: u64, _bytes: usize) {}
    /// Makes durable what was written to `file`: it survives a power cut.
    ///
    /// # Errors
    /// The system's error. What was written since the last success may be lost, even if a later sync succeeds.
    fn sync(&mut self, file: File) -> io::Result<()>;
    /// Makes the names of the files durable. Where the file system cannot, [`unkept`](Self::unkept) reports it.
    ///
    /// # Errors
    /// The system's error.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Cuts `file` to `len` bytes.
    ///
    /// # Errors
    /// The system's error.
    fn truncate(&mut self, file: File, len: u64) -> io::Result<()>;
    /// Length of `file` in bytes.
    ///
    /// # Errors
    /// The system's error.
    fn len(&mut self, file: File) -> io::Result<u64>;
    /// Drops `file` from the system's cache, so that the next read comes from the disk. Where the system cannot,
    /// [`unkept`](Self::unkept) reports it.
    ///
    /// # Errors
    /// The system's error.
    fn drop_cache(&mut self, file: File) -> io::Result<()>;
    /// A random number, the identity of a new store.
    ///
    /// # Errors
    /// The system's error.
    fn new_store_id(&mut self) -> io::Result<u64>;
    /// Checks that an open `file` still has its name. A disk that no other program can change has nothing to check.
    ///
    /// # Errors
    /// Another program has removed, renamed or replaced the file; the message says which, with the path. Or the
    /// system's error.
    fn check_name(&mut self, _file: File) -> io::Result<()> {
        Ok(())
    }
    /// Checks that an open `file` has one of the lengths `lens`. It is cheaper than [`check_name`](Self::check_name),
    /// and includes it only where the file has no name left.
    ///
    /// # Errors
    /// Another program has shortened, lengthened or removed the file; the message says which, with the path. Or the
    /// system's error.
    fn check_len(&mut self, _file: File, _lens: RangeInclusive<u64>) -> io::Result<()> {
        Ok(())
    }
    /// What this disk turned out not to support, and what follows from it, as messages for the operator.
    fn unkept(&self) -> Vec<String> {
        Vec::new()
    }
    /// The path of `file`, for messages.
    fn name(&self, file: File) -> String;
}

/// A disk, or a disk as it will be when its redo log is applied.
pub(in crate::storage) trait ReadAt {
    /// As [`Disk::read_at`].
    ///
    /// # Errors
    /// The system's error.
    fn read_some(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl<D: Disk> ReadAt for D {
    fn read_some(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(file, offset, buffer)
    }
}

/// Writes all of `bytes` at `offset`, continuing after short and interrupted writes. Returns how many bytes were
/// written, also with an error, because the caller has to undo them.
pub(in crate::storage) fn write_all(
    disk: &mut impl Disk,
    file: File,
    offset: u64,
    bytes: &[u8],
) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match disk.write_at(file, offset + done as u64, &bytes[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(taken) => done += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// Makes `file` where it is missing.
pub(in crate::storage) fn make(disk: &mut impl Disk, file: File) -> io::Result<()> {
    loop {
        match disk.write_at(file, 0, &[]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            made => return made.map(|_| ()),
        }
    }
}

/// As [`write_all`], with zeros from offset `from` up to `to`.
pub(in crate::storage) fn write_zeros(disk: &mut impl Disk, file: File, from: u64, to: u64) -> (u64, io::Result<()>) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut at = from;
    while at < to {
        let piece = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
        let (taken, written) = write_all(disk, file, at, &ZEROS[..piece]);
        at += taken as u64;
        if written.is_err() {
            return (at - from, written);
        }
    }
    (at - from, Ok(()))
}

/// Reads at `offset` until `buffer` is full or the file ends. Returns how many bytes were read.
pub(in crate::storage) fn read_full(
    disk: &mut impl ReadAt,
    file: File,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match disk.read_some(file, offset + done as u64, &mut buffer[done..]) {
            Ok(0) => break,
            Ok(taken) => done += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether `error` says that the disk, a quota or a size limit is exhausted, and not that the disk has failed.
pub(in crate::storage) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
