//! The system's disk: four files in one folder. The path of the rows names them.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};

use super::disk::{Disk, File};
use super::os_error::{explain_lock, explain_open, explain_sync, is_unsupported};
use crate::storage::format::redo::BLOCK_BYTES;
use crate::system::{self, PIPE_OR_DEVICE, as_int};

/// The files of one store: `PATH`, `PATH.journal`, `PATH.quarantine` and `PATH.redo`.
#[derive(Debug)]
pub struct OsDisk {
    paths: [PathBuf; 4],
    files: [Option<fs::File>; 4],
    /// The redo log again, opened for writes that bypass the system's cache.
    direct: Option<fs::File>,
    /// The store is locked: a file that is made is locked, too.
    locked: bool,
    /// Files are opened for reading only.
    read_only: bool,
    /// What the file system does not support: syncing a folder, dropping a file from the cache.
    unkept: [Option<String>; 2],
    stop: Option<Arc<AtomicBool>>,
}

impl OsDisk {
    /// The store whose rows are at `path`. Nothing is opened or made before [`Disk::lock`].
    pub fn new(path: &Path) -> OsDisk {
        let beside = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        OsDisk {
            paths: [path.to_owned(), beside(".journal"), beside(".quarantine"), beside(".redo")],
            files: [const { None }; 4],
            direct: None,
            locked: false,
            read_only: false,
            unkept: [const { None }; 2],
            stop: None,
        }
    }

    /// As [`new`](Self::new), for reading only: the permission to read is enough.
    pub(in crate::storage) fn reading(path: &Path) -> OsDisk {
        OsDisk { read_only: true, ..OsDisk::new(path) }
    }

    /// Prevents servers from locking the store until the disk is dropped; `false` where a server has locked it.
    ///
    /// # Errors
    /// As [`lock`](Disk::lock).
    pub(in crate::storage) fn try_lock_shared(&mut self) -> Result<bool, (File, io::Error)> {
        for file in [File::Rows, File::Journal] {
            match self.open(file, false).map_err(of(file))?.map_or(Ok(()), fs::File::try_lock_shared) {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    // A lock that was taken here would prevent a server from locking that file.
                    self.files = [const { None }; 4];
                    return Ok(false);
                }
                Err(fs::TryLockError::Error(error)) => return Err((file, explain_lock(error))),
            }
        }
        Ok(true)
    }

    /// Makes every read fail once `stop` is true, so that opening a large store can be interrupted.
    #[must_use]
    pub fn until(self, stop: Arc<AtomicBool>) -> OsDisk {
        OsDisk { stop: Some(stop), ..self }
    }

    /// The path of `file`.
    pub fn path(&self, file: File) -> &Path {
        &self.paths[file as usize]
    }

    /// Opens `file` if it is not open; `None` where it does not exist and `create` is false.
    fn open(&mut self, file: File, create: bool) -> io::Result<Option<&fs::File>> {
        let slot = &mut self.files[file as usize];
        if slot.is_none() {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(!self.read_only).create(create).truncate(false).mode(0o644);
            options.custom_flags(system::unwaited(&self.paths[file as usize]));
            match options.open(&self.paths[file as usize]) {
                Ok(opened) => {
                    let kind = opened.metadata()?.file_type();
                    if kind.is_dir() {
                        // Opened for reading only.
                        let error = io::ErrorKind::IsADirectory.into();
                        return Err(explain_open(&self.paths[file as usize], folder_of(&self.paths[0]), true, error));
                    }
                    if !kind.is_file() {
                        return Err(io::Error::other(format!("{PIPE_OR_DEVICE}; set another path")));
                    }
                    if self.locked && !try_lock(Some(&opened))? {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    if file == File::Redo && !self.read_only {
                        self.direct = open_directly(&opened);
                    }
                    *slot = Some(opened);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
                Err(error) => {
                    return Err(explain_open(
                        &self.paths[file as usize],
                        folder_of(&self.paths[0]),
                        self.read_only,
                        error,
                    ));
                }
            }
        }
        Ok(slot.as_ref())
    }
}

impl OsDisk {
    fn named(&self, doing: &str, file: File, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", self.name(file)))
    }

    fn changed(&self, file: File, what: &str) -> io::Error {
        let file = self.name(file);
        io::Error::other(format!("{file} {what} by another program; put it back as it was, and start again"))
    }
}

/// Says of which file an error is: the operator may have to put right that one and not the rows.
fn of(file: File) -> impl Fn(io::Error) -> (File, io::Error) + Copy {
    move |error| (file, error)
}

/// The same open file, for writes that bypass the system's cache; `None` where the file system does not support that.
/// The file may have another name by now.
fn open_directly(file: &fs::File) -> Option<fs::File> {
    let same = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::OpenOptions::new().write(true).custom_flags(as_int(OFlags::DIRECT)).open(same).ok()
}

/// Whether `bytes` are whole blocks, aligned in memory and at `offset` of a file.
fn is_blocks(offset: u64, bytes: &[u8]) -> bool {
    let aligned = bytes.as_ptr().align_offset(BLOCK_BYTES) == 0 && offset.is_multiple_of(BLOCK_BYTES as u64);
    aligned && !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES)
}

impl Disk for OsDisk {
    /// Locks the files themselves, so that no lock file is left behind. Rows and journal are both locked where both
    /// exist, so that removing one of them does not unlock the store of a server that still runs.
    fn lock(&mut self) -> Result<bool, (File, io::Error)> {
        let (of_rows, of_journal) = (of(File::Rows), of(File::Journal));
        let rows = self.open(File::Rows, false).map_err(of_rows)?.is_some();
        let journal = self.open(File::Journal, false).map_err(of_journal)?.is_some();
        if !rows && !journal {
            // Two servers that start here at once compete for the lock of this file.
            self.open(File::Rows, true).map_err(of_rows)?;
        }
        if !try_lock(self.files[File::Rows as usize].as_ref()).map_err(of_rows)? {
            return Ok(false);
        }
        // The journal may have been made between the check above and the lock.
        self.open(File::Journal, false).map_err(of_journal)?;
        self.locked = try_lock(self.files[File::Journal as usize].as_ref()).map_err(of_journal)?;
        Ok(self.locked)
    }

    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(io::Error::other("stopped by a signal"));
        }
        self.open(file, false)?.map_or(Ok(0), |file| file.read_at(buffer, offset))
    }

    fn write_at(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if file == File::Redo
            && is_blocks(offset, bytes)
            && let Some(direct) = &self.direct
        {
            // Only a start reads the blocks, and a sync would have to search the system's cache for each page.
            match direct.write_at(bytes, offset) {
                // The file system has larger blocks, or accepts the flag without supporting it.
                Err(error) if is_unsupported(&error) => self.direct = None,
                done => return done,
            }
        }
        self.open(file, true)?.map_or(Ok(0), |file| file.write_at(bytes, offset))
    }

    /// For a range that is advised as not needed, Linux starts to write the dirty pages, and drops from the cache only
    /// those that were clean before (mm/fadvise.c).
    fn write_back(&mut self, file: File, offset: u64, bytes: usize) {
        use rustix::fs::{Advice, fadvise};
        if let Ok(Some(file)) = self.open(file, false) {
            let _the_sync_tells = fadvise(file, offset, NonZeroU64::new(bytes as u64), Advice::DontNeed);
        }
    }

    fn sync(&mut self, file: File) -> io::Result<()> {
        self.open(file, false)?.map_or(Ok(()), fs::File::sync_data).map_err(explain_sync)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let folder = folder_of(&self.paths[0]);
        let open = fs::File::open(folder).map_err(|error| explain_open(folder, folder, true, error))?;
        match open.sync_all() {
            Err(error) if is_unsupported(&error) => {
                self.unkept[0] = Some(format!(
                    "the file system cannot sync a folder ({error}), so that a power cut soon after the store was made may take its files"
                ));
                Ok(())
            }
            synced => synced,
        }
    }

    fn truncate(&mut self, file: File, len: u64) -> io::Result<()> {
        self.open(file, false)?.map_or(Ok(()), |file| file.set_len(len))
    }

    fn len(&mut self, file: File) -> io::Result<u64> {
        self.open(file, false)?.map_or(Ok(0), |file| Ok(file.metadata()?.len()))
    }

    fn drop_cache(&mut self, file: File) -> io::Result<()> {
        use rustix::fs::{Advice, fadvise};
        let advised = self.open(file, false)?.map_or(Ok(()), |file| fadvise(file, 0, None, Advice::DontNeed));
        if let Err(error) = advised {
            self.unkept[1] = Some(format!(
                "the system cannot drop what memory holds of a file ({}), so that a start after a failed sync may read what the disk does not have",
                io::Error::from(error)
            ));
        }
        Ok(())
    }

    fn check_name(&mut self, file: File) -> io::Result<()> {
        let Some(open) = &self.files[file as usize] else { return Ok(()) };
        let path = &self.paths[file as usize];
        let what = match fs::metadata(path) {
            Ok(named) if is_same(open, path, &named)? => return Ok(()),
            Ok(_) => "was replaced",
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                "was removed or renamed"
            }
            // The user may not search the folder, so the check is not possible. The open file can still be written.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(self.named("look for", file, &error)),
        };
        Err(self.changed(file, what))
    }

    fn check_len(&mut self, file: File, lens: RangeInclusive<u64>) -> io::Result<()> {
        let Some(open) = &self.files[file as usize] else { return Ok(()) };
        // The query leaves out the timestamps: once they were queried, a kernel with multigrain timestamps (Linux 6.13 and
        // newer) gives the next write a new timestamp, which doubles the time of its `fdatasync`.
        let (names, len) = match statx(open, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK | StatxFlags::SIZE) {
            Ok(found) => (found.stx_nlink.into(), found.stx_size),
            // Kernels before 4.11 and some sandboxes do not have the call.
            Err(_) => {
                let found = open.metadata().map_err(|error| self.named("look at", file, &error))?;
                (found.nlink(), found.len())
            }
        };
        if names == 0 {
            // Some file systems report a link count of 0 for every file.
            self.check_name(file)?;
        }
        if lens.contains(&len) {
            return Ok(());
        }
        let what = if len < *lens.start() { "was shortened" } else { "was lengthened" };
        Err(self.changed(file, &format!("{what} from {} to {len} bytes", lens.start())))
    }

    fn new_store_id(&mut self) -> io::Result<u64> {
        // std takes the keys of its hashers from the system's random numbers.
        Ok(RandomState::new().build_hasher().finish())
    }

    fn unkept(&self) -> Vec<String> {
        self.unkept.iter().flatten().cloned().collect()
    }

    fn name(&self, file: File) -> String {
        self.path(file).display().to_string()
    }
}

/// Whether the file at `path`, with the metadata `named`, is the file that is `open`. Some file systems have no lasting
/// inode numbers; there, a file that is locked and has the same length is taken for the same.
fn is_same(open: &fs::File, path: &Path, named: &fs::Metadata) -> io::Result<bool> {
    let here = open.metadata()?;
    if (here.dev(), here.ino()) == (named.dev(), named.ino()) {
        return Ok(true);
    }
    let looks_alike = here.nlink() > 0 && named.is_file() && here.len() == named.len();
    Ok(looks_alike && fs::File::open(path).is_ok_and(|other| matches!(try_lock(Some(&other)), Ok(false))))
}

fn try_lock(file: Option<&fs::File>) -> io::Result<bool> {
    match file.map_or(Ok(()), fs::File::try_lock) {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(explain_lock(error)),
    }
}

/// The folder of the files, of which `rows` is one.
fn folder_of(rows: &Path) -> &Path {
    rows.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aligned_vec::{AVec, ConstAlign};

    #[test]
    fn whole_blocks_of_the_redo_log_and_anything_else_are_written_alike() {
        // In the project's folder: the system's folder for temporary files may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
        let path = folder.path().join("bets.csv");
        let mut disk = OsDisk::new(&path);
        let aligned: AVec<u8, ConstAlign<BLOCK_BYTES>> = AVec::from_iter(BLOCK_BYTES, (0..=255).cycle().take(9000));
        let (block, expected) = (BLOCK_BYTES as u64, [&aligned[..2 * BLOCK_BYTES], b"behind"].concat());
        for (offset, bytes, blocks) in [
            (0, &[0; 64][..], false),
            (0, &aligned[..2 * BLOCK_BYTES], true),
            (block, &aligned[BLOCK_BYTES..BLOCK_BYTES + 1], false),
            (2 * block, b"behind", false),
        ] {
            assert_eq!(is_blocks(offset, bytes), blocks);
            assert_eq!(disk.write_at(File::Redo, offset, bytes).expect("a disk"), bytes.len());
        }
        assert!(!is_blocks(1, &aligned[..BLOCK_BYTES]) && !is_blocks(0, &aligned[1..=BLOCK_BYTES]));
        disk.sync(File::Redo).expect("a disk");
        assert_eq!(fs::read(disk.path(File::Redo)).expect("the log"), expected);
        // Rows never bypass the cache: other programs read them.
        assert_eq!(disk.write_at(File::Rows, 0, &aligned[..BLOCK_BYTES]).expect("a disk"), BLOCK_BYTES);
    }
}
