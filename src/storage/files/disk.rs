//! What the store needs of a disk; a simulation has another than the system's.

use std::io;
use std::ops::RangeInclusive;

/// Which of the store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// `bets.csv`.
    Rows,
    /// `bets.csv.journal`.
    Journal,
    /// `bets.csv.quarantine`: what recovery cut off, for a person to look at. The store never reads it.
    Quarantine,
    /// `bets.csv.redo`: what the newest commits wrote to the rows and the journal, durable before they are.
    Redo,
}

/// The store's files on some disk. A file that is not there reads as empty, and the first write makes it.
pub trait Disk {
    /// Takes the store for this process until the disk is dropped; `false` when another has it.
    ///
    /// # Errors
    /// As the system says.
    fn lock(&mut self) -> io::Result<bool>;
    /// Reads at `offset` into `buffer`; returns how many bytes there were, 0 at the end.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes at `offset`; returns how many bytes were taken, which may be fewer than given. Whole blocks of
    /// [`File::Redo`], where a block is, that lie in memory where one could, may go past the system's memory.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Sends `bytes` bytes of `file` from `offset` on towards the disk without waiting, so that a sync which follows
    /// finds them there. A hint: it promises nothing, and what goes wrong is the sync's to tell.
    fn write_back(&mut self, _file: File, _offset: u64, _bytes: usize) {}
    /// Makes what was written to `file` survive a power cut.
    ///
    /// # Errors
    /// As the system says; what was written since the last success may be lost, whatever a later sync says.
    fn sync(&mut self, file: File) -> io::Result<()>;
    /// Makes the names of the files survive a power cut; where the file system cannot, [`unkept`](Self::unkept) says so.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Cuts `file` to `len` bytes.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&mut self, file: File, len: u64) -> io::Result<()>;
    /// Length of `file` in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn len(&mut self, file: File) -> io::Result<u64>;
    /// Forgets what memory holds of `file`, so that the next read asks the disk itself; where the system cannot,
    /// [`unkept`](Self::unkept) says so.
    ///
    /// # Errors
    /// As the system says.
    fn drop_cache(&mut self, file: File) -> io::Result<()>;
    /// A number that no other store has: the identity of a new one.
    ///
    /// # Errors
    /// As the system says.
    fn new_store_id(&mut self) -> io::Result<u64>;
    /// Says that `file`, where it is open, is no longer found under its name: another program has removed, renamed or
    /// replaced it. A disk of which no other program knows has nothing to look at.
    ///
    /// # Errors
    /// What has become of it, with its path; or as the system says.
    fn check_name(&mut self, _file: File) -> io::Result<()> {
        Ok(())
    }
    /// Says that `file`, where it is open, has none of the lengths `lens`: another program has changed it. As
    /// [`check_name`](Self::check_name) otherwise, but cheaper: it looks at the name only where there is a reason to.
    ///
    /// # Errors
    /// What has become of it, with its path; or as the system says.
    fn check_len(&mut self, _file: File, _lens: RangeInclusive<u64>) -> io::Result<()> {
        Ok(())
    }
    /// What has turned out to be beyond this disk, and what that means, so that a person can be told.
    fn unkept(&self) -> Vec<String> {
        Vec::new()
    }
    /// What to call `file` in a message: its path.
    fn name(&self, file: File) -> String;
}

/// What can be read at any place: a disk, or a disk as it will be when its redo log is applied.
pub(in crate::storage) trait ReadAt {
    /// As [`Disk::read_at`].
    ///
    /// # Errors
    /// As the system says.
    fn read_some(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl<D: Disk> ReadAt for D {
    fn read_some(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(file, offset, buffer)
    }
}

/// Writes all of `bytes` at `offset`, resuming after short and interrupted writes. The number of bytes that
/// were taken is exact in an error too, because they have to be taken back.
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

/// Sees that `file` exists.
pub(in crate::storage) fn make(disk: &mut impl Disk, file: File) -> io::Result<()> {
    loop {
        match disk.write_at(file, 0, &[]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            made => return made.map(|_| ()),
        }
    }
}

/// Writes zeros from offset `from` up to `to`; like [`write_all`] in all else.
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

/// Reads at `offset` until `buffer` is full or the file ends; returns how many bytes there were.
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

/// Whether `error` says that there is no room, rather than that the disk is broken.
pub(in crate::storage) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
