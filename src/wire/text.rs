//! The `text` dialect: a decimal length, a line feed and that many bytes of text.
//!
//! Source: `docs/PROTOCOLS.md`, text. A bet is a line of fields separated by `|`. Every bet names its agency, and so does
//! the query, which is also the finish. Every answer is a message in the same framing. White space around a field, a
//! line and a message is dropped, the CR of a CRLF included. There are no escapes, so no field can contain a `|`, or
//! begin or end with a space.

pub mod client;
#[cfg(test)]
mod tests;

use super::message::{After, Batch, Context, Framing, Malformed, Rejection, Reply, Request, ServerRules, Speaker};
use super::plain;
use crate::limits::TEXT_LENGTH_LINE_BYTES_MAX;
use crate::lottery::{
    AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet, Refusal, Text, parse_number, parse_yyyymmdd,
};

const GET_WINNERS: &[u8] = b"GET_WINNERS";
const SEPARATOR: u8 = b'|';
const DATE_BYTES: usize = 10;
const ACK: &[u8] = b"ACK";
const EMPTY_BATCH: &[u8] = b"ERROR_EMPTY_BATCH";
const INVALID_BATCH: &[u8] = b"ERROR_INVALID_BATCH";
const INVALID_AGENCY: &[u8] = b"ERROR_INVALID_AGENCY";
const INVALID_GET_WINNERS: &[u8] = b"ERROR_INVALID_GET_WINNERS";
const NOT_ENDED: &[u8] = b"ERROR_LOTTERY_HASNT_ENDED";
/// Replaces a `|` in a winner's name that came in another dialect: a `|` inside a field would shift the fields after it,
/// the document included.
const INSTEAD_OF_SEPARATOR: u8 = b'.';
/// The maximum length of a message, in bytes: nine digits.
const MESSAGE_BYTES_MAX: usize = 999_999_999;

/// Behaviour that this dialect needs from the hub.
pub const SERVER_RULES: ServerRules = ServerRules { polls: true, reconnects: true, ..ServerRules::NONE };

/// Where a frame ends.
///
/// The length is one to nine digits. Leading zeros are allowed, as in the original, which reads it with Python's `int()`.
pub fn frame(bytes: &[u8], context: &Context) -> Framing {
    match length_line(bytes) {
        Ok(Some((line, message))) if line + message > context.frame_bytes_max => {
            Framing::Malformed(Malformed("frame over the limit"))
        }
        Ok(Some((line, message))) if line + message > bytes.len() => Framing::Incomplete { need: line + message },
        Ok(Some((line, message))) => Framing::Complete { bytes: line + message },
        Ok(None) => Framing::Incomplete { need: bytes.len() + 1 },
        Err(malformed) => Framing::Malformed(malformed),
    }
}

/// The lengths of the first line and of the message after it; `None` while the line is not whole.
fn length_line(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let line = &bytes[..bytes.len().min(TEXT_LENGTH_LINE_BYTES_MAX)];
    match line.iter().position(|byte| !byte.is_ascii_digit()) {
        Some(end) if line[end] == b'\n' && end > 0 => {
            let message = line[..end].iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
            Ok(Some((end + 1, message)))
        }
        None if line.len() < TEXT_LENGTH_LINE_BYTES_MAX => Ok(None),
        Some(_) | None => Err(Malformed("no decimal length of one to nine digits")),
    }
}

/// The request of a whole frame.
///
/// # Errors
/// None for a frame that [`frame`] found: an invalid message is a request with an answer of its own.
pub fn decode<'a>(frame: &'a [u8], _: &Context) -> Result<Request<Bets<'a>>, Malformed> {
    let Some((line, _)) = length_line(frame)? else { return Err(Malformed("frame shorter than its length")) };
    let lines = plain::trim(&frame[line..]);
    if let Some(agency) = lines.strip_prefix(GET_WINNERS) {
        let agency = plain::trim(agency).strip_prefix(b"|").and_then(|agency| plain::agency(plain::trim(agency)));
        return Ok(match agency {
            Some(agency) => Request::FinishAndQuery(Speaker::Named(agency)),
            None => Request::Refused(Malformed("the query names no agency")),
        });
    }
    if lines.is_empty() {
        return Ok(Request::BadBatch { count: 0, error: BatchError::Empty });
    }
    let first = Line::read(lines, b"").ok_or(BetError::Fields).and_then(|line| {
        let agency = plain::agency(line.agency).ok_or(BetError::Agency)?;
        Ok((line.agency, agency))
    });
    let (spelled, agency) = match first {
        Ok(first) => first,
        Err(error) => {
            let error = BatchError::BadBet { index: 0, error };
            return Ok(Request::BadBatch { count: count_lines(lines), error });
        }
    };
    let bets = Bets { agency, spelled, lines };
    Ok(Request::Batch(Batch { agency: Speaker::Named(agency), sequence: None, bets }))
}

/// The bets of a message, one per line.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    agency: AgencyId,
    /// The agency's bytes in the first bet. The other bets almost always have the same bytes.
    spelled: &'a [u8],
    /// At least one line, without white space at either end.
    lines: &'a [u8],
}

impl Bets<'_> {
    /// The number of lines that are not blank.
    pub fn count(&self) -> u32 {
        count_lines(self.lines)
    }
}

/// The number of lines that are not blank.
fn count_lines(lines: &[u8]) -> u32 {
    let bets = lines.split(|&byte| byte == b'\n').filter(|line| !plain::trim(line).is_empty());
    u32::try_from(bets.count()).unwrap_or(u32::MAX)
}

impl BetSource for Bets<'_> {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        let mut rest = self.lines;
        let mut index = 0;
        loop {
            let bad = |error| BatchError::BadBet { index, error };
            let line = Line::read(rest, self.spelled).ok_or(bad(BetError::Fields))?;
            if line.agency != self.spelled {
                let agency = plain::agency(line.agency).ok_or(bad(BetError::Agency))?;
                if agency != self.agency {
                    return Err(bad(BetError::MixedAgencies));
                }
            }
            sink.put(&line.bet);
            index += 1;
            match line.behind {
                Some(behind) => rest = behind,
                None => return Ok(index),
            }
        }
    }
}

/// The parts of one line.
struct Line<'a> {
    bet: RawBet<'a>,
    agency: &'a [u8],
    /// The bytes after its line feed, if it has one.
    behind: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// Reads the line at the start of `lines`; `None` where it does not have six fields. An agency whose bytes are
    /// `spelled` is recognised without a search for its end.
    #[inline(always)]
    fn read(lines: &'a [u8], spelled: &[u8]) -> Option<Line<'a>> {
        let mut rest = lines;
        let [first_name, last_name] = [field(&mut rest)?, field(&mut rest)?];
        let document = match plain::number_before(SEPARATOR, rest) {
            Some((_, len)) => take(&mut rest, len)?,
            None => field(&mut rest)?,
        };
        let birthdate = match plain::date_before(SEPARATOR, rest) {
            Some(date) => take(&mut rest, DATE_BYTES).map(|_| date)?,
            None => parse_yyyymmdd(field(&mut rest)?.bytes()),
        };
        let number = match plain::number_before(SEPARATOR, rest) {
            Some((number, len)) => take(&mut rest, len).map(|_| Some(number))?,
            None => parse_number(field(&mut rest)?.bytes()),
        };
        let end = match rest.strip_prefix(spelled).map(<[u8]>::first) {
            Some(None | Some(b'\n')) => spelled.len(),
            _ => memchr::memchr2(SEPARATOR, b'\n', rest).unwrap_or(rest.len()),
        };
        if rest.get(end) == Some(&SEPARATOR) {
            return None;
        }
        let bet = RawBet { first_name, last_name, document, birthdate, number };
        Some(Line { bet, agency: plain::trimmed(rest, end)?.bytes(), behind: rest.get(end + 1..) })
    }
}

/// Takes the field at the start of `rest`, without the white space around it, and its separator. `None` where the line
/// ends before a separator.
#[inline(always)]
fn field<'a>(rest: &mut &'a [u8]) -> Option<Text<'a>> {
    let end = memchr::memchr2(SEPARATOR, b'\n', rest).filter(|&end| rest[end] == SEPARATOR)?;
    let text = plain::trimmed(rest, end);
    *rest = &rest[end + 1..];
    text
}

/// Takes `len` bytes and the separator after them from the start of `rest`.
#[inline(always)]
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<Text<'a>> {
    let text = Text::new(rest, len);
    *rest = rest.get(len + 1..)?;
    text
}

/// A reply's bytes.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
    match reply {
        Reply::Stored { .. } => message(ACK, out),
        Reply::Rejected { why, .. } => message(rejection(why), out),
        Reply::Waiting { .. } => return After::CloseUnrepresentable,
        Reply::NotDrawn => message(NOT_ENDED, out),
        Reply::Refused(Refusal::UnknownAgency | Refusal::Excluded) => message(INVALID_AGENCY, out),
        Reply::Refused(Refusal::Finished | Refusal::Drawn) | Reply::BadRequest(_) => message(INVALID_GET_WINNERS, out),
        Reply::Winners { agency, bets } => return winners(*agency, bets, out),
        Reply::Malformed(_) => {
            message(INVALID_BATCH, out);
            return After::Close;
        }
        Reply::Gap | Reply::ShuttingDown | Reply::Unwelcome(_) => return After::Close,
        Reply::Finished { .. } | Reply::Welcome { .. } | Reply::Echo(_) => {}
    }
    After::Open
}

fn rejection(why: &Rejection) -> &'static [u8] {
    match why {
        Rejection::Batch(BatchError::Empty) => EMPTY_BATCH,
        Rejection::Refused(Refusal::UnknownAgency | Refusal::Excluded) | Rejection::Credentials => INVALID_AGENCY,
        Rejection::Batch(BatchError::BadBet { .. } | BatchError::Count { .. } | BatchError::Malformed)
        | Rejection::Refused(Refusal::Finished | Refusal::Drawn)
        | Rejection::Conflict
        | Rejection::StorageFull => INVALID_BATCH,
    }
}

fn message(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(text);
}

/// Appends the message with the winners: lines with the fields of a bet.
fn winners(agency: AgencyId, bets: &[Bet], out: &mut Vec<u8>) -> After {
    let mut lines = Vec::new();
    for (index, bet) in bets.iter().enumerate() {
        if index > 0 {
            lines.push(b'\n');
        }
        push_line(agency, &bet.as_raw(), &mut lines);
    }
    if lines.len() > MESSAGE_BYTES_MAX {
        return After::CloseUnrepresentable;
    }
    message(&lines, out);
    After::Open
}

/// Appends the line of a bet, without a line feed.
fn push_line(agency: AgencyId, bet: &RawBet<'_>, out: &mut Vec<u8>) {
    for name in [bet.first_name, bet.last_name] {
        out.extend(name.bytes().iter().map(|&byte| if byte == b'|' { INSTEAD_OF_SEPARATOR } else { byte }));
        out.push(b'|');
    }
    out.extend_from_slice(bet.document.bytes());
    out.push(b'|');
    plain::push_date(bet.birthdate, out);
    out.push(b'|');
    plain::push_number(bet.number.unwrap_or(0), out);
    out.push(b'|');
    plain::push_number(agency.0, out);
}
