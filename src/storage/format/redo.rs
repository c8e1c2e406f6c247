//! The bytes of the redo log: entries, each with a header, the rows of one group and its records.
//!
//! All integers are little-endian. `docs/DURABILITY.md` has the tables. An entry is a whole number of blocks: writing
//! it touches no block of the entry before it, and the system can write it without a copy (`O_DIRECT`).

use std::ops::Range;

use aligned_vec::{AVec, ConstAlign};
use crc32c::crc32c_append;

use super::record::{RECORD_BYTES, record_offset};

/// Entries start and end at multiples of this many bytes. It is a multiple of every usual block size of a disk, and a
/// page of memory.
pub(in crate::storage) const BLOCK_BYTES: usize = 4096;
/// Bytes of an entry's header.
pub(in crate::storage) const ENTRY_HEADER_BYTES: usize = 64;
/// More than any field of a header can be.
const FIELD_MAX: u64 = 1 << 56;

/// Bytes that start at a multiple of a block in memory.
pub(in crate::storage) type AlignedBytes = AVec<u8, ConstAlign<BLOCK_BYTES>>;

/// The header of an entry. Its fields follow the checksum and four zeros, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct EntryHeader {
    /// How many records.
    pub count: u64,
    /// The group of the records.
    pub group: u64,
    /// The slot of the first record.
    pub slot: u64,
    /// Where the rows start in their file.
    pub rows_offset: u64,
    /// Bytes of rows.
    pub rows_bytes: u64,
}

impl EntryHeader {
    /// Bytes of records.
    pub(in crate::storage) fn records_bytes(&self) -> u64 {
        self.count * RECORD_BYTES as u64
    }

    /// The header's bytes. The checksum starts from `seed`, as that of a record.
    pub(in crate::storage) fn encode(self, seed: u32) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        let fields = [self.count, self.group, self.slot, self.rows_offset, self.rows_bytes];
        for (place, field) in bytes[8..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c_append(seed, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`; `None` if there is none. Zeros are no header.
    pub(in crate::storage) fn decode(bytes: &[u8], seed: u32) -> Option<EntryHeader> {
        let bytes: &[u8; ENTRY_HEADER_BYTES] = bytes.first_chunk()?;
        let field = |index: usize| bytes[8 + 8 * index..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        let header = EntryHeader {
            count: field(0),
            group: field(1),
            slot: field(2),
            rows_offset: field(3),
            rows_bytes: field(4),
        };
        let fields = [header.count, header.group, header.slot, header.rows_offset, header.rows_bytes];
        // A damaged header can have a valid checksum by chance; sums of its fields must not overflow.
        let small = fields.iter().all(|field| *field < FIELD_MAX);
        (header.count > 0 && small && header.encode(seed) == *bytes).then_some(header)
    }
}

/// A whole entry: its rows and records have been checked.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct Entry {
    pub header: EntryHeader,
    /// Where its rows start in the log.
    pub rows_at: u64,
    /// The checksum of the record before its first one.
    pub previous_crc: u32,
    /// The checksum of its last record.
    pub crc: u32,
}

impl Entry {
    /// Whether it is the next one after `before`.
    pub(in crate::storage) fn follows(&self, before: &Entry) -> bool {
        let (here, there) = (self.header, before.header);
        here.group == there.group + 1
            && here.slot == there.slot + there.count
            && here.rows_offset == there.rows_offset + there.rows_bytes
            && self.previous_crc == before.crc
    }

    /// Which bytes of the rows it has, and where they start in the log.
    pub(in crate::storage) fn rows(&self) -> (Range<u64>, u64) {
        let from = self.header.rows_offset;
        (from..from + self.header.rows_bytes, self.rows_at)
    }

    /// Which bytes of the journal it has, and where they start in the log.
    pub(in crate::storage) fn records(&self) -> (Range<u64>, u64) {
        let from = record_offset(self.header.slot);
        (from..from + self.header.records_bytes(), self.rows_at + self.header.rows_bytes)
    }

    /// Where it ends in the log.
    pub(in crate::storage) fn end(&self) -> u64 {
        let records_end = self.rows_at + self.header.rows_bytes + self.header.records_bytes();
        records_end.next_multiple_of(BLOCK_BYTES as u64)
    }
}
