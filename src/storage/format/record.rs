//! The journal's bytes: its header and its records.
//!
//! All integers are little-endian. `docs/DURABILITY.md` has the tables.

use crc32c::{crc32c, crc32c_append};

/// Offsets of the header's two copies. Each has a block of its own, so that one bad block leaves the other copy.
pub(in crate::storage) const HEADER_COPIES: [u64; 2] = [0, 4096];
/// Bytes of one copy. The rest of its block is zero.
pub(in crate::storage) const HEADER_BYTES: usize = 24;
/// Bytes of both copies' blocks.
pub(in crate::storage) const HEADER_BLOCKS_BYTES: usize = 8192;
/// Offset of record 0.
pub(in crate::storage) const RECORDS_START: u64 = HEADER_BLOCKS_BYTES as u64;
/// Bytes of a record. It divides every sector size, so that no record crosses a sector.
pub(in crate::storage) const RECORD_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"LOTERIA\n";
/// The version of the files' format.
pub(in crate::storage) const VERSION: u32 = 1;

const _: () = assert!(512 % RECORD_BYTES == 0 && RECORDS_START.is_multiple_of(512));

/// The journal's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Header {
    pub version: u32,
    pub store_id: u64,
}

impl Header {
    pub(in crate::storage) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.store_id.to_le_bytes());
        let crc = crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(in crate::storage) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let header = Header { version: u32_at(bytes, 8), store_id: u64_at(bytes, 12) };
        (bytes[..8] == MAGIC && u32_at(bytes, 20) == crc32c(&bytes[..20])).then_some(header)
    }

    /// What the checksum of every record starts from, so that a record of another store is not valid in this one.
    pub(in crate::storage) fn seed(self) -> u32 {
        crc32c(&self.store_id.to_le_bytes())
    }
}

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Kind {
    /// A batch of one agency was stored.
    Batch = 1,
    /// An agency has finished.
    Finish = 2,
    /// The draw has been made.
    Draw = 3,
    /// Everything before it is complete and was synced.
    Seal = 4,
    /// An agency was excluded from the draw.
    Exclusion = 5,
    /// Rows of any agencies, which were adopted.
    Adopted = 6,
}

/// One record. A field without a meaning for its kind is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Record {
    pub kind: Kind,
    /// Whether its group ends with it.
    pub last_of_group: bool,
    pub agency: u32,
    /// How many bets; for a draw, the winning number.
    pub count: u32,
    /// The number of its group, from 1. Each turn writes one.
    pub group: u64,
    /// Its number in the journal, from 0.
    pub slot: u64,
    /// Where its rows start; for kinds without rows, where the next rows will start.
    pub rows_offset: u64,
    /// How many bytes its rows have.
    pub rows_bytes: u32,
    /// CRC-32C of its rows.
    pub rows_crc: u32,
    /// The batch's sequence number: it counts the agency's batches from 0.
    pub sequence: u64,
    /// The checksum of the record before it; the seed for the first.
    pub previous_crc: u32,
}

impl Record {
    /// A record of `kind` without a group.
    pub(in crate::storage) fn new(kind: Kind) -> Record {
        Record {
            kind,
            last_of_group: false,
            agency: 0,
            count: 0,
            group: 0,
            slot: 0,
            rows_offset: 0,
            rows_bytes: 0,
            rows_crc: 0,
            sequence: 0,
            previous_crc: 0,
        }
    }

    /// The record's bytes, and its checksum, which is in the first four of them.
    pub(in crate::storage) fn encode(&self, seed: u32) -> ([u8; RECORD_BYTES], u32) {
        let mut bytes = [0; RECORD_BYTES];
        bytes[4] = self.kind as u8;
        bytes[5] = u8::from(self.last_of_group);
        bytes[8..12].copy_from_slice(&self.agency.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.group.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.slot.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.rows_offset.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.rows_bytes.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.rows_crc.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc32c_append(seed, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The record in `bytes`, which were read from `slot`, and its checksum; `None` if they are no valid record. Zeros
    /// are none. A record with rows of a kind that has no rows is none either: its rows would not be checked.
    pub(in crate::storage) fn decode(bytes: &[u8; RECORD_BYTES], slot: u64, seed: u32) -> Option<(Record, u32)> {
        let crc = u32_at(bytes, 0);
        if crc32c_append(seed, &bytes[4..]) != crc || u64_at(bytes, 24) != slot {
            return None;
        }
        let kind = match bytes[4] {
            1 => Kind::Batch,
            2 => Kind::Finish,
            3 => Kind::Draw,
            4 => Kind::Seal,
            5 => Kind::Exclusion,
            6 => Kind::Adopted,
            _ => return None,
        };
        let record = Record {
            kind,
            last_of_group: bytes[5] == 1,
            agency: u32_at(bytes, 8),
            count: u32_at(bytes, 12),
            group: u64_at(bytes, 16),
            slot,
            rows_offset: u64_at(bytes, 32),
            rows_bytes: u32_at(bytes, 40),
            rows_crc: u32_at(bytes, 44),
            sequence: u64_at(bytes, 48),
            previous_crc: u32_at(bytes, 56),
        };
        let has_rows = matches!(kind, Kind::Batch | Kind::Adopted);
        (has_rows || record.rows_bytes == 0).then_some((record, crc))
    }
}

/// Offset of record `slot` in the journal.
pub(in crate::storage) fn record_offset(slot: u64) -> u64 {
    RECORDS_START + slot * RECORD_BYTES as u64
}

/// How many slots a journal of `bytes` bytes has.
pub(in crate::storage) fn slots_in(bytes: u64) -> u64 {
    bytes.saturating_sub(RECORDS_START) / RECORD_BYTES as u64
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            kind: Kind::Batch,
            last_of_group: true,
            agency: 3,
            count: 150,
            group: 77,
            slot: 12,
            rows_offset: 1 << 40,
            rows_bytes: 6300,
            rows_crc: 0xdead_beef,
            sequence: 9,
            previous_crc: 0x1234_5678,
        }
    }

    #[test]
    fn records_read_back_and_every_flipped_bit_is_seen() {
        let (bytes, crc) = record().encode(5);
        assert_eq!(Record::decode(&bytes, 12, 5), Some((record(), crc)));
        assert_eq!(Record::decode(&bytes, 13, 5), None, "at another slot");
        assert_eq!(Record::decode(&bytes, 12, 6), None, "in another store");
        for bit in 0..RECORD_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&flipped, 12, 5), None, "bit {bit}");
        }
    }

    #[test]
    fn headers_read_back_and_every_flipped_bit_is_seen() {
        let header = Header { version: VERSION, store_id: 0x0123_4567_89ab_cdef };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn the_format_is_the_documented_one() {
        // The layout is that of docs/DURABILITY.md, and the checksums come from a bitwise CRC-32C. Other bytes are
        // another format, which needs a new version.
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let header = Header { version: VERSION, store_id: 0x0123_4567_89ab_cdef };
        assert_eq!(hex(&header.encode()), "4c4f54455249410a01000000efcdab8967452301c58518c3");
        let parts = [
            "40be9ce0",
            "01",
            "01",
            "0000",
            "03000000",
            "96000000",
            "4d00000000000000",
            "0c00000000000000",
            "0000000000010000",
            "9c180000",
            "efbeadde",
            "0900000000000000",
            "78563412",
            "00000000",
        ];
        assert_eq!(hex(&record().encode(header.seed()).0), parts.concat());
        let kinds = [Kind::Batch, Kind::Finish, Kind::Draw, Kind::Seal, Kind::Exclusion, Kind::Adopted];
        assert_eq!(kinds.map(|kind| kind as u8), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn zeros_are_no_record_in_any_store() {
        // For some store id the checksum of 60 zeros is 0. The kind 0 makes them invalid there, too.
        for seed in 0..100_000 {
            assert_eq!(Record::decode(&[0; RECORD_BYTES], 0, seed), None);
        }
    }

    #[test]
    fn slots_and_offsets_agree() {
        assert_eq!(slots_in(0), 0);
        assert_eq!(slots_in(RECORDS_START + 63), 0);
        assert_eq!(slots_in(record_offset(7)), 7);
    }
}
