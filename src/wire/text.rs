//! The `text` dialect: a decimal length, a line feed and that many bytes of text.
//!
//! Source: `docs/PROTOCOLS.md`, text. Bets are lines of fields between `|`; every bet names its agency, and
//! so does the query, which is the finish too. Every answer is a message in the same framing. White space
//! around a field, a line and a message is dropped, the CR of a CRLF included. Nothing is escaped, so that no
//! field can hold a `|`, nor begin or end with a space.

use super::message::{
    After, Answer, Batch, Cause, Conduct, Context, Expecting, Framing, Malformed, Rejection, Reply, Request, Rules,
    Speaker, Unsayable,
};
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
/// What stands in a winner's name for a `|` that another dialect brought: one in a field would move those
/// that follow it, the document among them.
const INSTEAD_OF_SEPARATOR: u8 = b'.';
/// The longest message that nine digits can announce, in bytes.
const MESSAGE_BYTES_MAX: usize = 999_999_999;

/// What this dialect asks of the hub.
pub const CONDUCT: Conduct = Conduct { in_flight: false, polls: true, reconnects: true, finish_before_agency: false };

/// Where a frame ends.
///
/// Its length is one to nine digits, leading zeros allowed, as the original's `int()` reads them.
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

/// What a whole frame asks for.
///
/// # Errors
/// None on a frame that [`frame`] found: a message that makes no sense has an answer of its own.
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
    let first = Line::read(lines, b"").map(|line| (line.agency, plain::agency(line.agency)));
    let Some((spelled, Some(agency))) = first else {
        let error = BatchError::BadBet { index: 0, error: BetError::Fields };
        return Ok(Request::BadBatch { count: count_lines(lines), error });
    };
    let bets = Bets { agency, spelled, lines };
    Ok(Request::Batch(Batch { agency: Speaker::Named(agency), sequence: None, bets }))
}

/// The bets of a message, a line each.
#[derive(Clone, Debug)]
pub struct Bets<'a> {
    agency: AgencyId,
    /// The agency as the first bet spells it, which is how the others nearly always do.
    spelled: &'a [u8],
    /// At least one line; no white space at either end.
    lines: &'a [u8],
}

impl Bets<'_> {
    /// How many there are, a line each; blank lines are none.
    pub fn count(&self) -> u32 {
        count_lines(self.lines)
    }
}

/// How many lines there are that are not blank.
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
                let agency = plain::agency(line.agency).ok_or(bad(BetError::Fields))?;
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

/// One line, taken apart.
struct Line<'a> {
    bet: RawBet<'a>,
    agency: &'a [u8],
    /// What follows its line feed, if it has one.
    behind: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// The line at the start of `lines`; `None` where it has not six fields. An agency that is `spelled` so is
    /// found without a search.
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

/// The field at the start of `rest`, without the white space around it; `rest` then starts behind its separator.
/// `None` where the line ends first.
#[inline(always)]
fn field<'a>(rest: &mut &'a [u8]) -> Option<Text<'a>> {
    let end = memchr::memchr2(SEPARATOR, b'\n', rest).filter(|&end| rest[end] == SEPARATOR)?;
    let text = plain::trimmed(rest, end);
    *rest = &rest[end + 1..];
    text
}

/// The `len` bytes at the start of `rest`, which then starts behind the separator after them.
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

/// The winners, in lines as the bets came.
fn winners(agency: AgencyId, bets: &[Bet], out: &mut Vec<u8>) -> After {
    let mut lines = Vec::new();
    for (index, bet) in bets.iter().enumerate() {
        if index > 0 {
            lines.push(b'\n');
        }
        push_line(agency, &bet.as_raw(), &mut lines);
    }
    if lines.len() > MESSAGE_BYTES_MAX {
        return After::CloseUnsaid;
    }
    message(&lines, out);
    After::Open
}

/// Appends a bet's line, without a line feed.
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

/// The client's side.
pub mod client {
    use super::{
        ACK, AgencyId, Answer, Cause, Context, EMPTY_BATCH, Expecting, Framing, GET_WINNERS, INVALID_AGENCY,
        INVALID_BATCH, INVALID_GET_WINNERS, Malformed, NOT_ENDED, RawBet, Rules, TEXT_LENGTH_LINE_BYTES_MAX, Unsayable,
        length_line, message, push_line,
    };

    /// How a client behaves.
    pub const RULES: Rules = Rules {
        hello: false,
        window: 1,
        batches_answered: true,
        finish: false,
        batch_overhead_bytes: TEXT_LENGTH_LINE_BYTES_MAX,
        exactly_once: false,
        resumable: true,
    };

    /// This dialect has no hello.
    pub fn hello(_: AgencyId, _: &mut Vec<u8>) {}

    /// Names without a `|` and without a space at either end, the first not one that reads as a query.
    ///
    /// # Errors
    /// Which it is.
    pub fn carries(bet: &RawBet<'_>) -> Result<(), Unsayable> {
        if bet.first_name.bytes().starts_with(GET_WINNERS) {
            return Err(Unsayable("the text dialect would read a first name that begins with GET_WINNERS as a query"));
        }
        for name in [bet.first_name.bytes(), bet.last_name.bytes()] {
            if name.contains(&b'|') {
                return Err(Unsayable("the text dialect cannot carry a name with '|'"));
            }
            if name.first() == Some(&b' ') || name.last() == Some(&b' ') {
                return Err(Unsayable("the text dialect cannot carry a name with a space at either end"));
            }
        }
        Ok(())
    }

    /// Appends one bet, the `index`th from 0 of its batch, to a batch's body.
    pub fn bet(agency: AgencyId, index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
        if index > 0 {
            body.push(b'\n');
        }
        push_line(agency, bet, body);
    }

    /// Writes the frame of a batch whose `count` bets are in `body`.
    pub fn batch(_: AgencyId, _sequence: u64, _count: u32, body: &[u8], out: &mut Vec<u8>) {
        message(body, out);
    }

    /// The query says it.
    pub fn finish(_: AgencyId, _: &mut Vec<u8>) {}

    /// Writes the query for the winners, which is the finish too.
    pub fn query(agency: AgencyId, out: &mut Vec<u8>) {
        message(format!("GET_WINNERS|{agency}").as_bytes(), out);
    }

    /// Reads one answer: how many bytes it has and what it says; `None` while it is not whole.
    ///
    /// # Errors
    /// Bytes that no answer starts with, or an answer to another question.
    pub fn answer(bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
        let context = Context { frame_bytes_max: usize::MAX, opening: false, scanned: 0 };
        let end = match super::frame(bytes, &context) {
            Framing::Complete { bytes } => bytes,
            Framing::Incomplete { .. } => return Ok(None),
            Framing::Malformed(malformed) => return Err(malformed),
        };
        let line = length_line(bytes)?.map_or(end, |(line, _)| line);
        let text = &bytes[line..end];
        let answer = match (expecting, refusal(text)) {
            (Expecting::Winners, None) if text == NOT_ENDED => Answer::NotDrawn,
            (Expecting::Winners, None) => Answer::Winners { documents: documents(text)? },
            (_, None) if text == ACK => Answer::Stored,
            (_, None) => return Err(Malformed("neither ACK nor an error that the text dialect has")),
            (Expecting::Stored, Some((cause, reason))) => Answer::Rejected { sequence: None, cause, reason },
            (_, Some((cause, reason))) => Answer::Error { cause, reason },
        };
        Ok(Some((end, answer)))
    }

    /// The hub's errors, in words.
    fn refusal(text: &[u8]) -> Option<(Cause, String)> {
        let (cause, words) = match text {
            EMPTY_BATCH => (Cause::Permanent, "the batch has no bets"),
            // Said of bets that come too late, and of a full disk, as well.
            INVALID_BATCH => (Cause::Unsaid, "the hub rejected the batch"),
            INVALID_AGENCY => (Cause::Permanent, "the agency is not of this draw"),
            INVALID_GET_WINNERS => (Cause::Permanent, "the hub cannot read the query"),
            _ => return None,
        };
        Some((cause, words.to_owned()))
    }

    /// The third field of every line.
    fn documents(lines: &[u8]) -> Result<Vec<String>, Malformed> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let document = |line: &[u8]| {
            let mut fields = line.split(|&byte| byte == b'|').skip(2);
            Some(String::from_utf8_lossy(fields.next()?).into_owned())
        };
        let documents = lines.split(|&byte| byte == b'\n').map(document).collect::<Option<_>>();
        documents.ok_or(Malformed("a winner's line without a document"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context { frame_bytes_max: 1000, opening: false, scanned: 0 }
    }

    fn request(message: &str) -> Request<Vec<Result<Bet, BetError>>> {
        let frame = format!("{}\n{message}", message.len()).into_bytes();
        assert_eq!(super::frame(&frame, &context()), Framing::Complete { bytes: frame.len() });
        decode(&frame, &context()).unwrap().map(|bets| {
            let mut list = Vec::new();
            assert_eq!(bets.feed(&mut list), Ok(u32::try_from(list.len()).unwrap()));
            list
        })
    }

    fn fed(message: &str) -> Result<u32, BatchError> {
        let frame = format!("{}\n{message}", message.len()).into_bytes();
        let request = decode(&frame, &context()).unwrap();
        if let Request::BadBatch { error, .. } = request {
            return Err(error);
        }
        let Request::Batch(batch) = request else { panic!("{message} is no batch") };
        batch.bets.feed(&mut Vec::new())
    }

    #[test]
    fn a_length_is_one_to_nine_digits() {
        for (bytes, expected) in [
            ("", Framing::Incomplete { need: 1 }),
            ("3", Framing::Incomplete { need: 2 }),
            ("3\n", Framing::Incomplete { need: 5 }),
            ("3\nACKx", Framing::Complete { bytes: 5 }),
            ("000000003\nACK", Framing::Complete { bytes: 13 }),
            ("0\n", Framing::Complete { bytes: 2 }),
            ("998\n", Framing::Malformed(Malformed("frame over the limit"))),
            ("996\n", Framing::Incomplete { need: 1000 }),
            ("123456789", Framing::Incomplete { need: 10 }),
        ] {
            assert_eq!(frame(bytes.as_bytes(), &context()), expected, "{bytes:?}");
        }
        for bytes in ["\n", "x", "-1\n", "1 \n", "3\r\n", "0000000003", "1234567890\n"] {
            assert!(matches!(frame(bytes.as_bytes(), &context()), Framing::Malformed(_)), "{bytes:?}");
        }
    }

    #[test]
    fn queries_and_what_only_looks_like_one() {
        for (message, agency) in [
            ("GET_WINNERS|3", 3),
            ("GET_WINNERS|03\n", 3),
            ("GET_WINNERS|99999999999", 0),
            ("GET_WINNERS|3\r\n", 3),
            (" GET_WINNERS | 3 \n\n", 3),
        ] {
            let expected = Speaker::Named(AgencyId(agency));
            assert!(matches!(request(message), Request::FinishAndQuery(speaker) if speaker == expected), "{message}");
        }
        for message in [
            "GET_WINNERS",
            "GET_WINNERS|",
            "GET_WINNERS| ",
            "GET_WINNERS|x",
            "GET_WINNERS|1|2",
            "GET_WINNERS|1 2",
            "GET_WINNERS|1\n2",
            "GET_WINNERS1",
            "GET_WINNERS 1",
            "GET_WINNERSX|b|1|1999-03-17|5|3",
        ] {
            assert!(matches!(request(message), Request::Refused(_)), "{message}");
        }
        assert!(matches!(request("GET_WINNER|b|1|1999-03-17|5|3"), Request::Batch(_)));
    }

    #[test]
    fn what_is_wrong_with_a_batch() {
        let bad = |index, error| Err(BatchError::BadBet { index, error });
        for (message, expected) in [
            ("", Err(BatchError::Empty)),
            ("\n", Err(BatchError::Empty)),
            (" \r\n\r\n", Err(BatchError::Empty)),
            ("a|b|1|1999-03-17|5|3", Ok(1)),
            ("a|b|1|1999-03-17|5|3\n", Ok(1)),
            ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|03", Ok(2)),
            ("a|b|1|1999-03-17|5|3\n\n", Ok(1)),
            ("a|b|1|1999-03-17|5|3\n\na|b|1|1999-03-17|5|3", bad(1, BetError::Fields)),
            ("a|b|1|1999-03-17|5|3 3", bad(0, BetError::Fields)),
            ("a|b|1|1999-03-17|5|3\ra|b|1|1999-03-17|5|3", bad(0, BetError::Fields)),
            ("a|b|1|1999-03-17|5|x", bad(0, BetError::Fields)),
            ("a|b|1|1999-03-17|5", bad(0, BetError::Fields)),
            ("a|b|1|1999-03-17|5|3|", bad(0, BetError::Fields)),
            ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|3|7", bad(1, BetError::Fields)),
            ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|4", bad(1, BetError::MixedAgencies)),
            ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|", bad(1, BetError::Fields)),
        ] {
            assert_eq!(fed(message), expected, "{message:?}");
        }
    }

    #[test]
    fn white_space_around_fields_and_lines_is_dropped() {
        let plain = "Ana Paula|Paz|30904465|1999-03-17|7574|3\nZoe|Gil|1234567|2004-02-29|2201|3";
        let Request::Batch(plain) = request(plain) else { panic!("no batch") };
        for message in [
            "Ana Paula|Paz|30904465|1999-03-17|7574|3\r\nZoe|Gil|1234567|2004-02-29|2201|3\r\n",
            " Ana Paula | Paz |\t30904465| 1999-03-17 |7574 | 3 \n Zoe|Gil | 1234567 |2004-02-29|2201|\t3",
            "\r\nAna Paula|Paz|30904465|1999-03-17|7574|3 \r\nZoe|Gil|1234567|2004-02-29 |2201|3 \r\n\r\n",
        ] {
            let Request::Batch(batch) = request(message) else { panic!("{message:?} is no batch") };
            assert_eq!((batch.agency, batch.bets), (plain.agency, plain.bets.clone()), "{message:?}");
        }
    }

    #[test]
    fn a_rejected_batch_is_counted_by_its_lines() {
        for (message, expected) in [("x\ny\nz", 3), ("x", 1), ("x\n", 1), ("x\n\n \r\ny", 2), ("", 0)] {
            assert!(matches!(request(message), Request::BadBatch { count, .. } if count == expected), "{message:?}");
        }
    }

    #[test]
    fn a_separator_in_a_winner_of_another_dialect_moves_no_field() {
        let bet = Bet::from_text(b"Ana|Maria", b"Paz", b"30904465", b"1999-03-17", b"7574").unwrap();
        let mut out = Vec::new();
        encode(&Reply::Winners { agency: AgencyId(3), bets: &[bet] }, &mut out);
        assert_eq!(out, b"40\nAna.Maria|Paz|30904465|1999-03-17|7574|3");
    }
}
