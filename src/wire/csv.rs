//! The `csv` dialect: a kind, a u16 length and fields separated by commas.
//!
//! Source: `docs/PROTOCOLS.md`, csv. No agency is on the wire: the hub assigns one to the connection. The end of the
//! bets is the finish and the query. White space around a field is trimmed, a line break between bets too. Nothing is
//! quoted or escaped, so that a name cannot contain a comma, nor begin or end with a space.

use super::message::{
    After, Answer, Batch, Cause, ClientRules, Context, Expecting, Framing, Malformed, Reply, Request, ServerRules,
    Speaker, Unrepresentable,
};
use super::plain;
use super::reader::Reader;
use crate::lottery::{
    AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet, Text, parse_number, parse_yyyymmdd,
};

const BETS: u8 = 0x01;
const STORED: u8 = 0x02;
const WINNERS: u8 = 0x03;
/// From the client: no more bets. From the hub: an error.
const END: u8 = 0xff;
/// Kind and length.
const HEADER_BYTES: usize = 3;
const FIELDS: usize = 5;
const DATE_BYTES: usize = 10;

/// Behaviour that this dialect needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules::NONE;

/// Where a frame ends.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    let mut reader = Reader::new(bytes);
    match reader.u8() {
        None => return Framing::Incomplete { need: 1 },
        Some(END) => return Framing::Complete { bytes: 1 },
        Some(BETS) => {}
        Some(_) => return Framing::Malformed(Malformed("unknown kind of frame")),
    }
    let Some(length) = reader.u16() else { return Framing::Incomplete { need: HEADER_BYTES } };
    match HEADER_BYTES + usize::from(length) {
        total if total > context.frame_bytes_max => Framing::Malformed(Malformed("frame over the limit")),
        total if total > bytes.len() => Framing::Incomplete { need: total },
        total => Framing::Complete { bytes: total },
    }
}

/// The request of a whole frame.
///
/// # Errors
/// None on a frame that [`frame`] found: invalid bets are errors of the batch.
pub fn decode<'a>(frame: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    if frame.first() == Some(&END) {
        return Ok(Request::FinishAndQuery(Speaker::Connection));
    }
    let text = frame.get(HEADER_BYTES..).ok_or(Malformed("frame shorter than its header"))?;
    Ok(Request::Batch(Batch { agency: Speaker::Connection, sequence: None, bets: Bets { text } }))
}

/// The bets of a batch frame; there may be none.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    text: &'a [u8],
}

impl Bets<'_> {
    /// The number of bets by their fields, one with missing fields included.
    pub fn count(&self) -> u32 {
        let open_field = plain::trim_end(self.text).last().is_some_and(|&byte| byte != b',');
        let fields = memchr::memchr_iter(b',', self.text).count() + usize::from(open_field);
        u32::try_from(fields.div_ceil(FIELDS)).unwrap_or(u32::MAX)
    }
}

impl BetSource for Bets<'_> {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        let mut fields = Fields { rest: Some(self.text) };
        let mut index = 0;
        while !fields.at_end() {
            let bet = fields.bet().ok_or(BatchError::BadBet { index, error: BetError::Fields })?;
            sink.put(&bet);
            index += 1;
        }
        Ok(index)
    }
}

/// The unread fields of a text; `None` once the last one had no comma.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Whether nothing but white space is left.
    #[inline]
    fn at_end(&self) -> bool {
        self.rest.is_none_or(|rest| rest.iter().all(|&byte| plain::is_space(byte)))
    }

    #[inline(always)]
    fn bet(&mut self) -> Option<RawBet<'a>> {
        let [first_name, last_name] = [self.field()?, self.field()?];
        let document = match plain::number_before(b',', self.rest?) {
            Some((_, len)) => self.take(len)?,
            None => self.field()?,
        };
        let birthdate = match plain::date_before(b',', self.rest?) {
            Some(date) => self.take(DATE_BYTES).map(|_| date)?,
            None => parse_yyyymmdd(self.field()?.bytes()),
        };
        let number = match plain::number_before(b',', self.rest?) {
            Some((number, len)) => self.take(len).map(|_| Some(number))?,
            None => parse_number(self.field()?.bytes()),
        };
        Some(RawBet { first_name, last_name, document, birthdate, number })
    }

    /// The next `len` bytes, which end at a comma or at the end of the text.
    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<Text<'a>> {
        let rest = self.rest?;
        self.rest = rest.get(len + 1..);
        Text::new(rest, len)
    }

    /// The next field without the white space around it. The last one may lack its comma.
    #[inline(always)]
    fn field(&mut self) -> Option<Text<'a>> {
        let rest = self.rest?;
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        self.take(end)?;
        plain::trimmed(rest, end)
    }
}

/// A reply's bytes.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    match reply {
        Reply::Stored { .. } => out.push(STORED),
        Reply::Rejected { .. } => out.push(END),
        Reply::Winners { bets, .. } => return winners(bets, out),
        Reply::Refused(_) | Reply::BadRequest(_) | Reply::Malformed(_) | Reply::Gap => {
            out.push(END);
            return After::Close;
        }
        Reply::ShuttingDown | Reply::Unwelcome(_) => return After::Close,
        // The dialect has no "not yet": its queries are always parked.
        Reply::Waiting { .. } => return After::CloseUnrepresentable,
        Reply::NotDrawn => {
            out.push(END);
            return After::CloseUnrepresentable;
        }
        Reply::Finished { .. } | Reply::Welcome { .. } | Reply::Echo(_) => {}
    }
    After::Open
}

/// The winners if their documents fit a u16 length, else an error.
fn winners(bets: &[Bet], out: &mut Vec<u8>) -> After {
    let start = out.len();
    out.extend([WINNERS, 0, 0]);
    plain::push_documents(bets, out);
    let Ok(length) = u16::try_from(out.len() - start - HEADER_BYTES) else {
        out.truncate(start);
        out.push(END);
        return After::CloseUnrepresentable;
    };
    out[start + 1..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    After::Close
}

/// The client's side.
pub mod client {
    use super::{
        AgencyId, Answer, BETS, Cause, ClientRules, END, Expecting, HEADER_BYTES, Malformed, RawBet, Reader, STORED,
        Unrepresentable, WINNERS, plain,
    };

    /// Rules for a client of this dialect.
    pub const RULES: ClientRules = ClientRules {
        hello: false,
        window: 1,
        batches_answered: true,
        finish: false,
        batch_overhead_bytes: HEADER_BYTES,
        exactly_once: false,
        resumable: false,
    };

    /// This dialect has no hello.
    pub fn hello(_: AgencyId, _: &mut Vec<u8>) {}

    /// Accepts names without a comma, and without a space at either end.
    ///
    /// # Errors
    /// The reason.
    pub fn carries(bet: &RawBet<'_>) -> Result<(), Unrepresentable> {
        for name in [bet.first_name.bytes(), bet.last_name.bytes()] {
            if name.contains(&b',') {
                return Err(Unrepresentable("the csv dialect cannot carry a name with ','"));
            }
            if name.first() == Some(&b' ') || name.last() == Some(&b' ') {
                return Err(Unrepresentable("the csv dialect cannot carry a name with a space at either end"));
            }
        }
        Ok(())
    }

    /// Appends one bet, the `index`th from 0 of its batch, to a batch's body.
    pub fn bet(_: AgencyId, _index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
        for text in [bet.first_name, bet.last_name, bet.document] {
            body.extend_from_slice(text.bytes());
            body.push(b',');
        }
        plain::push_date(bet.birthdate, body);
        body.push(b',');
        plain::push_number(bet.number.unwrap_or(0), body);
        body.push(b',');
    }

    /// Writes the frame of a batch whose `count` bets are in `body`.
    ///
    /// # Panics
    /// If `body` has more than 65,535 bytes.
    pub fn batch(_: AgencyId, _sequence: u64, _count: u32, body: &[u8], out: &mut Vec<u8>) {
        let length = u16::try_from(body.len()).expect("a batch's bets have at most 65,535 bytes");
        out.push(BETS);
        out.extend(length.to_be_bytes());
        out.extend_from_slice(body);
    }

    /// Writes nothing: the query includes the finish.
    pub fn finish(_: AgencyId, _: &mut Vec<u8>) {}

    /// Writes the end of the bets, which is the query for the winners.
    pub fn query(_: AgencyId, out: &mut Vec<u8>) {
        out.push(END);
    }

    /// Reads one reply, and returns its length in bytes and its meaning; `None` while it is incomplete.
    ///
    /// # Errors
    /// Bytes with which no reply starts.
    pub fn answer(bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        let mut reader = Reader::new(bytes);
        let Some(kind) = reader.u8() else { return Ok(None) };
        let answer = match (kind, expecting) {
            (STORED, _) => Answer::Stored,
            (END, Expecting::Stored) => {
                let reason = "the hub rejected the batch".to_owned();
                Answer::Rejected { sequence: None, cause: Cause::Unsaid, reason }
            }
            (END, Expecting::Welcome | Expecting::Finished | Expecting::Winners) => {
                let reason = "the hub refused the end of the bets, or cannot say the winners".to_owned();
                Answer::Error { cause: Cause::Unsaid, reason }
            }
            (WINNERS, _) => {
                let Some(list) = reader.u16().and_then(|length| reader.bytes(usize::from(length))) else {
                    return Ok(None);
                };
                Answer::Winners { documents: plain::documents(list), bets: None }
            }
            _ => return Err(Malformed("unknown kind of answer")),
        };
        Ok(Some((bytes.len() - reader.rest().len(), answer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context { frame_bytes_max: 1000, opening: false, scanned: 0 }
    }

    /// The bets of a text or their error, and their count.
    fn read(text: &str) -> (Result<Vec<Bet>, BatchError>, u32) {
        let mut frame = vec![BETS];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text.bytes());
        assert_eq!(super::frame(&frame, &context()), Framing::Complete { bytes: frame.len() });
        let Request::Batch(batch) = decode(&frame, &context()).unwrap() else { panic!("{text} is no batch") };
        let mut list = Vec::new();
        let fed = batch.bets.feed(&mut list);
        (fed.map(|_| list.into_iter().map(Result::unwrap).collect()), batch.bets.count())
    }

    #[test]
    fn frames_that_can_and_cannot_be() {
        for (bytes, expected) in [
            (&b""[..], Framing::Incomplete { need: 1 }),
            (b"\x01", Framing::Incomplete { need: 3 }),
            (b"\x01\x00", Framing::Incomplete { need: 3 }),
            (b"\x01\x00\x02a", Framing::Incomplete { need: 5 }),
            (b"\x01\x00\x00x", Framing::Complete { bytes: 3 }),
            (b"\xff\x01", Framing::Complete { bytes: 1 }),
            (b"\x01\x03\xe5", Framing::Incomplete { need: 1000 }),
            (b"\x01\x03\xe6", Framing::Malformed(Malformed("frame over the limit"))),
            (b"\x02", Framing::Malformed(Malformed("unknown kind of frame"))),
        ] {
            assert_eq!(frame(bytes, &context()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn spaces_around_fields_are_dropped_and_the_last_comma_may_be_missing() {
        let plain = read("Ana Paula,Paz,30904465,1999-03-17,7574,").0.unwrap();
        for text in ["Ana Paula,Paz,30904465,1999-03-17,7574", "  Ana Paula , Paz,30904465 ,1999-03-17,  7574 ,  "] {
            assert_eq!(read(text), (Ok(plain.clone()), 1), "{text:?}");
        }
        let (bets, count) = read("a,b,1,1999-03-17,5,c,d,2,1999-03-17,6,");
        assert_eq!((bets.unwrap().len(), count), (2, 2));
    }

    #[test]
    fn a_line_break_between_bets_is_dropped_and_separates_nothing() {
        let (plain, _) = read("a,b,1,1999-03-17,5,c,d,2,1999-03-17,6,");
        for text in [
            "a,b,1,1999-03-17,5,\nc,d,2,1999-03-17,6,\n",
            "a,b,1,1999-03-17,5,\r\nc,d,2,1999-03-17,6,\r\n",
            "\na,b,1,1999-03-17,5\r\n,\n\nc\n,\td,2 ,1999-03-17\n,6\n",
        ] {
            assert_eq!(read(text), (plain.clone(), 2), "{text:?}");
        }
        let mut list = Vec::new();
        let lines = Bets { text: b"a,b,1,1999-03-17,5\nc,d,2,1999-03-17,6\n" };
        assert_eq!(lines.feed(&mut list), Err(BatchError::BadBet { index: 1, error: BetError::Fields }));
        assert_eq!(list, [Err(BetError::Number)]);
        list.clear();
        assert_eq!(Bets { text: b"a\nb,c,1,1999-03-17,5," }.feed(&mut list), Ok(1));
        assert!(list[0].is_err(), "a line break inside a name is none around it");
    }

    #[test]
    fn a_batch_of_no_bets_is_one() {
        for text in ["", "   ", "\r\n"] {
            assert_eq!(read(text), (Ok(vec![]), 0), "{text:?}");
        }
    }

    #[test]
    fn a_bet_that_lacks_fields_is_named() {
        let bad = |index| Err(BatchError::BadBet { index, error: BetError::Fields });
        assert_eq!(read("a,b,1"), (bad(0), 1));
        assert_eq!(read(","), (bad(0), 1));
        assert_eq!(read("a,b,1,1999-03-17,5,c,"), (bad(1), 2));
        assert_eq!(read("a,b,1,1999-03-17,5,c,d,2,1999-03-17,6,e"), (bad(2), 3));
    }

    #[test]
    fn winners_that_no_length_can_say_are_refused() {
        let bet = |digits: &str| Bet::from_text(b"Ana", b"Paz", digits.as_bytes(), b"1999-03-17", b"7574").unwrap();
        // 8,191 documents of seven digits and the commas between them are 65,527 bytes: one more of seven
        // digits reaches the u16 limit, one of eight exceeds it.
        let mut bets = vec![bet("1234567"); 8191];
        bets.push(bet("12345678"));
        let mut out = Vec::new();
        assert_eq!(encode(&Reply::Winners { agency: AgencyId(1), bets: &bets[..8191] }, &mut out), After::Close);
        assert_eq!(out.len(), 3 + 65_527);
        let answer = client::answer(&out, Expecting::Winners).unwrap();
        assert!(matches!(answer, Some((_, Answer::Winners { documents, .. })) if documents.len() == 8191));
        out.clear();
        assert_eq!(encode(&Reply::Winners { agency: AgencyId(1), bets: &bets }, &mut out), After::CloseUnrepresentable);
        assert_eq!(out, [END]);
        bets.pop();
        bets.push(bet("1234567"));
        out.clear();
        assert_eq!(encode(&Reply::Winners { agency: AgencyId(1), bets: &bets }, &mut out), After::Close);
        assert_eq!(&out[..3], [WINNERS, 0xff, 0xff]);
    }
}
