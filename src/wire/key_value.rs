//! The `key-value` dialect: a u32 length and `KEY:VALUE` pairs joined by `|`, ended by a line feed.
//!
//! Source: `docs/PROTOCOLS.md`, key-value. Pairs are in any order; in a value, `\` escapes the next byte. A
//! bet is a value that is itself a list of pairs: `bet` reads and writes it. The finish is also the query.
//! Pairs with unknown keys are ignored; a mistyped key of a bet is still an error, because the number of bets is checked.

mod bet;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use self::bet::{BET, Fields, Scratch};
use super::message::{
    After, Answer, Batch, Cause, ClientRules, Context, Expecting, Framing, Malformed, Reply, Request, ServerRules,
    Speaker, Unrepresentable,
};
use super::plain;
use super::reader::Reader;
use crate::lottery::{AgencyId, BatchError, BetError, BetSink, BetSource, RawBet, parse_number};

const LENGTH_BYTES: usize = 4;
const BATCH_SIZE: &[u8] = b"BATCH_SIZE";
const ACTION: &[u8] = b"ACTION";
const AGENCY_ID: &[u8] = b"AGENCY_ID";
/// Both spellings of the finish in the original documents.
const FINISH: [&[u8]; 2] = [b"FINISH_BETTING", b"BETTING_FINISHED"];
const STATUS: &[u8] = b"STATUS";
const SUCCESS: &[u8] = b"SUCCESS";
const ERROR: &[u8] = b"ERROR";
const MESSAGE: &[u8] = b"MESSAGE";
const WINNERS: &[u8] = b"WINNERS";

/// Behaviour that this dialect needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules::NONE;

/// Where a frame ends.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    let Some(length) = Reader::new(bytes).u32() else {
        return Framing::Incomplete { need: LENGTH_BYTES };
    };
    match (length as usize).checked_add(LENGTH_BYTES) {
        Some(total) if total > context.frame_bytes_max => Framing::Malformed(Malformed("frame over the limit")),
        Some(total) if total > bytes.len() => Framing::Incomplete { need: total },
        Some(total) => Framing::Complete { bytes: total },
        None => Framing::Malformed(Malformed("frame over the limit")),
    }
}

/// The pairs of a payload, without its final line feed, which may be absent, and without the white space at its
/// end: the original's example has a space before the line feed.
fn pairs_of(payload: &[u8]) -> &[u8] {
    plain::trim_end(payload)
}

/// The request of a whole frame. If it starts with the batch's size and a bet, as clients write it, the rest
/// is not read yet.
///
/// # Errors
/// None on a frame that [`frame`] found: invalid pairs have an error reply.
pub fn decode<'a>(frame: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    let payload = frame.get(LENGTH_BYTES..).ok_or(Malformed("frame shorter than its length"))?;
    let pairs = pairs_of(payload);
    let (mut size, mut first, mut action, mut agency) = (None, None, None, None);
    for pair in (Pairs { rest: Some(pairs) }) {
        let Some((key, value)) = pair else {
            return Ok(Request::Refused(Malformed("a pair has no ':'")));
        };
        match key {
            BATCH_SIZE => size = size.or(Some(value)),
            ACTION => action = action.or(Some(value)),
            AGENCY_ID => agency = agency.or(Some(value)),
            key if key.starts_with(BET) => first = first.or(Some(value)),
            _ => {}
        }
        if size.is_some() && first.is_some() {
            break;
        }
    }
    Ok(match (size.is_some() || first.is_some(), action) {
        (true, None) => batch(pairs, size, first),
        (false, Some(action)) => finish(action, agency),
        (true, Some(_)) => Request::Refused(Malformed("bets and an action in one message")),
        (false, None) => Request::Refused(Malformed("neither bets nor an action")),
    })
}

fn batch<'a>(pairs: &'a [u8], size: Option<&[u8]>, first: Option<&'a [u8]>) -> Request<Bets<'a>> {
    let Some(declared) = size.and_then(parse_number) else {
        return Request::Refused(Malformed("BATCH_SIZE is missing or no number"));
    };
    let bad = |error| Request::BadBatch { count: count_bets(pairs), error };
    let Some(first) = first else {
        return if declared == 0 { Request::EmptyBatch } else { bad(BatchError::Count { declared, present: 0 }) };
    };
    let mut scratch = Scratch::default();
    let read = Fields::read(first, &mut scratch).ok_or(BetError::Fields);
    let agency = match read.and_then(|fields| plain::agency(fields.agency).ok_or(BetError::Agency)) {
        Ok(agency) => agency,
        Err(error) => return bad(BatchError::BadBet { index: 0, error }),
    };
    let bets = Bets { agency, declared, pairs };
    Request::Batch(Batch { agency: Speaker::Named(agency), sequence: None, bets })
}

fn finish<B>(action: &[u8], agency: Option<&[u8]>) -> Request<B> {
    if !FINISH.contains(&action) {
        return Request::Refused(Malformed("unknown action"));
    }
    match agency.and_then(plain::agency) {
        Some(agency) => Request::FinishAndQuery(Speaker::Named(agency)),
        None => Request::Refused(Malformed("AGENCY_ID is missing or no number")),
    }
}

/// Whether a pair may have this key: separators and escapes are for values.
fn is_key(key: &[u8]) -> bool {
    memchr::memchr2(b'|', b'\\', key).is_none()
}

/// The pairs of a message, each as key and escaped value, or `None` if it has no `:` after a key.
struct Pairs<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let pair = &rest[..bet::value_end(rest)];
        self.rest = rest.get(pair.len() + 1..);
        let colon = pair.iter().position(|&byte| byte == b':').filter(|&colon| is_key(&pair[..colon]));
        Some(colon.map(|colon| (&pair[..colon], &pair[colon + 1..])))
    }
}

/// The bets of a batch; there is at least one.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    agency: AgencyId,
    declared: u32,
    pairs: &'a [u8],
}

impl Bets<'_> {
    /// The number of bets in the frame, which can be less than the declared number.
    pub fn count(&self) -> u32 {
        count_bets(self.pairs)
    }
}

/// How many of the pairs are bets, valid or not.
fn count_bets(pairs: &[u8]) -> u32 {
    let bets = Pairs { rest: Some(pairs) }.flatten().filter(|(key, _)| key.starts_with(BET));
    u32::try_from(bets.count()).unwrap_or(u32::MAX)
}

impl BetSource for Bets<'_> {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        let mut scratch = Scratch::default();
        let mut numbers = Numbers::default();
        let mut present = 0;
        let mut sizes = 0;
        let mut rest = Some(self.pairs);
        while let Some(pairs) = rest {
            let bad = |error| BatchError::BadBet { index: present, error };
            let key = &pairs[..memchr::memchr(b':', pairs).ok_or(bad(BetError::Fields))?];
            let value = &pairs[key.len() + 1..];
            let Some(number) = key.strip_prefix(BET) else {
                sizes += u32::from(key == BATCH_SIZE);
                if key == ACTION || !is_key(key) || sizes > 1 {
                    return Err(bad(BetError::Fields));
                }
                rest = value.get(bet::value_end(value) + 1..);
                continue;
            };
            let number = parse_number(number).filter(|&number| numbers.take(number, self.pairs.len()));
            number.ok_or(bad(BetError::Fields))?;
            let (fields, end) = match Fields::read_canonical(value) {
                Some(read) => read,
                None => {
                    let end = bet::value_end(value);
                    (Fields::read(&value[..end], &mut scratch).ok_or(bad(BetError::Fields))?, end)
                }
            };
            let agency = plain::agency(fields.agency).ok_or(bad(BetError::Agency))?;
            if agency != self.agency {
                return Err(bad(BetError::MixedAgencies));
            }
            sink.put(&fields.bet);
            present += 1;
            rest = value.get(end + 1..);
        }
        let declared = self.declared;
        if present == declared { Ok(present) } else { Err(BatchError::Count { declared, present }) }
    }
}

/// The numbers of the bets of a batch so far: each at most once, in any order.
#[derive(Default)]
struct Numbers {
    /// The numbers from 1 to this one were received in order.
    in_order: u32,
    /// The received numbers, as a bitmap; empty while they are in order.
    taken: Vec<bool>,
}

impl Numbers {
    /// Adds a number; false if it was received before, or is over `number_max`.
    #[inline]
    fn take(&mut self, number: u32, number_max: usize) -> bool {
        if self.taken.is_empty() && number == self.in_order + 1 {
            self.in_order = number;
            return true;
        }
        self.take_out_of_order(number as usize, number_max)
    }

    #[cold]
    fn take_out_of_order(&mut self, number: usize, number_max: usize) -> bool {
        if self.taken.is_empty() {
            self.taken = vec![false; number_max + 1];
            self.taken[..=self.in_order as usize].fill(true);
        }
        self.taken.get_mut(number).is_some_and(|taken| !std::mem::replace(taken, true))
    }
}

/// A reply's bytes.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    match reply {
        Reply::Stored { .. } => say(SUCCESS, MESSAGE, out, |value| value.extend_from_slice(b"the bets are stored")),
        Reply::Winners { bets, .. } => close(say(SUCCESS, WINNERS, out, |value| plain::push_documents(bets, value))),
        Reply::Rejected { why, .. } => error(why, out),
        Reply::BadRequest(malformed) => error(malformed, out),
        Reply::Waiting { .. } => After::CloseUnrepresentable,
        Reply::NotDrawn => error(&"the draw has not been made", out),
        Reply::Refused(why) => close(error(why, out)),
        Reply::Malformed(malformed) => close(error(malformed, out)),
        Reply::Unwelcome(why) => close(error(why, out)),
        Reply::ShuttingDown => close(error(&"the hub is stopping", out)),
        Reply::Gap => After::Close,
        Reply::Finished { .. } | Reply::Welcome { .. } | Reply::Echo(_) => After::Open,
    }
}

fn error(why: &dyn Display, out: &mut Vec<u8>) -> After {
    say(ERROR, MESSAGE, out, |value| push_escaped(why.to_string().as_bytes(), value))
}

fn close(after: After) -> After {
    match after {
        After::Open => After::Close,
        After::Close | After::CloseUnrepresentable => after,
    }
}

/// Appends a message of a status and one more pair, whose value `write` appends. A message whose length exceeds a u32 is
/// not sent.
fn say(status: &[u8], key: &[u8], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> After {
    let start = out.len();
    out.extend([0; LENGTH_BYTES]);
    for part in [STATUS, b":", status, b"|", key, b":"] {
        out.extend_from_slice(part);
    }
    write(out);
    out.push(b'\n');
    let Ok(length) = u32::try_from(out.len() - start - LENGTH_BYTES) else {
        out.truncate(start);
        return After::CloseUnrepresentable;
    };
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    After::Open
}

fn push_escaped(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        if matches!(byte, b'\\' | b'|') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// The client's side.
pub mod client {
    use super::{
        ACTION, AGENCY_ID, AgencyId, Answer, BATCH_SIZE, BET, Cause, ClientRules, Context, ERROR, Expecting, FINISH,
        Framing, LENGTH_BYTES, MESSAGE, Malformed, Pairs, RawBet, STATUS, SUCCESS, Unrepresentable, WINNERS,
        bet::push_bet, bet::unescape, pairs_of, plain,
    };

    /// Rules for a client of this dialect.
    pub const RULES: ClientRules = ClientRules {
        hello: false,
        window: 1,
        batches_answered: true,
        finish: false,
        // The size is a number of at most ten digits, with a `:` after its key and a line feed at the end.
        batch_overhead_bytes: LENGTH_BYTES + BATCH_SIZE.len() + 1 + 10 + 1,
        exactly_once: false,
        resumable: true,
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
    pub fn bet(agency: AgencyId, index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
        body.push(b'|');
        body.extend_from_slice(BET);
        plain::push_number(index + 1, body);
        body.push(b':');
        push_bet(agency, bet, body);
    }

    /// Writes the frame of a batch whose `count` bets are in `body`.
    pub fn batch(_: AgencyId, _sequence: u64, count: u32, body: &[u8], out: &mut Vec<u8>) {
        message(&[BATCH_SIZE, b":", count.to_string().as_bytes(), body], out);
    }

    /// Writes nothing: the query includes the finish.
    pub fn finish(_: AgencyId, _: &mut Vec<u8>) {}

    /// Writes the finish, which is also the query.
    pub fn query(agency: AgencyId, out: &mut Vec<u8>) {
        message(&[ACTION, b":", FINISH[0], b"|", AGENCY_ID, b":", agency.to_string().as_bytes()], out);
    }

    fn message(parts: &[&[u8]], out: &mut Vec<u8>) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        out.extend(u32::try_from(length).expect("a batch is far under 4 GiB").to_be_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.push(b'\n');
    }

    /// Reads one reply, and returns its length in bytes and its meaning; `None` while it is incomplete.
    ///
    /// # Errors
    /// Bytes with which no reply starts, or a reply to another request.
    pub fn answer(bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        let context = Context { frame_bytes_max: usize::MAX, opening: false, scanned: 0 };
        let end = match super::frame(bytes, &context) {
            Framing::Complete { bytes } => bytes,
            Framing::Incomplete { .. } => return Ok(None),
            Framing::Malformed(malformed) => return Err(malformed),
        };
        let pairs = pairs_of(&bytes[LENGTH_BYTES..end]);
        let value = |wanted: &[u8]| Pairs { rest: Some(pairs) }.flatten().find(|(key, _)| *key == wanted);
        let answer = match (value(STATUS), value(WINNERS), expecting) {
            (Some((_, SUCCESS)), Some((_, list)), Expecting::Winners) => {
                Answer::Winners { documents: plain::documents(list), bets: None }
            }
            (Some((_, SUCCESS)), None, Expecting::Stored) => Answer::Stored,
            (Some((_, ERROR)), _, _) => {
                let mut reason = Vec::new();
                unescape(value(MESSAGE).map_or(&[][..], |(_, why)| why), &mut reason);
                let reason = String::from_utf8_lossy(&reason).into_owned();
                match expecting {
                    Expecting::Stored => Answer::Rejected { sequence: None, cause: Cause::Unsaid, reason },
                    Expecting::Welcome | Expecting::Finished | Expecting::Winners => {
                        Answer::Error { cause: Cause::Unsaid, reason }
                    }
                }
            }
            _ => return Err(Malformed("the answer does not say what was asked for")),
        };
        Ok(Some((end, answer)))
    }
}
