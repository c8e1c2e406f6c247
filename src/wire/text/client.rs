//! The client's side of the `text` dialect.

use super::{
    ACK, EMPTY_BATCH, GET_WINNERS, INVALID_AGENCY, INVALID_BATCH, INVALID_GET_WINNERS, NOT_ENDED, length_line, message,
    push_line,
};
use crate::limits::TEXT_LENGTH_LINE_BYTES_MAX;
use crate::lottery::{AgencyId, Bet, RawBet};
use crate::wire::message::{Answer, Cause, ClientRules, Context, Expecting, Framing, Malformed, Unrepresentable};

/// What a client does differently in this dialect.
pub const RULES: ClientRules = ClientRules {
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

/// Checks that the dialect can carry a bet unchanged.
///
/// # Errors
/// A name with a `|` or with a space at either end, or a first name that would be read as a query.
pub fn carries(bet: &RawBet<'_>) -> Result<(), Unrepresentable> {
    if bet.first_name.bytes().starts_with(GET_WINNERS) {
        return Err(Unrepresentable(
            "the text dialect would read a first name that begins with GET_WINNERS as a query",
        ));
    }
    for name in [bet.first_name.bytes(), bet.last_name.bytes()] {
        if name.contains(&b'|') {
            return Err(Unrepresentable("the text dialect cannot carry a name with '|'"));
        }
        if name.first() == Some(&b' ') || name.last() == Some(&b' ') {
            return Err(Unrepresentable("the text dialect cannot carry a name with a space at either end"));
        }
    }
    Ok(())
}

/// Appends one bet, at position `index` from 0, to the body of a batch.
pub fn bet(agency: AgencyId, index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
    if index > 0 {
        body.push(b'\n');
    }
    push_line(agency, bet, body);
}

/// Appends the frame of a batch whose bets are in `body`.
pub fn batch(_: AgencyId, _sequence: u64, _count: u32, body: &[u8], out: &mut Vec<u8>) {
    message(body, out);
}

/// Appends nothing: the query is also the finish.
pub fn finish(_: AgencyId, _: &mut Vec<u8>) {}

/// Appends the query for the winners, which is also the finish.
pub fn query(agency: AgencyId, out: &mut Vec<u8>) {
    message(format!("GET_WINNERS|{agency}").as_bytes(), out);
}

/// Reads one answer and returns its length in bytes with it; `None` while it is not whole.
///
/// # Errors
/// Bytes that do not start an answer, or an answer to another request.
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
        (Expecting::Winners, None) => Answer::Winners { documents: documents(text)?, bets: bets(text) },
        (_, None) if text == ACK => Answer::Stored,
        (_, None) => return Err(Malformed("neither ACK nor an error that the text dialect has")),
        (Expecting::Stored, Some((cause, reason))) => Answer::Rejected { sequence: None, cause, reason },
        (_, Some((cause, reason))) => Answer::Error { cause, reason },
    };
    Ok(Some((end, answer)))
}

/// The cause and the words of an error; `None` for any other text.
fn refusal(text: &[u8]) -> Option<(Cause, String)> {
    let (cause, words) = match text {
        EMPTY_BATCH => (Cause::Permanent, "the batch has no bets"),
        // The hub also sends this for bets that come too late and for a full disk.
        INVALID_BATCH => (Cause::Unsaid, "the hub rejected the batch"),
        INVALID_AGENCY => (Cause::Permanent, "the agency is not of this draw, or was excluded from it"),
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

/// The bets of the same lines; `None` if one is not valid, as a line in which the hub replaced a separator may be.
fn bets(lines: &[u8]) -> Option<Vec<Bet>> {
    if lines.is_empty() {
        return Some(Vec::new());
    }
    let bet = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b'|');
        let mut field = || fields.next();
        let (first, last, document, birthdate, number) = (field()?, field()?, field()?, field()?, field()?);
        Bet::from_text(first, last, document, birthdate, number).ok()
    };
    lines.split(|&byte| byte == b'\n').map(bet).collect()
}
