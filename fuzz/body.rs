//! What holds for any bytes in any dialect; the body of every fuzz target, and of its short run in the tests.

use loteria::lottery::{AgencyId, BatchError, Bet, BetError, BetSource};
use loteria::wire::detect::{Detection, detect};
use loteria::wire::{Batch, Bets, Context, Dialect, Expecting, Framing, Request, Speaker};

/// Small, so that inputs reach it.
const FRAME_BYTES_MAX: usize = 4096;
/// The longest header after which a dialect knows how long its frame is, or that it is too long.
const HEADER_BYTES_MAX: usize = 10;

/// Takes `input` as what an agency sends, and as what a hub answers.
pub fn run(dialect: Dialect, input: &[u8]) {
    detection(input);
    if dialect == Dialect::Native {
        // Behind a hello, and with the checksum that its bytes should have.
        let mut stream = b"\xb7LN\x01\0\0\0\x03".to_vec();
        let length = u32::try_from(input.len() + 4).expect("a short input");
        stream.extend(length.to_be_bytes());
        stream.extend(input);
        stream.extend(crc32c::crc32c(input).to_be_bytes());
        frames(dialect, &stream);
        answers(dialect, &stream[8..]);
    }
    frames(dialect, input);
    answers(dialect, input);
}

/// A known dialect stays the same whatever follows, and each byte tells more.
fn detection(input: &[u8]) {
    let mut known = None;
    for len in 0..=input.len().min(12) {
        if let Some(known) = known {
            assert_eq!(detect(&input[..len]), known, "a byte more changed the dialect");
        }
        known = match detect(&input[..len]) {
            verdict @ Detection::Known(_) => Some(verdict),
            Detection::NeedMore | Detection::SilenceMeans(_) => None,
        };
    }
}

fn context(opening: bool, scanned: usize) -> Context {
    Context { frame_bytes_max: FRAME_BYTES_MAX, opening, scanned }
}

/// Every frame of a stream, up to the first that cannot be or is not whole.
fn frames(dialect: Dialect, stream: &[u8]) {
    let mut rest = stream;
    let mut opening = true;
    loop {
        match dialect.frame(rest, &context(opening, 0)) {
            Framing::Complete { bytes } => {
                assert!((1..=rest.len().min(FRAME_BYTES_MAX)).contains(&bytes), "a frame of {bytes} bytes");
                prefixes(dialect, &rest[..bytes], opening);
                let (frame, behind) = rest.split_at(bytes);
                if !request(dialect, frame, opening) {
                    return;
                }
                rest = behind;
                opening = false;
            }
            Framing::Incomplete { need } => {
                assert!(need > rest.len(), "{need} bytes are needed, and here");
                assert!(need <= FRAME_BYTES_MAX.max(HEADER_BYTES_MAX), "{need} bytes are over the limit");
                return;
            }
            Framing::Malformed(_) => return,
        }
    }
}

/// No part of a whole frame is one, or malformed, and what it says to need is no more than the frame.
fn prefixes(dialect: Dialect, frame: &[u8], opening: bool) {
    for len in (0..frame.len().min(16)).chain([frame.len() / 2, frame.len() - 1]).filter(|len| *len < frame.len()) {
        let framing = dialect.frame(&frame[..len], &context(opening, 0));
        let need = (len + 1)..=frame.len();
        assert!(
            matches!(framing, Framing::Incomplete { need: said } if need.contains(&said)),
            "{len} bytes of a frame of {} are {framing:?}",
            frame.len()
        );
        let resumed = dialect.frame(frame, &context(opening, len));
        assert_eq!(resumed, Framing::Complete { bytes: frame.len() }, "looked at before, with {len} bytes");
    }
}

/// Whether the stream can be read on after this frame.
fn request(dialect: Dialect, frame: &[u8], opening: bool) -> bool {
    let Ok(request) = dialect.decode(frame, &context(opening, 0)) else { return false };
    match request {
        Request::Batch(batch) => {
            counted(dialect, batch.bets.count(), frame);
            bets(dialect, &batch)
        }
        Request::BadBatch { error, count } => {
            counted(dialect, count, frame);
            assert_ne!(error, BatchError::Malformed);
            true
        }
        Request::Hello(_)
        | Request::EmptyBatch
        | Request::Finish(_)
        | Request::Query(_)
        | Request::FinishAndQuery(_)
        | Request::Refused(_)
        | Request::Watch
        | Request::Echo => true,
    }
}

/// A count that is logged is one that the frame has room for, however short its bets; one may be cut short.
fn counted(dialect: Dialect, count: u32, frame: &[u8]) {
    let bet_bytes_min = match dialect {
        Dialect::Binary => 20,
        Dialect::CaseId => 24,
        Dialect::KeyValue => 5,
        Dialect::Csv => 5,
        Dialect::Native => 11,
        Dialect::Text | Dialect::Echo => 1,
    };
    assert!(count as usize <= frame.len() / bet_bytes_min + 1, "{count} bets in a frame of {} bytes", frame.len());
}

/// A batch is read twice alike, counts what it gives, and written again says the same.
fn bets(dialect: Dialect, batch: &Batch<Bets<'_>>) -> bool {
    let mut first = Vec::new();
    let fed = batch.bets.feed(&mut first);
    let mut second = Vec::new();
    assert_eq!(batch.bets.feed(&mut second), fed);
    assert_eq!(first, second);
    match fed {
        Ok(count) => {
            assert_eq!((count as usize, count), (first.len(), batch.bets.count()));
            written_again(dialect, batch, &first);
            true
        }
        Err(error) => {
            if let BatchError::BadBet { index, .. } = error {
                assert_eq!(index as usize, first.len(), "the bets before the bad one, and no more, were given");
            }
            error != BatchError::Malformed
        }
    }
}

fn written_again(dialect: Dialect, batch: &Batch<Bets<'_>>, read: &[Result<Bet, BetError>]) {
    let bets: Option<Vec<&Bet>> = read.iter().map(|bet| bet.as_ref().ok()).collect();
    let Some(bets) = bets.filter(|bets| bets.iter().all(|bet| dialect.carries(&bet.as_raw()).is_ok())) else {
        return;
    };
    let agency = match batch.agency {
        Speaker::Named(agency) => agency,
        Speaker::Connection => AgencyId(3),
    };
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    for (index, bet) in (0..).zip(&bets) {
        dialect.put_bet(agency, index, &bet.as_raw(), &mut body);
    }
    dialect.put_batch(agency, batch.sequence.unwrap_or(0), batch.bets.count(), &body, &mut frame);
    let again = dialect.decode(&frame, &context(false, 0)).expect("what was written is read");
    let Request::Batch(again) = again else { panic!("a batch was written, and {again:?} is read") };
    let mut list = Vec::new();
    assert_eq!(again.bets.feed(&mut list), Ok(batch.bets.count()));
    assert_eq!((list.as_slice(), again.agency, again.sequence), (read, batch.agency, batch.sequence));
}

/// An answer is read once it is whole, and not before.
fn answers(dialect: Dialect, input: &[u8]) {
    for expecting in [Expecting::Welcome, Expecting::Stored, Expecting::Finished, Expecting::Winners] {
        if let Ok(Some((len, _))) = dialect.read_answer(input, expecting) {
            assert!((1..=input.len()).contains(&len), "an answer of {len} bytes");
            assert_eq!(dialect.read_answer(&input[..len - 1], expecting), Ok(None), "an answer of {len} bytes");
        }
    }
}
