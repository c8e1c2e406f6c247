//! Annotated bytes: what a message should be, part by part, beside what an encoder made of it.
//!
//! Each part states its own bytes, so that a dump is a second, independent statement of the format: the
//! parts must add up to exactly the bytes that the project's encoders wrote.

use std::fmt::Write as _;

/// Bytes of a dump's line; more go on the next.
const LINE_BYTES: usize = 12;

/// A stretch of a message and what it is.
pub struct Part {
    bytes: Option<Vec<u8>>,
    size: usize,
    what: String,
}

impl Part {
    fn known(bytes: Vec<u8>, what: &str) -> Part {
        Part { size: bytes.len(), bytes: Some(bytes), what: what.to_owned() }
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A number that a reader would not recognise in hex is said in decimal, unless `what` says it already.
    fn number(value: u64, bytes: Vec<u8>, what: &str) -> Part {
        let said = value < 10 || what.contains(|letter: char| letter.is_ascii_digit()) || what.contains(':');
        Part::known(bytes, &if said { what.to_owned() } else { format!("{what}: {value}") })
    }
}

/// A byte.
pub fn u8(value: u8, what: &str) -> Part {
    Part::number(value.into(), vec![value], what)
}

/// Two bytes, big-endian.
pub fn u16(value: u16, what: &str) -> Part {
    Part::number(value.into(), value.to_be_bytes().to_vec(), what)
}

/// Four bytes, big-endian.
pub fn u32(value: u32, what: &str) -> Part {
    Part::number(value.into(), value.to_be_bytes().to_vec(), what)
}

/// Eight bytes, big-endian.
pub fn u64(value: u64, what: &str) -> Part {
    Part::number(value, value.to_be_bytes().to_vec(), what)
}

/// Bytes as they stand.
pub fn bytes(value: &[u8], what: &str) -> Part {
    Part::known(value.to_vec(), what)
}

/// UTF-8 text.
pub fn text(value: &str, what: &str) -> Part {
    Part::known(value.as_bytes().to_vec(), what)
}

/// `size` bytes of which only the encoder knows the value: a checksum, a message text.
pub fn any(size: usize, what: &str) -> Part {
    Part { bytes: None, size, what: what.to_owned() }
}

/// Who sends a message.
#[derive(Clone, Copy)]
pub enum Side {
    Client,
    Hub,
}

/// One message of an exchange: the encoder's bytes and the parts that they must be.
pub struct Message {
    pub side: Side,
    pub title: &'static str,
    pub bytes: Vec<u8>,
    pub parts: Vec<Part>,
}

impl Message {
    /// The dump of the message, or where its bytes and its parts part ways.
    pub fn dump(&self) -> Result<String, String> {
        let arrow = match self.side {
            Side::Client => "client →",
            Side::Hub => "hub →",
        };
        let mut out = format!("{arrow} {}, {}\n", self.title, count(self.bytes.len(), "byte"));
        let mut rest = self.bytes.as_slice();
        for part in &self.parts {
            let Some((bytes, after)) = rest.split_at_checked(part.size) else {
                return Err(format!("{}: the encoder's bytes end before {:?}", self.title, part.what));
            };
            if let Some(wanted) = part.bytes.as_ref().filter(|wanted| *wanted != bytes) {
                return Err(format!("{}: {:?} is {bytes:02X?}, not {wanted:02X?}", self.title, part.what));
            }
            dump_part(&mut out, bytes, &part.what);
            rest = after;
        }
        if rest.is_empty() { Ok(out) } else { Err(format!("{}: {rest:02X?} has no part", self.title)) }
    }
}

fn count(number: usize, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn dump_part(out: &mut String, bytes: &[u8], what: &str) {
    for (index, line) in bytes.chunks(LINE_BYTES).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02X}")).collect();
        let printed: String =
            line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
        let what = if index == 0 { what } else { "" };
        let line = format!("  {:<width$}  {printed:<LINE_BYTES$}  {what}", hex.join(" "), width = 3 * LINE_BYTES - 1);
        writeln!(out, "{}", line.trim_end()).expect("a String takes all");
    }
}
