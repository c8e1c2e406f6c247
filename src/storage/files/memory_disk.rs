//! A disk in memory, for tests and examples.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use super::disk::{Disk, File};

/// A disk that keeps the files in memory until it is dropped. It never fails, but can be full.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    files: [Vec<u8>; 4],
    /// While true, writes that make a file longer fail with `StorageFull`.
    pub full: Rc<Cell<bool>>,
}

/// A length or an offset in a file that is in memory.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a file in memory is shorter than the address space")
}

impl Disk for MemoryDisk {
    fn lock(&mut self) -> Result<bool, (File, io::Error)> {
        Ok(true)
    }

    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.files[file as usize];
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&mut self, file: File, offset: u64, written: &[u8]) -> io::Result<usize> {
        let bytes = &mut self.files[file as usize];
        let from = in_memory(offset);
        let end = from + written.len();
        if self.full.get() && end > bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        bytes.resize(bytes.len().max(end), 0);
        bytes[from..end].copy_from_slice(written);
        Ok(written.len())
    }

    fn sync(&mut self, _: File) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, file: File, len: u64) -> io::Result<()> {
        self.files[file as usize].truncate(in_memory(len));
        Ok(())
    }

    fn len(&mut self, file: File) -> io::Result<u64> {
        Ok(self.files[file as usize].len() as u64)
    }

    fn drop_cache(&mut self, _: File) -> io::Result<()> {
        Ok(())
    }

    fn new_store_id(&mut self) -> io::Result<u64> {
        Ok(7574)
    }

    fn name(&self, file: File) -> String {
        format!("{file:?}")
    }
}
