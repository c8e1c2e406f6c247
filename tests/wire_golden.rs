//! Every golden exchange, at every split of its bytes, in both directions and on both sides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod golden;

use golden::Exchange;
use loteria::limits::HEADER_BYTES_MAX;
use loteria::lottery::{AgencyId, BatchError, Bet, BetError, BetSink, BetSource, RawBet, Refusal};
use loteria::wire::detect::{Detection, detect};
use loteria::wire::{
    After, Answer, Context, Dialect, Expecting, Framing, Malformed, Rejection, Reply, Request, Speaker,
};
use loteria::wire::{Bets, Unwelcome};

/// More than any golden frame has, less than the lengths that are meant to be over the limit.
const FRAME_BYTES_MAX: usize = 10_000;

/// Bets as the files write them, unchecked.
#[derive(Default)]
struct Lines(Vec<String>);

impl BetSink for Lines {
    fn put(&mut self, bet: &RawBet<'_>) {
        let texts = [bet.first_name, bet.last_name, bet.document].map(|text| String::from_utf8_lossy(text.bytes()));
        let number = bet.number.map_or("none".to_owned(), |number| number.to_string());
        self.0.push(format!("{};{};{}", texts.join(";"), bet.birthdate, number));
    }
}

fn bets(count: u32) -> String {
    format!("{count} bet{}", if count == 1 { "" } else { "s" })
}

fn speaker(speaker: Speaker) -> String {
    match speaker {
        Speaker::Named(agency) => format!("agency {agency}"),
        Speaker::Connection => "the connection".to_owned(),
    }
}

/// A request as the files say it, and whether the stream can be read on.
fn describe(request: &Request<Bets<'_>>) -> (String, bool) {
    let said = match request {
        Request::Hello(agency) => format!("hello of agency {agency}"),
        Request::Batch(batch) => {
            let mut lines = Lines::default();
            let sequence = batch.sequence.map_or(String::new(), |sequence| format!(" {sequence}"));
            let fed = batch.bets.feed(&mut lines);
            let said = match fed {
                Ok(count) => {
                    assert_eq!((count, lines.0.len()), (batch.bets.count(), count as usize), "{request:?}");
                    lines.0.join(" / ")
                }
                Err(error) => error.to_string(),
            };
            let said = format!("batch{sequence} of {}: {}: {said}", speaker(batch.agency), bets(batch.bets.count()));
            return (said, fed != Err(BatchError::Malformed));
        }
        Request::EmptyBatch => "empty batch".to_owned(),
        Request::BadBatch { count, error } => format!("bad batch of {}: {error}", bets(*count)),
        Request::Finish(who) => format!("finish of {}", speaker(*who)),
        Request::Query(who) => format!("query of {}", speaker(*who)),
        Request::FinishAndQuery(who) => format!("finish and query of {}", speaker(*who)),
        Request::Refused(malformed) => format!("refused: {malformed}"),
        Request::Watch => "watch".to_owned(),
        Request::Echo => "echo".to_owned(),
    };
    (said, true)
}

/// A connection's inbox: what has arrived, and what became of it.
struct Inbox {
    dialect: Dialect,
    bytes: Vec<u8>,
    scanned: usize,
    need: usize,
    opening: bool,
    open: bool,
    requests: Vec<String>,
}

impl Inbox {
    fn new(dialect: Dialect) -> Inbox {
        Inbox { dialect, bytes: vec![], scanned: 0, need: 1, opening: true, open: true, requests: vec![] }
    }

    /// Takes some bytes and every frame that they complete, looking only when as many are here as were needed.
    fn arrive(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        while self.open && self.bytes.len() >= self.need {
            let context = Context { frame_bytes_max: FRAME_BYTES_MAX, opening: self.opening, scanned: self.scanned };
            match self.dialect.frame(&self.bytes, &context) {
                Framing::Complete { bytes } => {
                    match self.dialect.decode(&self.bytes[..bytes], &context) {
                        Ok(request) => {
                            let (said, open) = describe(&request);
                            self.requests.push(said);
                            self.open = open;
                        }
                        Err(malformed) => self.close(malformed),
                    }
                    self.bytes.drain(..bytes);
                    (self.scanned, self.need, self.opening) = (0, 1, false);
                }
                Framing::Incomplete { need } => {
                    assert!(need > self.bytes.len(), "{:?} needs {need} bytes and has them", self.bytes);
                    (self.scanned, self.need) = (self.bytes.len(), need);
                }
                Framing::Malformed(malformed) => self.close(malformed),
            }
        }
    }

    fn close(&mut self, malformed: Malformed) {
        self.requests.push(format!("malformed: {malformed}"));
        self.open = false;
    }

    fn requests(self) -> Vec<String> {
        assert!(!self.open || self.bytes.is_empty(), "{:?} is left over", self.bytes);
        self.requests
    }
}

#[test]
fn a_dialect_whose_frames_have_no_length_says_so() {
    for (dialect, conversation) in golden::all() {
        for (place, exchange) in conversation.exchanges.iter().enumerate() {
            for len in HEADER_BYTES_MAX..exchange.frame.len().saturating_sub(1) {
                let context = Context { frame_bytes_max: FRAME_BYTES_MAX, opening: place == 0, scanned: 0 };
                let framing = dialect.frame(&exchange.frame[..len], &context);
                let searches = framing == Framing::Incomplete { need: len + 1 };
                let name = dialect.name();
                assert!(!searches || dialect.server_rules().searches_for_end, "{name}: searches_for_end is false");
            }
        }
    }
}

#[test]
fn every_split_of_the_bytes_asks_for_the_same() {
    for (dialect, conversation) in golden::all() {
        let name = format!("{}: {}", dialect.name(), conversation.name);
        let stream: Vec<u8> = conversation.exchanges.iter().flat_map(|exchange| exchange.frame.clone()).collect();
        let asked = conversation.exchanges.iter().filter(|exchange| !exchange.frame.is_empty());
        let expected: Vec<_> = asked.map(|exchange| exchange.request.clone()).collect();
        for cut in 0..=stream.len() {
            let mut inbox = Inbox::new(dialect);
            inbox.arrive(&stream[..cut]);
            inbox.arrive(&stream[cut..]);
            assert_eq!(inbox.requests(), expected, "{name}, cut at {cut}");
        }
        let mut inbox = Inbox::new(dialect);
        stream.iter().for_each(|byte| inbox.arrive(&[*byte]));
        assert_eq!(inbox.requests(), expected, "{name}, byte by byte");
    }
}

#[test]
fn the_first_bytes_show_the_dialect() {
    for (dialect, conversation) in golden::all() {
        let name = format!("{}: {}", dialect.name(), conversation.name);
        let stream: Vec<u8> = conversation.exchanges.iter().flat_map(|exchange| exchange.frame.clone()).collect();
        if conversation.silence {
            let first = &conversation.exchanges[0].frame;
            assert_eq!(detect(first), Detection::SilenceMeans(dialect), "{name}");
        } else {
            assert_eq!(detect(&stream), Detection::Known(dialect), "{name}");
        }
    }
}

#[test]
fn the_hub_says_every_reply_in_these_bytes() {
    for (dialect, conversation) in golden::all() {
        let mut words = "";
        for exchange in &conversation.exchanges {
            let name = format!("{}: {}: {}", dialect.name(), conversation.name, exchange.request);
            words = exchange.request.rsplit_once(": ").map_or(words, |(_, words)| words);
            let Some(said) = &exchange.reply else { continue };
            let mut bytes = b"before".to_vec();
            let after = reply(said, words, exchange, |reply| dialect.encode(reply, &mut bytes));
            assert_eq!(notation(&bytes[6..]), notation(&exchange.bytes), "{name}");
            assert_eq!(after, if exchange.close { After::Close } else { After::Open }, "{name}");
        }
    }
}

#[test]
fn our_client_writes_the_canonical_frames() {
    for (dialect, conversation) in golden::all() {
        let mut opening = true;
        let mut agency = AgencyId(0);
        for exchange in conversation.exchanges.iter().filter(|exchange| !exchange.frame.is_empty()) {
            let name = format!("{}: {}: {}", dialect.name(), conversation.name, exchange.request);
            let context = Context { frame_bytes_max: FRAME_BYTES_MAX, opening, scanned: 0 };
            opening = false;
            if !exchange.canonical {
                continue;
            }
            let mut written = Vec::new();
            match dialect.decode(&exchange.frame, &context).unwrap() {
                Request::Hello(who) => {
                    agency = who;
                    dialect.put_hello(agency, &mut written);
                }
                Request::Batch(batch) => {
                    if let Speaker::Named(named) = batch.agency {
                        agency = named;
                    }
                    let mut body = Body { dialect, agency, count: 0, bytes: Vec::new() };
                    let _ = batch.bets.feed(&mut body);
                    let sequence = batch.sequence.unwrap_or(0);
                    dialect.put_batch(agency, sequence, body.count, &body.bytes, &mut written);
                    let overhead = exchange.frame.len() - body.bytes.len();
                    assert!(overhead <= dialect.client_rules().batch_overhead_bytes, "{name}: overhead of {overhead}");
                }
                Request::EmptyBatch => dialect.put_batch(agency, 0, 0, &[], &mut written),
                Request::Finish(Speaker::Named(who)) => dialect.put_finish(who, &mut written),
                Request::Finish(Speaker::Connection) => dialect.put_finish(agency, &mut written),
                Request::Query(Speaker::Named(who)) | Request::FinishAndQuery(Speaker::Named(who)) => {
                    dialect.put_query(who, &mut written);
                }
                Request::Query(Speaker::Connection) | Request::FinishAndQuery(Speaker::Connection) => {
                    dialect.put_query(agency, &mut written);
                }
                request @ (Request::BadBatch { .. } | Request::Refused(_) | Request::Watch | Request::Echo) => {
                    panic!("{name}: our client does not send {request:?}")
                }
            }
            assert_eq!(notation(&written), notation(&exchange.frame), "{name}");
        }
    }
}

/// Writes bets as a client does.
struct Body {
    dialect: Dialect,
    agency: AgencyId,
    count: u32,
    bytes: Vec<u8>,
}

impl BetSink for Body {
    fn put(&mut self, bet: &RawBet<'_>) {
        assert_eq!(self.dialect.carries(bet), Ok(()));
        self.dialect.put_bet(self.agency, self.count, bet, &mut self.bytes);
        self.count += 1;
    }
}

#[test]
fn our_client_reads_every_answer_once_it_is_whole() {
    for (dialect, conversation) in golden::all() {
        let mut expecting = Expecting::Welcome;
        for exchange in &conversation.exchanges {
            let name = format!("{}: {}: {}", dialect.name(), conversation.name, exchange.request);
            expecting = match exchange.request.split(' ').collect::<Vec<_>>()[..] {
                ["hello", ..] => Expecting::Welcome,
                ["batch" | "bad" | "empty", ..] => Expecting::Stored,
                ["finish", "of", ..] => Expecting::Finished,
                ["query" | "finish", ..] => Expecting::Winners,
                _ => expecting,
            };
            let Some(answer) = &exchange.answer else { continue };
            for len in 0..exchange.bytes.len() {
                assert_eq!(dialect.read_answer(&exchange.bytes[..len], expecting), Ok(None), "{name}, {len} bytes");
            }
            for more in [&b""[..], b"\0"] {
                let bytes = [&exchange.bytes, more].concat();
                let (len, read) = dialect.read_answer(&bytes, expecting).unwrap().unwrap();
                assert_eq!((len, shown(&read)), (exchange.bytes.len(), answer.clone()), "{name}");
            }
        }
    }
}

/// An answer as the files have it: of winners only the documents, which must be those of the bets.
fn shown(answer: &Answer) -> String {
    let Answer::Winners { documents, bets } = answer else { return format!("{answer:?}") };
    let of_bets = bets.as_ref().map(|bets| bets.iter().map(|bet| bet.document().to_owned()).collect::<Vec<_>>());
    assert!(of_bets.is_none_or(|of_bets| of_bets == *documents), "{answer:?}");
    format!("Winners {{ documents: {documents:?} }}")
}

/// Makes a reply of the words of a file, where a malformed one repeats the request's `words`.
fn reply<R>(said: &str, words: &str, exchange: &Exchange, take: impl FnOnce(&Reply<'_>) -> R) -> R {
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{said}: {word} is no number"));
    let malformed = || Malformed(words.to_owned().leak());
    let parts: Vec<_> = said.split(' ').collect();
    if let ["winners", agency, ..] = parts[..] {
        let list = said.split_once(": ").map_or("", |(_, list)| list);
        let winners: Vec<_> = list.split(" / ").filter(|bet| !bet.is_empty()).map(bet).collect();
        let agency = AgencyId(agency.trim_end_matches(':').parse().unwrap());
        return take(&Reply::Winners { agency, bets: &winners });
    }
    let reply = match parts[..] {
        ["welcome", next] => Reply::Welcome { next: number(next) },
        ["unwelcome", "unknown"] => Reply::Unwelcome(Unwelcome::UnknownAgency),
        ["stored", next] => Reply::Stored { next: number(next) },
        ["rejected", sequence, ref why @ ..] => Reply::Rejected { sequence: number(sequence), why: rejection(why) },
        ["finished", batches, bets, all] => {
            Reply::Finished { batches: number(batches), bets: number(bets), all_stored: all == "all" }
        }
        ["not-drawn"] => Reply::NotDrawn,
        ["refused", "unknown"] => Reply::Refused(Refusal::UnknownAgency),
        ["bad-request"] => Reply::BadRequest(malformed()),
        ["gap"] => Reply::Gap,
        ["malformed"] => Reply::Malformed(malformed()),
        ["shutting-down"] => Reply::ShuttingDown,
        ["echo"] => Reply::Echo(&exchange.frame),
        _ => panic!("{said}: no such reply"),
    };
    take(&reply)
}

fn rejection(why: &[&str]) -> Rejection {
    match why {
        ["bet", index, rule] => {
            let error = match *rule {
                "agency" => BetError::Agency,
                "fields" => BetError::Fields,
                "birthdate" => BetError::Birthdate,
                "mixed" => BetError::MixedAgencies,
                _ => panic!("{rule}: no such rule"),
            };
            Rejection::Batch(BatchError::BadBet { index: index.parse().unwrap(), error })
        }
        ["count", declared, present] => Rejection::Batch(BatchError::Count {
            declared: declared.parse().unwrap(),
            present: present.parse().unwrap(),
        }),
        ["empty"] => Rejection::Batch(BatchError::Empty),
        ["unknown"] => Rejection::Refused(Refusal::UnknownAgency),
        ["drawn"] => Rejection::Refused(Refusal::Drawn),
        ["conflict"] => Rejection::Conflict,
        _ => panic!("{why:?}: no such rejection"),
    }
}

fn bet(fields: &str) -> Bet {
    let [first_name, last_name, document, birthdate, number] = fields.split(';').collect::<Vec<_>>()[..] else {
        panic!("{fields}: not five fields")
    };
    let texts = [first_name, last_name, document].map(str::as_bytes);
    let (birthdate, number) = (birthdate.parse().unwrap(), number.parse().ok());
    let [first_name, last_name, document] = texts.map(Into::into);
    Bet::check(&RawBet { first_name, last_name, document, birthdate, number }).unwrap()
}

/// Bytes for a person to compare.
fn notation(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
