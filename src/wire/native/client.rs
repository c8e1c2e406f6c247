//! The client's side of the `native` dialect.

use super::{
    ACK, BATCH, CHECKSUM_BYTES, ERROR, FINISH, FINISHED, LENGTH_BYTES, MAGIC, QUERY, REJECT, WAITING,
    WATCH, WELCOME, WINNERS, code,
    message, open, push_bet, read_bet,
};
use crate::lottery::{AgencyId, Bet, RawBet};
use crate::wire::message::{
    Answer, Cause, ClientRules, Context, Expecting, Framing, Malformed, Unrepresentable, Unwelcome,
};
use crate::wire::reader::Reader;

/// What a client does differently in this dialect.
pub const RULES: ClientRules = ClientRules {
    hello: true,
    window: 64,
    batches_answered: true,
    finish: true,
    batch_overhead_bytes: LENGTH_BYTES + 1 + 8 + 2 + CHECKSUM_BYTES,
    exactly_once: true,
    resumable: true,
};

/// Appends the hello.
pub fn hello(agency: AgencyId, out: &mut Vec<u8>) {
    out.extend(MAGIC);
    out.extend(agency.0.to_be_bytes());
}

/// Checks that the dialect can carry a bet unchanged, which holds for every valid one.
///
/// # Errors
/// A text over 255 bytes.
pub fn carries(bet: &RawBet<'_>) -> Result<(), Unrepresentable> {
    if [bet.first_name, bet.last_name, bet.document].iter().any(|text| text.len() > usize::from(u8::MAX)) {
        return Err(Unrepresentable("the native dialect cannot carry a name over 255 bytes"));
    }
    Ok(())
}

/// Appends one bet to the body of a batch.
pub fn bet(_: AgencyId, _index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
    push_bet(bet, body);
}

/// Appends the frame of a batch whose `count` bets are in `body`.
///
/// # Panics
/// If there are more than 65,535 bets.
pub fn batch(_: AgencyId, sequence: u64, count: u32, body: &[u8], out: &mut Vec<u8>) {
    let count = u16::try_from(count).expect("a batch has at most 65,535 bets");
    message(BATCH, out, |frame| {
        frame.extend(sequence.to_be_bytes());
        frame.extend(count.to_be_bytes());
        frame.extend_from_slice(body);
    });
}

/// Appends the finish.
pub fn finish(_: AgencyId, out: &mut Vec<u8>) {
    message(FINISH, out, |_| {});
}

/// Appends the query for the winners.
pub fn query(_: AgencyId, out: &mut Vec<u8>) {
    message(QUERY, out, |_| {});
}

/// Appends the request to be told, while the query waits for the draw, whom the draw waits for.
pub fn watch(out: &mut Vec<u8>) {
    message(WATCH, out, |_| {});
}

/// Reads one answer and returns its length in bytes with it; `None` while it is not whole.
///
/// # Errors
/// Bytes that are damaged or do not start an answer.
pub fn answer(bytes: &[u8], expecting: Expecting) -> Result<Option<(usize, Answer)>, Malformed> {
    // The hub may answer a hello with an error frame instead. The magic as a length is longer than any frame.
    if expecting == Expecting::Welcome && bytes.first() == Some(&MAGIC[0]) {
        return welcome(bytes);
    }
    let context = Context { frame_bytes_max: usize::MAX, opening: false, scanned: 0 };
    match super::frame(bytes, &context) {
        Framing::Complete { bytes: end } => Ok(Some((end, said(&bytes[..end])?))),
        Framing::Incomplete { .. } => Ok(None),
        Framing::Malformed(malformed) => Err(malformed),
    }
}

fn welcome(bytes: &[u8]) -> Result<Option<(usize, Answer)>, Malformed> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(Malformed("the hub does not speak this version of the native dialect"));
    }
    let mut reader = Reader::new(&bytes[known..]);
    let (Some(status), Some(next)) = (reader.u8(), reader.u64()) else { return Ok(None) };
    let answer = match status {
        WELCOME => Answer::Welcome { next },
        1 => Answer::Unwelcome(Unwelcome::UnknownAgency),
        2 => Answer::Unwelcome(Unwelcome::Credentials),
        3 => Answer::Unwelcome(Unwelcome::Busy),
        _ => return Err(Malformed("the hub's hello has an unknown status")),
    };
    Ok(Some((bytes.len() - reader.rest().len(), answer)))
}

fn said(frame: &[u8]) -> Result<Answer, Malformed> {
    let (kind, body) = open(frame)?;
    let mut reader = Reader::new(body);
    let answer = match kind {
        ACK => reader.u64().map(|next| Answer::StoredBelow { next }),
        REJECT => rejected(&mut reader),
        FINISHED => finished(&mut reader),
        WINNERS => winners(&mut reader),
        WAITING => waiting(&mut reader),
        ERROR => reader.u16().map(|code| Answer::Error { cause: cause(code), reason: words(&mut reader) }),
        _ => return Err(Malformed("unknown kind of answer")),
    };
    answer.filter(|_| reader.is_empty()).ok_or(Malformed("the answer does not have its kind's fields"))
}

fn rejected(reader: &mut Reader<'_>) -> Option<Answer> {
    let (sequence, code) = (reader.u64()?, reader.u16()?);
    Some(Answer::Rejected { sequence: Some(sequence), cause: cause(code), reason: words(reader) })
}

fn finished(reader: &mut Reader<'_>) -> Option<Answer> {
    let (_batches, bets) = (reader.u64()?, reader.u64()?);
    // Rejected batches have had answers of their own.
    Some(Answer::Finished { all_stored: true, bets: Some(bets) })
}

fn winners(reader: &mut Reader<'_>) -> Option<Answer> {
    let count = reader.u32()?;
    let (mut documents, mut bets) = (Vec::new(), Some(Vec::new()));
    for _ in 0..count {
        let raw = read_bet(reader)?;
        documents.push(String::from_utf8_lossy(raw.document.bytes()).into_owned());
        bets = bets.zip(Bet::check(&raw).ok()).map(|(mut bets, bet)| {
            bets.push(bet);
            bets
        });
    }
    Some(Answer::Winners { documents, bets })
}

fn waiting(reader: &mut Reader<'_>) -> Option<Answer> {
    let (missing, count) = (reader.u32()?, reader.u8()?);
    let named: Option<Vec<AgencyId>> = (0..count).map(|_| reader.u32().map(AgencyId)).collect();
    // The names are some of those that are missing.
    named.filter(|named| named.len() <= missing as usize).map(|named| Answer::Waiting { missing, named })
}

/// The hub's reason in words: the rest of the frame.
fn words(reader: &mut Reader<'_>) -> String {
    let rest = reader.bytes(reader.rest().len()).unwrap_or_default();
    String::from_utf8_lossy(rest).into_owned()
}

fn cause(code: u16) -> Cause {
    match code {
        code::BAD_FRAME | code::BAD_CHECKSUM | code::GAP => Cause::Stream,
        code::BAD_BET | code::TOO_LARGE => Cause::Permanent,
        code::LATE => Cause::Late,
        code::STORAGE => Cause::StorageFull,
        code::SHUTTING_DOWN => Cause::ShuttingDown,
        code::CONFLICT => Cause::Conflict,
        _ => Cause::Unsaid,
    }
}
