//! The `native` dialect, version 1: batches in flight, exactly-once, resumption and checksums.
//!
//! Source: `docs/PROTOCOLS.md`, native. A hello of fixed length opens the connection and names its agency. After the
//! hello, both sides send frames: u32 length, kind, body, and a CRC-32C of kind and body.

pub mod client;
#[cfg(test)]
mod tests;

use super::message::{
    After, Batch, Context, Framing, Malformed, Rejection, Reply, Request, ServerRules, Speaker, Unwelcome,
    WAITING_NAMED_MAX,
};
use super::reader::Reader;
use crate::lottery::{AgencyId, BatchError, BetSink, BetSource, RawBet, Refusal};

/// The first bytes of both sides: a byte that no text starts with, the project's initials, the version.
pub const MAGIC: [u8; 4] = [0xb7, b'L', b'N', 1];
/// The length of a hello: magic and agency.
const HELLO_BYTES: usize = 8;
/// The status of a hello that is accepted.
const WELCOME: u8 = 0;

const BATCH: u8 = 0x01;
const FINISH: u8 = 0x02;
const QUERY: u8 = 0x03;
const WATCH: u8 = 0x05;
const ACK: u8 = 0x81;
const REJECT: u8 = 0x82;
const FINISHED: u8 = 0x83;
const WINNERS: u8 = 0x84;
const ERROR: u8 = 0x85;
const WAITING: u8 = 0x86;

/// The codes in rejects and errors.
mod code {
    pub const BAD_FRAME: u16 = 1;
    pub const BAD_CHECKSUM: u16 = 2;
    pub const GAP: u16 = 3;
    pub const BAD_BET: u16 = 4;
    pub const LATE: u16 = 5;
    pub const TOO_LARGE: u16 = 6;
    pub const STORAGE: u16 = 7;
    pub const SHUTTING_DOWN: u16 = 8;
    pub const CONFLICT: u16 = 9;
}

const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
/// The length of a watch: a frame without a body.
pub const WATCH_BYTES: usize = LENGTH_BYTES + 1 + CHECKSUM_BYTES;
/// The minimum size of a bet: three empty texts and two numbers.
const BET_BYTES_MIN: usize = 11;
/// Has an error code of its own.
const BAD_CHECKSUM: Malformed = Malformed("the frame's checksum does not match");
/// Has an error code of its own.
const TOO_LARGE: Malformed = Malformed("frame over the limit");

/// Behaviour that this dialect needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules { in_flight: true, ..ServerRules::NONE };

/// Where a frame ends.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    if context.opening {
        return hello_frame(bytes);
    }
    let Some(length) = Reader::new(bytes).u32() else {
        return Framing::Incomplete { need: LENGTH_BYTES };
    };
    match (length as usize).checked_add(LENGTH_BYTES) {
        Some(total) if total < LENGTH_BYTES + 1 + CHECKSUM_BYTES => {
            Framing::Malformed(Malformed("frame shorter than its kind and checksum"))
        }
        Some(total) if total > context.frame_bytes_max => Framing::Malformed(TOO_LARGE),
        Some(total) if total > bytes.len() => Framing::Incomplete { need: total },
        Some(total) => Framing::Complete { bytes: total },
        None => Framing::Malformed(TOO_LARGE),
    }
}

fn hello_frame(bytes: &[u8]) -> Framing {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Framing::Malformed(Malformed("not the hello of a version that the hub speaks"));
    }
    if bytes.len() < HELLO_BYTES {
        return Framing::Incomplete { need: HELLO_BYTES };
    }
    Framing::Complete { bytes: HELLO_BYTES }
}

/// The request of a whole frame.
///
/// # Errors
/// A damaged frame, an unknown kind, or a body without the fields of its kind.
pub fn decode<'a>(frame: &'a [u8], context: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    if context.opening {
        let agency = Reader::new(frame.get(MAGIC.len()..).unwrap_or_default()).u32();
        return Ok(Request::Hello(AgencyId(agency.ok_or(Malformed("hello shorter than its fields"))?)));
    }
    let (kind, body) = open(frame)?;
    match kind {
        BATCH => {
            let mut reader = Reader::new(body);
            let (Some(sequence), Some(count)) = (reader.u64(), reader.u16()) else {
                return Err(Malformed("frame shorter than its fields"));
            };
            let bets = Bets { count: u32::from(count), bytes: reader.rest() };
            Ok(Request::Batch(Batch { agency: Speaker::Connection, sequence: Some(sequence), bets }))
        }
        FINISH | QUERY | WATCH if !body.is_empty() => Err(Malformed("frame longer than its fields")),
        FINISH => Ok(Request::Finish(Speaker::Connection)),
        QUERY => Ok(Request::Query(Speaker::Connection)),
        WATCH => Ok(Request::Watch),
        _ => Err(Malformed("unknown kind of frame")),
    }
}

/// Whether `bytes` start with a watch. While a query waits for the draw nothing behind it is decoded, except this.
pub fn starts_with_watch(bytes: &[u8]) -> bool {
    let frame = bytes.get(..WATCH_BYTES).filter(|frame| frame[..=LENGTH_BYTES] == [0, 0, 0, 5, WATCH]);
    frame.is_some_and(|frame| open(frame).is_ok())
}

/// Checks the checksum of a whole frame and returns its kind and body.
fn open(frame: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let content = frame.get(LENGTH_BYTES..).and_then(<[u8]>::split_last_chunk::<CHECKSUM_BYTES>);
    let Some((covered @ [kind, body @ ..], checksum)) = content else {
        return Err(Malformed("frame shorter than its kind and checksum"));
    };
    if crc32c::crc32c(covered) != u32::from_be_bytes(*checksum) {
        return Err(BAD_CHECKSUM);
    }
    Ok((*kind, body))
}

/// The bets of a batch frame.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl Bets<'_> {
    /// The number of bets in the frame, an incomplete last one included. It is counted from the bytes and never more
    /// than the declared number, which can be too high.
    pub fn count(&self) -> u32 {
        Reader::new(self.bytes).count(self.count, read_bet)
    }
}

impl BetSource for Bets<'_> {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        if (self.count as usize).saturating_mul(BET_BYTES_MIN) > self.bytes.len() {
            return Err(BatchError::Malformed);
        }
        let mut reader = Reader::new(self.bytes);
        for _ in 0..self.count {
            sink.put(&read_bet(&mut reader).ok_or(BatchError::Malformed)?);
        }
        match (reader.is_empty(), self.count) {
            (false, _) => Err(BatchError::Malformed),
            (true, 0) => Err(BatchError::Empty),
            (true, count) => Ok(count),
        }
    }
}

#[inline]
fn read_bet<'a>(reader: &mut Reader<'a>) -> Option<RawBet<'a>> {
    Some(RawBet {
        first_name: reader.text_u8()?,
        last_name: reader.text_u8()?,
        document: reader.text_u8()?,
        birthdate: reader.u32()?,
        number: Some(reader.u32()?),
    })
}

/// A reply's bytes.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    match reply {
        Reply::Welcome { next } => welcome(WELCOME, *next, out),
        Reply::Unwelcome(why) => {
            let status = match why {
                Unwelcome::UnknownAgency => 1,
                Unwelcome::Credentials => 2,
                Unwelcome::Busy => 3,
            };
            welcome(status, 0, out);
            After::Close
        }
        Reply::Stored { next } => message(ACK, out, |body| body.extend(next.to_be_bytes())),
        Reply::Rejected { why: Rejection::Batch(BatchError::Malformed), .. } => {
            error(code::BAD_FRAME, &BatchError::Malformed, out)
        }
        Reply::Rejected { sequence, why } => message(REJECT, out, |body| {
            body.extend(sequence.to_be_bytes());
            body.extend(reject_code(why).to_be_bytes());
            body.extend(why.to_string().bytes());
        }),
        Reply::Finished { batches, bets, .. } => message(FINISHED, out, |body| {
            body.extend(batches.to_be_bytes());
            body.extend(bets.to_be_bytes());
        }),
        Reply::Winners { bets, .. } => match u32::try_from(bets.len()) {
            Ok(count) => message(WINNERS, out, |body| {
                body.extend(count.to_be_bytes());
                bets.iter().for_each(|bet| push_bet(&bet.as_raw(), body));
            }),
            Err(_) => After::CloseUnrepresentable,
        },
        Reply::Waiting { missing, named } => message(WAITING, out, |body| {
            let named = &named[..named.len().min(WAITING_NAMED_MAX)];
            body.extend(missing.to_be_bytes());
            body.push(u8::try_from(named.len()).expect("WAITING_NAMED_MAX fits a byte"));
            named.iter().for_each(|agency| body.extend(agency.0.to_be_bytes()));
        }),
        Reply::Refused(refusal) => error(code::LATE, refusal, out),
        Reply::Malformed(malformed) | Reply::BadRequest(malformed) => error(damage_code(*malformed), malformed, out),
        Reply::Gap => error(code::GAP, &"a batch before this one is missing", out),
        Reply::ShuttingDown => error(code::SHUTTING_DOWN, &"the hub is stopping", out),
        // A query waits for the draw: this dialect has no message for "ask again".
        Reply::NotDrawn | Reply::Echo(_) => After::CloseUnrepresentable,
    }
}

/// `LATE` also stands for refusals of the agency itself: every later batch of the connection would be refused, too.
fn reject_code(why: &Rejection) -> u16 {
    match why {
        Rejection::Batch(BatchError::BadBet { .. } | BatchError::Empty | BatchError::Count { .. }) => code::BAD_BET,
        Rejection::Batch(BatchError::Malformed) => code::BAD_FRAME,
        Rejection::Refused(Refusal::Finished | Refusal::Drawn | Refusal::Excluded | Refusal::UnknownAgency)
        | Rejection::Credentials => code::LATE,
        Rejection::StorageFull => code::STORAGE,
        Rejection::Conflict => code::CONFLICT,
    }
}

fn damage_code(malformed: Malformed) -> u16 {
    match malformed {
        BAD_CHECKSUM => code::BAD_CHECKSUM,
        TOO_LARGE => code::TOO_LARGE,
        Malformed(_) => code::BAD_FRAME,
    }
}

fn welcome(status: u8, next: u64, out: &mut Vec<u8>) -> After {
    out.extend(MAGIC);
    out.push(status);
    out.extend(next.to_be_bytes());
    After::Open
}

fn error(code: u16, why: &dyn std::fmt::Display, out: &mut Vec<u8>) -> After {
    message(ERROR, out, |body| {
        body.extend(code.to_be_bytes());
        body.extend(why.to_string().bytes());
    });
    After::Close
}

/// Appends a frame whose body `write` appends. A body whose length does not fit into a u32 is not sent.
fn message(kind: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> After {
    let start = out.len();
    out.extend([0; LENGTH_BYTES]);
    out.push(kind);
    write(out);
    let checksum = crc32c::crc32c(&out[start + LENGTH_BYTES..]);
    out.extend(checksum.to_be_bytes());
    let Ok(length) = u32::try_from(out.len() - start - LENGTH_BYTES) else {
        out.truncate(start);
        return After::CloseUnrepresentable;
    };
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    After::Open
}

/// Appends a bet. Each text is cut to 255 bytes; no valid bet has more.
fn push_bet(bet: &RawBet<'_>, out: &mut Vec<u8>) {
    for text in [bet.first_name, bet.last_name, bet.document] {
        let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
        out.push(len);
        out.extend_from_slice(&text.bytes()[..usize::from(len)]);
    }
    out.extend(bet.birthdate.to_be_bytes());
    out.extend(bet.number.unwrap_or(0).to_be_bytes());
}
