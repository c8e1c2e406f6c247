//! What the generator sends: batches encoded once, in a ring that is repeated as often as asked.
//!
//! A file of a few thousand bets becomes hundreds of millions: the load costs a copy into the socket and
//! nothing else. Only `native` numbers its batches; its frames are given their next number in place, and
//! their checksum by arithmetic on checksums, without reading the frame again.

use loteria::lottery::{AgencyId, Bet};
use loteria::wire::Dialect;

use crate::jetstream;

/// The peer: a hub that speaks a dialect, Redis, or JetStream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One of the hub's dialects.
    Hub(Dialect),
    /// Redis: a batch is one `RPUSH` of as many rows.
    Redis,
    /// NATS JetStream: a batch is one message, the rows that the hub stores for it.
    JetStream,
}

impl Protocol {
    /// The protocol called `name`.
    pub fn from_name(name: &str) -> Option<Protocol> {
        match name {
            "redis" => Some(Protocol::Redis),
            "jetstream" => Some(Protocol::JetStream),
            name => Dialect::from_name(name).map(Protocol::Hub),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Hub(dialect) => dialect.name(),
            Protocol::Redis => "redis",
            Protocol::JetStream => "jetstream",
        }
    }
}

/// The bets of a file, as the frames of one agency.
#[derive(Debug)]
pub struct Ring {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    patches: Vec<Patch>,
}

/// One batch in the ring.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Where its bytes end.
    end: usize,
    /// The bytes of its rows once they are stored.
    row_bytes: u64,
}

impl Ring {
    /// The frames of `agency` for `bets`, `batch_bets` in each; those left over at the end are not used.
    ///
    /// # Panics
    /// If there are fewer bets than one batch: the caller checks.
    pub fn new(protocol: Protocol, agency: AgencyId, bets: &[Bet], batch_bets: usize) -> Ring {
        assert!(bets.len() >= batch_bets, "a ring has at least one batch");
        let mut ring = Ring { bytes: Vec::new(), frames: Vec::new(), patches: Vec::new() };
        let mut body = Vec::new();
        for batch in bets.chunks_exact(batch_bets) {
            let start = ring.bytes.len();
            let rows = rows(protocol, agency, batch);
            match protocol {
                Protocol::Redis => put_rpush(&rows, batch.len(), &mut ring.bytes),
                Protocol::JetStream => jetstream::put_publish(agency, &rows, &mut ring.bytes),
                Protocol::Hub(dialect) => {
                    body.clear();
                    put_bets(dialect, agency, batch, &mut body);
                    let count = u32::try_from(batch.len()).expect("a batch is far smaller than 2^32 bets");
                    dialect.put_batch(agency, 0, count, &body, &mut ring.bytes);
                    if dialect.client_rules().exactly_once {
                        ring.patches.push(Patch::of(dialect, agency, count, &body, &ring.bytes[start..]));
                    }
                }
            }
            ring.frames.push(Frame { end: ring.bytes.len(), row_bytes: rows.len() as u64 });
        }
        ring
    }

    /// How many frames it has.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Where frame `index` ends.
    pub fn end(&self, index: usize) -> usize {
        self.frames[index].end
    }

    /// Where frame `index` starts.
    pub fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.frames[index - 1].end }
    }

    /// All bytes of all frames.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the first `batches` batches are, counting round and round: the bytes of their frames, and those
    /// of their rows in `bets.csv`.
    pub fn size_of(&self, batches: u64) -> (u64, u64) {
        let rounds = batches / self.frames.len() as u64;
        let rest = usize::try_from(batches % self.frames.len() as u64).expect("an index of a Vec");
        let rows = |frames: &[Frame]| frames.iter().map(|frame| frame.row_bytes).sum::<u64>();
        let frames = rounds * self.bytes.len() as u64 + self.start(rest) as u64;
        (frames, rounds * rows(&self.frames) + rows(&self.frames[..rest]))
    }

    /// Gives frame `index` the sequence number `sequence`, in dialects that number their batches.
    pub fn number(&mut self, index: usize, sequence: u64) {
        let start = self.start(index);
        if let Some(patch) = self.patches.get(index) {
            patch.apply(&mut self.bytes[start..self.frames[index].end], sequence);
        }
    }
}

/// The bets of one batch in a dialect's bytes.
pub fn put_bets(dialect: Dialect, agency: AgencyId, bets: &[Bet], body: &mut Vec<u8>) {
    for (index, bet) in (0..).zip(bets) {
        dialect.put_bet(agency, index, &bet.as_raw(), body);
    }
}

/// The rows that the hub stores for `bets`.
fn rows(protocol: Protocol, agency: AgencyId, bets: &[Bet]) -> Vec<u8> {
    // `binary` sends documents as numbers; the hub writes them back with at least eight digits.
    let padded = protocol == Protocol::Hub(Dialect::Binary);
    let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for bet in bets {
        let document = if padded { format!("{:08}", bet.document_number()) } else { bet.document().to_owned() };
        let [agency, birthdate, number] = [agency.to_string(), bet.birthdate().to_string(), bet.number().to_string()];
        rows.write_record([&agency, bet.first_name(), bet.last_name(), &document, &birthdate, &number])
            .expect("memory takes every byte");
    }
    rows.into_inner().expect("memory takes every byte")
}

/// `RPUSH bets row …` in Redis' own protocol: an array of strings, each with its length before it.
fn put_rpush(rows: &[u8], count: usize, out: &mut Vec<u8>) {
    out.extend(format!("*{}\r\n$5\r\nRPUSH\r\n$4\r\nbets\r\n", count + 2).bytes());
    // No field of a valid bet holds a line break.
    for row in rows.split_inclusive(|byte| *byte == b'\n') {
        let row = row.strip_suffix(b"\r\n").unwrap_or(row);
        out.extend(format!("${}\r\n", row.len()).bytes());
        out.extend(row);
        out.extend(b"\r\n");
    }
}

/// How the checksum of one `native` frame changes with its number.
///
/// CRC-32C is affine: flipping a bit of the message flips the same bits of the checksum whatever the rest
/// of the message is. So the checksum of any number is that of number 0 and, for each bit set, that bit's
/// own difference: forty words a frame instead of a pass over its kilobytes.
#[derive(Debug)]
struct Patch {
    base: u32,
    differences: [u32; Patch::BITS],
}

impl Patch {
    /// Numbers up to 2^40: more batches than a disk holds.
    const BITS: usize = 40;
    /// u32 length and u8 kind come before the number (`docs/PROTOCOLS.md`, native).
    const SEQUENCE_AT: usize = 5;

    fn of(dialect: Dialect, agency: AgencyId, count: u32, body: &[u8], frame: &[u8]) -> Patch {
        let base = checksum(frame);
        let mut other = Vec::with_capacity(frame.len());
        let differences = std::array::from_fn(|bit| {
            other.clear();
            dialect.put_batch(agency, 1 << bit, count, body, &mut other);
            checksum(&other) ^ base
        });
        Patch { base, differences }
    }

    fn apply(&self, frame: &mut [u8], sequence: u64) {
        assert!(sequence >> Patch::BITS == 0, "a load ends long before 2^40 batches");
        let mut crc = self.base;
        let mut bits = sequence;
        while bits != 0 {
            crc ^= self.differences[bits.trailing_zeros() as usize];
            bits &= bits - 1;
        }
        frame[Patch::SEQUENCE_AT..Patch::SEQUENCE_AT + 8].copy_from_slice(&sequence.to_be_bytes());
        let end = frame.len() - 4;
        frame[end..].copy_from_slice(&crc.to_be_bytes());
    }
}

/// The last four bytes of a `native` frame.
fn checksum(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.last_chunk().expect("a frame ends with its checksum"))
}
