//! The `case-id` dialect: one byte of case, then fields with u32 lengths.
//!
//! Source: `docs/PROTOCOLS.md`, case-id. Batches have no reply: the reply to the finish says whether all of the
//! connection's batches are stored. The finish names no agency; every bet and the query do.

use super::message::{
    After, Answer, Batch, Cause, ClientRules, Context, Expecting, Framing, Malformed, Reply, Request, ServerRules,
    Speaker, Unrepresentable,
};
use super::plain;
use super::reader::Reader;
use crate::lottery::{AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet, parse_yyyymmdd};

const BETS: u8 = 0x01;
const FINISH: u8 = 0x02;
const QUERY: u8 = 0x03;
/// The reply to a finish: every batch of the connection is stored.
const ALL_STORED: u8 = 0x02;
/// The reply to a finish: at least one batch was rejected.
const NOT_ALL_STORED: u8 = 0x00;
/// Case and length, or case and agency.
const HEADER_BYTES: usize = 5;

/// Behaviour that this dialect needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules { finish_before_agency: true, ..ServerRules::NONE };

/// Where a frame ends.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    let mut reader = Reader::new(bytes);
    let total = match reader.u8() {
        None => return Framing::Incomplete { need: 1 },
        Some(FINISH) => return Framing::Complete { bytes: 1 },
        Some(QUERY) => Some(HEADER_BYTES),
        Some(BETS) => match reader.u32() {
            Some(length) => (length as usize).checked_add(HEADER_BYTES),
            None => return Framing::Incomplete { need: HEADER_BYTES },
        },
        Some(_) => return Framing::Malformed(Malformed("unknown case")),
    };
    match total {
        Some(total) if total > context.frame_bytes_max => Framing::Malformed(Malformed("frame over the limit")),
        Some(total) if total > bytes.len() => Framing::Incomplete { need: total },
        Some(total) => Framing::Complete { bytes: total },
        None => Framing::Malformed(Malformed("frame over the limit")),
    }
}

/// The request of a whole frame.
///
/// # Errors
/// Bets too short to name an agency.
pub fn decode<'a>(frame: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    let mut reader = Reader::new(frame);
    let short = Malformed("frame shorter than its fields");
    match reader.u8() {
        Some(FINISH) => Ok(Request::Finish(Speaker::Connection)),
        Some(QUERY) => Ok(Request::Query(Speaker::Named(AgencyId(reader.u32().ok_or(short)?)))),
        Some(BETS) => {
            reader.u32().ok_or(short)?;
            let bytes = reader.rest();
            if bytes.is_empty() {
                return Ok(Request::EmptyBatch);
            }
            let agency = AgencyId(reader.u32().ok_or(short)?);
            let bets = Bets { agency, bytes };
            Ok(Request::Batch(Batch { agency: Speaker::Named(agency), sequence: None, bets }))
        }
        Some(_) | None => Err(Malformed("unknown case")),
    }
}

/// The bets of a batch frame; there is at least one.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    agency: AgencyId,
    bytes: &'a [u8],
}

impl Bets<'_> {
    /// The number of bets, one that overruns the frame included.
    pub fn count(&self) -> u32 {
        Reader::new(self.bytes).count(u32::MAX, read_bet)
    }
}

impl BetSource for Bets<'_> {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        let mut reader = Reader::new(self.bytes);
        let mut index = 0;
        while !reader.is_empty() {
            let (agency, bet) = read_bet(&mut reader).ok_or(BatchError::Malformed)?;
            if agency != self.agency {
                return Err(BatchError::BadBet { index, error: BetError::MixedAgencies });
            }
            sink.put(&bet);
            index += 1;
        }
        Ok(index)
    }
}

#[inline(always)]
fn read_bet<'a>(reader: &mut Reader<'a>) -> Option<(AgencyId, RawBet<'a>)> {
    let agency = AgencyId(reader.u32()?);
    let [first_name, last_name, document] = [reader.text_u32()?, reader.text_u32()?, reader.text_u32()?];
    let birthdate = parse_yyyymmdd(reader.text_u32()?.bytes());
    Some((agency, RawBet { first_name, last_name, document, birthdate, number: Some(reader.u32()?) }))
}

/// A reply's bytes.
///
/// The dialect has no error byte, and the encoder does not know whether the peer waits for the reply to a finish or for
/// winners. So an error is `00`, then the end: to a finish it means "not all stored", and as winners it is a truncated
/// reply. A length of zero would mean "no winners".
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    match reply {
        Reply::Finished { all_stored, .. } => out.push(if *all_stored { ALL_STORED } else { NOT_ALL_STORED }),
        Reply::Winners { bets, .. } => return winners(bets, out),
        Reply::Refused(_) | Reply::BadRequest(_) | Reply::Malformed(_) | Reply::Gap => {
            out.push(NOT_ALL_STORED);
            return After::Close;
        }
        Reply::ShuttingDown | Reply::Unwelcome(_) => return After::Close,
        // The dialect has no "not yet": its queries are always parked.
        Reply::NotDrawn | Reply::Waiting { .. } => return After::CloseUnrepresentable,
        Reply::Stored { .. } | Reply::Rejected { .. } | Reply::Welcome { .. } | Reply::Echo(_) => {}
    }
    After::Open
}

fn winners(bets: &[Bet], out: &mut Vec<u8>) -> After {
    let start = out.len();
    out.extend([0; 4]);
    bets.iter().for_each(|bet| push_string(bet.document().as_bytes(), out));
    let Ok(length) = u32::try_from(out.len() - start - 4) else {
        out.truncate(start);
        return After::CloseUnrepresentable;
    };
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    After::Close
}

/// Appends a string with its length before it.
fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(u32::try_from(bytes.len()).expect("a field is far under 4 GiB").to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The client's side.
pub mod client {
    use super::{
        ALL_STORED, AgencyId, Answer, BETS, Cause, ClientRules, Expecting, FINISH, HEADER_BYTES, Malformed,
        NOT_ALL_STORED, QUERY, RawBet, Reader, Unrepresentable, plain, push_string,
    };

    /// Rules for a client of this dialect.
    pub const RULES: ClientRules = ClientRules {
        hello: false,
        window: usize::MAX,
        batches_answered: false,
        finish: true,
        batch_overhead_bytes: HEADER_BYTES,
        exactly_once: false,
        resumable: false,
    };

    /// This dialect has no hello.
    pub fn hello(_: AgencyId, _: &mut Vec<u8>) {}

    /// Accepts every bet.
    ///
    /// # Errors
    /// None; all dialects share the signature.
    pub fn carries(_: &RawBet<'_>) -> Result<(), Unrepresentable> {
        Ok(())
    }

    /// Appends one bet, the `index`th from 0 of its batch, to a batch's body.
    pub fn bet(agency: AgencyId, _index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
        body.extend(agency.0.to_be_bytes());
        for text in [bet.first_name, bet.last_name, bet.document] {
            push_string(text.bytes(), body);
        }
        body.extend(10u32.to_be_bytes());
        plain::push_date(bet.birthdate, body);
        body.extend(bet.number.unwrap_or(0).to_be_bytes());
    }

    /// Writes the frame of a batch whose `count` bets are in `body`.
    pub fn batch(_: AgencyId, _sequence: u64, _count: u32, body: &[u8], out: &mut Vec<u8>) {
        out.push(BETS);
        push_string(body, out);
    }

    /// Writes "no more bets".
    pub fn finish(_: AgencyId, out: &mut Vec<u8>) {
        out.push(FINISH);
    }

    /// Writes the query for the winners.
    pub fn query(agency: AgencyId, out: &mut Vec<u8>) {
        out.push(QUERY);
        out.extend(agency.0.to_be_bytes());
    }

    /// Reads one reply, and returns its length in bytes and its meaning; `None` while it is incomplete.
    ///
    /// # Errors
    /// Bytes with which no reply starts.
    pub fn answer(bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        let mut reader = Reader::new(bytes);
        let answer = match expecting {
            Expecting::Winners => {
                let Some(list) = reader.text_u32() else { return Ok(None) };
                Answer::Winners { documents: documents(list.bytes())?, bets: None }
            }
            Expecting::Finished => match reader.u8() {
                None => return Ok(None),
                Some(ALL_STORED) => Answer::Finished { all_stored: true, bets: None },
                Some(NOT_ALL_STORED) => Answer::Finished { all_stored: false, bets: None },
                Some(_) => return Err(Malformed("unknown answer to a finish")),
            },
            Expecting::Stored | Expecting::Welcome => match reader.u8() {
                None => return Ok(None),
                Some(_) => {
                    let reason = "the hub cannot read the batches".to_owned();
                    Answer::Error { cause: Cause::Stream, reason }
                }
            },
        };
        Ok(Some((bytes.len() - reader.rest().len(), answer)))
    }

    fn documents(list: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut reader = Reader::new(list);
        let mut documents = Vec::new();
        while !reader.is_empty() {
            let document = reader.text_u32().ok_or(Malformed("a winner's document overruns the answer"))?;
            documents.push(String::from_utf8_lossy(document.bytes()).into_owned());
        }
        Ok(documents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context { frame_bytes_max: 1000, opening: false, scanned: 0 }
    }

    fn bet(agency: u32) -> Vec<u8> {
        let bet = Bet::from_text(b"Ana", b"Paz", b"30904465", b"1999-03-17", b"7574").unwrap();
        let mut body = Vec::new();
        client::bet(AgencyId(agency), 0, &bet.as_raw(), &mut body);
        body
    }

    fn batch(body: &[u8]) -> Result<(AgencyId, u32, Result<u32, BatchError>), Malformed> {
        let mut frame = Vec::new();
        client::batch(AgencyId(0), 0, 0, body, &mut frame);
        let Request::Batch(batch) = decode(&frame, &context())? else { panic!("{frame:?} is no batch") };
        let Speaker::Named(agency) = batch.agency else { panic!("bets name their agency") };
        Ok((agency, batch.bets.count(), batch.bets.feed(&mut Vec::new())))
    }

    #[test]
    fn frames_that_can_and_cannot_be() {
        for (bytes, expected) in [
            (&b""[..], Framing::Incomplete { need: 1 }),
            (b"\x01\0\0\0", Framing::Incomplete { need: 5 }),
            (b"\x01\0\0\0\0", Framing::Complete { bytes: 5 }),
            (b"\x01\0\0\x03\xe3", Framing::Incomplete { need: 1000 }),
            (b"\x01\0\0\x03\xe4", Framing::Malformed(Malformed("frame over the limit"))),
            (b"\x01\xff\xff\xff\xff", Framing::Malformed(Malformed("frame over the limit"))),
            (b"\x02\x02", Framing::Complete { bytes: 1 }),
            (b"\x03\0\0", Framing::Incomplete { need: 5 }),
            (b"\x03\0\0\0\x07\x01", Framing::Complete { bytes: 5 }),
            (b"\x04", Framing::Malformed(Malformed("unknown case"))),
        ] {
            assert_eq!(frame(bytes, &context()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_batch_is_of_the_agency_of_its_first_bet_and_of_no_other() {
        let three = [bet(3), bet(3), bet(3)].concat();
        assert_eq!(batch(&three), Ok((AgencyId(3), 3, Ok(3))));
        let error = BatchError::BadBet { index: 1, error: BetError::MixedAgencies };
        assert_eq!(batch(&[bet(3), bet(4)].concat()), Ok((AgencyId(3), 2, Err(error))));
    }

    #[test]
    fn a_batch_of_no_bets_names_no_agency() {
        assert!(matches!(decode(&[BETS, 0, 0, 0, 0], &context()), Ok(Request::EmptyBatch)));
    }

    #[test]
    fn bets_that_do_not_fill_their_frame_are_malformed_and_counted() {
        let two = [bet(3), bet(3)].concat();
        for len in 0..4 {
            assert!(len == 0 || batch(&two[..len]).is_err(), "{len}");
        }
        for len in (4..two.len()).filter(|&len| len != two.len() / 2) {
            let count = if len < two.len() / 2 { 1 } else { 2 };
            assert_eq!(batch(&two[..len]), Ok((AgencyId(3), count, Err(BatchError::Malformed))), "{len}");
        }
    }
}
