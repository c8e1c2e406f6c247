//! The `binary` dialect: u32 type and u32 length, in either order, and fixed-width numbers.
//!
//! Source: `docs/PROTOCOLS.md`, binary. Documents and dates are numbers; the reply to a batch is one
//! byte. A first word of 1, 2 or 3 is a type and the second word the length of the rest; any other first
//! word is the length of the whole message, its own four bytes included, and the second word the type.

use super::message::{
    After, Answer, Batch, Cause, ClientRules, Context, Expecting, Framing, Malformed, Reply, Request, ServerRules,
    Speaker, Unrepresentable,
};
use super::reader::Reader;
use crate::lottery::{AgencyId, BatchError, BetSink, BetSource, RawBet, Text, eight_digits};

const BATCH: u32 = 1;
const FINISHED: u32 = 2;
const QUERY: u32 = 3;
const OK: u8 = 0;
const ERROR: u8 = 1;
/// Two words: type and length, or length and type.
const HEADER_BYTES: usize = 8;
/// The shortest bet: two empty names and three numbers.
const BET_BYTES_MIN: usize = 20;
/// The digits with which existing clients print documents, at least.
const DOCUMENT_DIGITS: usize = 8;

/// Behaviour that this dialect needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules { polls: true, reconnects: true, ..ServerRules::NONE };

/// Where a frame ends.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    let mut reader = Reader::new(bytes);
    let (Some(first), Some(second)) = (reader.u32(), reader.u32()) else {
        return Framing::Incomplete { need: HEADER_BYTES };
    };
    let (kind, total) = match first {
        BATCH | FINISHED | QUERY => (first, (second as usize).checked_add(HEADER_BYTES)),
        length => (second, Some(length as usize)),
    };
    if !matches!(kind, BATCH | FINISHED | QUERY) {
        return Framing::Malformed(Malformed("unknown message type"));
    }
    match total {
        Some(total) if total < HEADER_BYTES => Framing::Malformed(Malformed("length shorter than its header")),
        Some(total) if total > context.frame_bytes_max => Framing::Malformed(Malformed("frame over the limit")),
        Some(total) if total > bytes.len() => Framing::Incomplete { need: total },
        Some(total) => Framing::Complete { bytes: total },
        None => Framing::Malformed(Malformed("frame over the limit")),
    }
}

/// The request of a whole frame.
///
/// # Errors
/// A body without its type's fields.
pub fn decode<'a>(frame: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    let mut reader = Reader::new(frame);
    let short = Malformed("frame shorter than its fields");
    let (first, second) = (reader.u32().ok_or(short)?, reader.u32().ok_or(short)?);
    let kind = if matches!(first, BATCH | FINISHED | QUERY) { first } else { second };
    let agency = Speaker::Named(AgencyId(reader.u32().ok_or(short)?));
    if kind == BATCH {
        let count = reader.u32().ok_or(short)?;
        let bets = Bets { count, bytes: reader.rest() };
        return Ok(Request::Batch(Batch { agency, sequence: None, bets }));
    }
    if !reader.is_empty() {
        return Err(Malformed("frame longer than its fields"));
    }
    Ok(if kind == FINISHED { Request::Finish(agency) } else { Request::Query(agency) })
}

/// The bets of a batch frame.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl Bets<'_> {
    /// The number of bets, one that overruns the frame included, and at most the declared number. The lengths are
    /// followed, because the declared number can be more than the frame holds.
    pub fn count(&self) -> u32 {
        Reader::new(self.bytes).count(self.count, skip_bet)
    }
}

impl BetSource for Bets<'_> {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        if (self.count as usize).saturating_mul(BET_BYTES_MIN) > self.bytes.len() {
            return Err(BatchError::Malformed);
        }
        let mut reader = Reader::new(self.bytes);
        let mut digits = Digits::default();
        for _ in 0..self.count {
            read_bet(&mut reader, &mut digits, sink).ok_or(BatchError::Malformed)?;
        }
        if reader.is_empty() { Ok(self.count) } else { Err(BatchError::Malformed) }
    }
}

fn skip_bet(reader: &mut Reader<'_>) -> Option<()> {
    reader.text_u32()?;
    reader.text_u32()?;
    reader.bytes(12).map(|_| ())
}

#[inline]
fn read_bet<S: BetSink>(reader: &mut Reader<'_>, digits: &mut Digits, sink: &mut S) -> Option<()> {
    let first_name = reader.text_u32()?;
    let last_name = reader.text_u32()?;
    let [document, birthdate, number] = [reader.u32()?, reader.u32()?, reader.u32()?];
    let bet = RawBet { first_name, last_name, document: digits.write(document), birthdate, number: Some(number) };
    sink.put(&bet);
    Some(())
}

/// A document number as digits, zero-padded to eight as existing clients print it.
#[derive(Default)]
struct Digits {
    buffer: [u8; 16],
}

impl Digits {
    #[inline]
    fn write(&mut self, document: u32) -> Text<'_> {
        let mut len = DOCUMENT_DIGITS;
        let mut low = document;
        if document > 99_999_999 {
            let high = document / 100_000_000;
            low = document % 100_000_000;
            if high > 9 {
                self.buffer[0] = b'0' + (high / 10) as u8;
                self.buffer[1] = b'0' + (high % 10) as u8;
                len = 10;
            } else {
                self.buffer[0] = b'0' + high as u8;
                len = 9;
            }
        }
        self.buffer[len - DOCUMENT_DIGITS..len].copy_from_slice(&eight_digits(low));
        Text::new(&self.buffer, len).expect("ten digits fit")
    }
}

/// A reply's bytes.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    match reply {
        Reply::Stored { .. } | Reply::Finished { .. } => out.push(OK),
        Reply::Winners { bets, .. } => {
            let Ok(count) = u32::try_from(bets.len()) else {
                out.push(ERROR);
                return After::CloseUnrepresentable;
            };
            out.push(OK);
            out.extend(count.to_be_bytes());
            bets.iter().for_each(|bet| out.extend(bet.document_number().to_be_bytes()));
        }
        Reply::Waiting { .. } => return After::CloseUnrepresentable,
        Reply::Rejected { .. } | Reply::NotDrawn | Reply::Refused(_) | Reply::BadRequest(_) => out.push(ERROR),
        Reply::Malformed(_) | Reply::Gap => {
            out.push(ERROR);
            return After::Close;
        }
        Reply::ShuttingDown | Reply::Unwelcome(_) => return After::Close,
        Reply::Welcome { .. } | Reply::Echo(_) => {}
    }
    After::Open
}

/// The client's side.
pub mod client {
    use super::{
        AgencyId, Answer, BATCH, Cause, ClientRules, ERROR, Expecting, FINISHED, HEADER_BYTES, Malformed, OK, QUERY, RawBet,
        Reader, Unrepresentable,
    };
    use crate::lottery::parse_number;

    /// Rules for a client of this dialect.
    pub const RULES: ClientRules = ClientRules {
        hello: false,
        window: 1,
        batches_answered: true,
        finish: true,
        batch_overhead_bytes: HEADER_BYTES + 8,
        exactly_once: false,
        resumable: true,
    };

    /// This dialect has no hello.
    pub fn hello(_: AgencyId, _: &mut Vec<u8>) {}

    /// Accepts every bet; the hub pads the document's digits.
    ///
    /// # Errors
    /// None; all dialects share the signature.
    pub fn carries(_: &RawBet<'_>) -> Result<(), Unrepresentable> {
        Ok(())
    }

    /// Appends one bet, the `index`th from 0 of its batch, to a batch's body.
    pub fn bet(_: AgencyId, _index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
        for name in [bet.first_name, bet.last_name] {
            body.extend(length(name.len()).to_be_bytes());
            body.extend(name.bytes());
        }
        for number in [parse_number(bet.document.bytes()).unwrap_or(0), bet.birthdate, bet.number.unwrap_or(0)] {
            body.extend(number.to_be_bytes());
        }
    }

    /// Writes the frame of a batch whose `count` bets are in `body`.
    pub fn batch(agency: AgencyId, _sequence: u64, count: u32, body: &[u8], out: &mut Vec<u8>) {
        message(BATCH, &[agency.0, count], body, out);
    }

    /// Writes "no more bets".
    pub fn finish(agency: AgencyId, out: &mut Vec<u8>) {
        message(FINISHED, &[agency.0], &[], out);
    }

    /// Writes the query for the winners.
    pub fn query(agency: AgencyId, out: &mut Vec<u8>) {
        message(QUERY, &[agency.0], &[], out);
    }

    /// Reads one reply, and returns its length in bytes and its meaning; `None` while it is incomplete.
    ///
    /// # Errors
    /// Bytes with which no reply starts.
    pub fn answer(bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        let mut reader = Reader::new(bytes);
        let Some(status) = reader.u8() else { return Ok(None) };
        let answer = match (status, expecting) {
            (OK, Expecting::Winners) => {
                let Some(count) = reader.u32() else { return Ok(None) };
                let Some(body) = reader.bytes((count as usize).saturating_mul(4)) else { return Ok(None) };
                let documents = body.as_chunks().0.iter().map(|word| format!("{:08}", u32::from_be_bytes(*word)));
                Answer::Winners { documents: documents.collect(), bets: None }
            }
            (OK, Expecting::Finished) => Answer::Finished { all_stored: true, bets: None },
            (OK, Expecting::Stored | Expecting::Welcome) => Answer::Stored,
            (ERROR, Expecting::Winners) => Answer::NotDrawn,
            (ERROR, Expecting::Finished) => {
                Answer::Error { cause: Cause::Unsaid, reason: "the hub refused the finish".to_owned() }
            }
            (ERROR, Expecting::Stored | Expecting::Welcome) => {
                let reason = "the hub rejected the batch".to_owned();
                Answer::Rejected { sequence: None, cause: Cause::Unsaid, reason }
            }
            _ => return Err(Malformed("unknown status")),
        };
        Ok(Some((bytes.len() - reader.rest().len(), answer)))
    }

    /// One message in the word order of existing clients: type, length of the rest.
    fn message(kind: u32, words: &[u32], body: &[u8], out: &mut Vec<u8>) {
        out.extend(kind.to_be_bytes());
        out.extend(length(words.len() * 4 + body.len()).to_be_bytes());
        words.iter().for_each(|word| out.extend(word.to_be_bytes()));
        out.extend(body);
    }

    fn length(bytes: usize) -> u32 {
        u32::try_from(bytes).expect("names and batches are far under 4 GiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context { frame_bytes_max: 1 << 20, opening: false, scanned: 0 }
    }

    #[test]
    fn digits_are_those_of_format() {
        let mut digits = Digits::default();
        for value in (0..2_000_000).chain([99_999_999, 100_000_000, 999_999_999, 1_000_000_000, u32::MAX]) {
            assert_eq!(digits.write(value).bytes(), format!("{value:08}").as_bytes());
        }
    }

    #[test]
    fn both_header_orders_frame() {
        let query = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 9];
        assert_eq!(frame(&query, &context()), Framing::Complete { bytes: 12 });
        assert_eq!(frame(&query[..11], &context()), Framing::Incomplete { need: 12 });
        let documented = [0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0, 9];
        assert_eq!(frame(&documented, &context()), Framing::Complete { bytes: 12 });
        for bytes in [&query, &documented] {
            let request = decode(bytes, &context()).unwrap();
            assert!(matches!(request, Request::Query(Speaker::Named(AgencyId(9)))), "{request:?}");
        }
    }

    #[test]
    fn malformed_frames() {
        for bytes in [
            [0, 0, 0, 9, 0, 0, 0, 4],
            [0, 0, 0, 7, 0, 0, 0, 1],
            [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
            [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        ] {
            assert!(matches!(frame(&bytes, &context()), Framing::Malformed(_)), "{bytes:?}");
        }
    }

    #[test]
    fn a_batch_is_counted_by_the_bets_that_it_has() {
        let bet = b"\0\0\0\x03Ana\0\0\0\x03Paz\0\0\0\x01\x01\x31\x07\x2d\0\0\0\x05";
        let two = [&bet[..], bet].concat();
        for (declared, bytes, expected) in [
            (2, &two[..], 2),
            (1, &two, 1),
            (0, &two, 0),
            (u32::MAX, &two, 2),
            (3, &two[..two.len() - 1], 2),
            (3, &two[..bet.len()], 1),
            (u32::MAX, &[], 0),
            // The form of one bet, without a type: letters at the offset of the count.
            (
                u32::from_be_bytes(*b"Sant"),
                b"iago Lionel\0\0\0\x05Lorca\x01\xd7\x90\x91\x01\x31\x07\x2d\0\0\x1d\x96",
                1,
            ),
        ] {
            assert_eq!(Bets { count: declared, bytes }.count(), expected, "{declared} in {bytes:?}");
        }
    }

    #[test]
    fn a_count_that_the_frame_has_no_room_for_is_malformed_before_anything_is_read() {
        let bets = Bets { count: u32::MAX, bytes: &[0; 40] };
        assert_eq!(bets.feed(&mut Vec::new()), Err(BatchError::Malformed));
    }

    #[test]
    fn bets_fill_their_frame_exactly() {
        let bet = [0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b', 0, 0, 0, 7, 0x01, 0x31, 0x07, 0x2d, 0, 0, 0x1d, 0x96];
        let feed = |count: u32, bytes: &[u8]| Bets { count, bytes }.feed(&mut Vec::new());
        assert_eq!((feed(1, &bet), feed(0, &[])), (Ok(1), Ok(0)));
        for (count, len) in [(1, bet.len() - 1), (2, bet.len()), (0, 1)] {
            assert_eq!(feed(count, &bet[..len]), Err(BatchError::Malformed), "{count} in {len}");
        }
        assert_eq!(feed(1, &[bet, bet].concat()), Err(BatchError::Malformed));
    }
}
