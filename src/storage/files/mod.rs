//! The files of a store, on the disk of the system, in memory, or on the disk of a test.

pub(in crate::storage) mod disk;
mod memory_disk;
pub(in crate::storage) mod os_disk;
mod os_error;
pub(in crate::storage) mod stream;

pub use disk::{Disk, File};
pub use memory_disk::MemoryDisk;
pub use os_disk::OsDisk;
