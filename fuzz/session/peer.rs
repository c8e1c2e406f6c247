//! A peer of a fuzzed session: its bytes that the hub has not read; and, while the peer keeps to one dialect and to
//! whole requests, what the answers mean.

use std::collections::VecDeque;

use loteria::hub::ConnectionId;
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Dialect, Expecting};

/// What a peer has said and the hub not read, at most, in bytes.
const SAID_BYTES_MAX: usize = 32 * 1024;

/// What hubs have acknowledged.
#[derive(Default)]
pub struct Acknowledged {
    /// The agency and the document of bets. Which agency it is only the hub knows where that is `None`.
    pub bets: Vec<(Option<u32>, u32)>,
    /// Agencies whose finish was noted.
    pub finishes: Vec<u32>,
}

/// One end of a connection.
pub struct Peer {
    pub id: ConnectionId,
    /// It has ended its side, behind all that it has said.
    pub ended: bool,
    /// The hub knows that.
    pub told_end: bool,
    /// How many bytes it takes in a turn.
    pub takes: usize,
    /// Said and not read by the hub; the first `arrived` of them can be.
    said: VecDeque<u8>,
    arrived: usize,
    last: Vec<u8>,
    /// What it speaks. Once it has sent anything else, the meaning of its answers is not known.
    dialect: Option<Dialect>,
    untracked: bool,
    asked: VecDeque<Asked>,
    received: Vec<u8>,
    /// In `native`: the number of its next batch.
    next: u64,
    /// In `native`: the number of a batch that was rejected and has not been said again.
    rejected: Option<u64>,
    /// In `native`: the agency of its hello.
    agency: Option<u32>,
}

/// A request that has no answer yet.
struct Asked {
    what: Expecting,
    sequence: u64,
    /// `None` in `csv`, where the hub says which agency a connection is.
    agency: Option<u32>,
    documents: std::ops::Range<u32>,
}

impl Asked {
    fn is_batch(&self) -> bool {
        self.what == Expecting::Stored
    }
}

/// The row of a bet that peers make.
pub fn row(agency: u32, document: u32) -> Vec<u8> {
    let (bet, number) = (bet(document), number(document));
    format!("{agency},{},{},{document},1999-03-17,{number}\r\n", bet.first_name(), bet.last_name()).into_bytes()
}

fn number(document: u32) -> u32 {
    if document.is_multiple_of(3) { super::WINNING_NUMBER } else { document % 7 }
}

fn bet(document: u32) -> Bet {
    let (document, number) = (document.to_string(), number(document).to_string());
    Bet::from_text("Ñandú".as_bytes(), b"O'Higgins", document.as_bytes(), b"1999-03-17", number.as_bytes())
        .expect("a valid bet")
}

impl Peer {
    pub fn new(id: ConnectionId, refused: bool) -> Peer {
        Peer {
            id,
            ended: false,
            told_end: false,
            takes: usize::MAX,
            said: VecDeque::new(),
            arrived: 0,
            last: Vec::new(),
            dialect: None,
            untracked: refused,
            asked: VecDeque::new(),
            received: Vec::new(),
            next: 0,
            rejected: None,
            agency: None,
        }
    }

    /// How much it reads of what it is sent, from nothing to all.
    pub fn set_takes(&mut self, takes: usize) {
        self.takes = match takes {
            0..32 => takes * takes,
            _ => usize::MAX,
        };
    }

    /// From here on the meaning of its answers is not known.
    pub fn stop_tracking(&mut self) {
        self.untracked = true;
    }

    /// Any bytes.
    pub fn say_anything(&mut self, bytes: &[u8]) {
        self.stop_tracking();
        self.put(bytes.to_vec());
        self.arrives(usize::MAX);
    }

    /// What it said last, so many times again.
    pub fn say_again(&mut self, times: usize) {
        self.stop_tracking();
        let last = std::mem::take(&mut self.last);
        for _ in 0..times {
            if self.said.len() < SAID_BYTES_MAX {
                self.said.extend(&last);
            }
        }
        self.last = last;
        self.arrives(usize::MAX);
    }

    /// So many more of the bytes that it has said arrive.
    pub fn arrives(&mut self, bytes: usize) {
        self.arrived = self.arrived.saturating_add(bytes).min(self.said.len());
    }

    /// Takes what has arrived, at most `room` bytes.
    pub fn take_arrived(&mut self, room: usize) -> Vec<u8> {
        let taken = self.arrived.min(room);
        self.arrived -= taken;
        self.said.drain(..taken).collect()
    }

    /// Whether its end is what comes next; it comes once.
    pub fn ends_now(&mut self) -> bool {
        self.ended && self.said.is_empty() && !std::mem::replace(&mut self.told_end, true)
    }

    /// Says a whole request: `what` names the dialect of one that has none yet, and the request.
    pub fn say(&mut self, what: usize, agency: u32, count: usize, document: u32) {
        let dialect = *self.dialect.get_or_insert(Dialect::ALL[what / 8 % Dialect::ALL.len()]);
        let mut frame = Vec::new();
        if dialect.client_rules().hello && self.agency.is_none() {
            dialect.put_hello(AgencyId(agency), &mut frame);
            self.agency = Some(agency);
            self.ask(Expecting::Welcome, None);
        }
        match what % 8 {
            0..=3 => self.bets(dialect, agency, count, document, &mut frame),
            4 => {
                dialect.put_hello(AgencyId(agency), &mut frame);
                self.untracked |= !frame.is_empty();
            }
            5 if dialect.client_rules().finish => {
                dialect.put_finish(AgencyId(agency), &mut frame);
                // In `case-id` it is the query that says whose it is.
                let named = dialect != Dialect::CaseId;
                self.ask(Expecting::Finished, named.then(|| self.agency.unwrap_or(agency)));
            }
            _ => {
                dialect.put_query(AgencyId(agency), &mut frame);
                self.ask(Expecting::Winners, None);
            }
        }
        if dialect == Dialect::Echo {
            self.stop_tracking();
            frame.extend(format!("{document}\n").into_bytes());
        }
        self.put(frame);
    }

    /// A batch of up to four bets. From `count` 128 on its last bet is no bet; the lower bits of native's say
    /// under which number it comes.
    fn bets(&mut self, dialect: Dialect, agency: u32, count: usize, document: u32, frame: &mut Vec<u8>) {
        let documents = document..document + u32::try_from(count % 5).expect("less than five");
        // Our clients send no empty batch, and some dialects have no bytes for one that mean it.
        self.untracked |= documents.is_empty();
        let mut body = Vec::new();
        for (index, document) in (0..).zip(documents.clone()) {
            let bet = bet(document);
            let mut raw = bet.as_raw();
            if count >= 128 && document + 1 == documents.end {
                raw.birthdate = 19_990_231;
            }
            dialect.put_bet(AgencyId(agency), index, &raw, &mut body);
        }
        let sequence = match count / 5 % 8 {
            0 => self.next.saturating_sub(1),
            1 => self.next + 1,
            _ => self.next,
        };
        // Of two batches under one number no client could tell which is acknowledged.
        self.untracked |=
            dialect == Dialect::Native && self.asked.iter().any(|asked| asked.is_batch() && asked.sequence >= sequence);
        dialect.put_batch(
            AgencyId(agency),
            sequence,
            u32::try_from(documents.len()).expect("a few bets"),
            &body,
            frame,
        );
        self.next = sequence + 1;
        if self.rejected.is_some_and(|number| sequence > number) {
            // Dropped in silence, until that number comes again.
            return;
        }
        self.rejected.take_if(|number| *number == sequence);
        let agency = (dialect != Dialect::Csv).then(|| self.agency.unwrap_or(agency));
        self.asked.push_back(Asked { what: Expecting::Stored, sequence, agency, documents });
    }

    fn ask(&mut self, what: Expecting, agency: Option<u32>) {
        self.asked.push_back(Asked { what, sequence: 0, agency, documents: 0..0 });
    }

    fn put(&mut self, bytes: Vec<u8>) {
        if !self.ended && self.said.len() < SAID_BYTES_MAX {
            self.said.extend(&bytes);
        }
        self.last = bytes;
    }

    /// Whether the hub has read all its bytes in a dialect that answers everything, and an answer is missing.
    /// A query may have to wait for the draw.
    pub fn lacks_an_answer(&self, drawn: bool) -> bool {
        let lockstep = self.dialect.is_some_and(|it| it.client_rules().batches_answered && !it.client_rules().hello);
        let first = self.asked.front().filter(|_| lockstep && !self.untracked && self.takes == usize::MAX);
        self.said.is_empty() && first.is_some_and(|first| drawn || first.what != Expecting::Winners)
    }

    /// Bytes of the hub. What they acknowledge is appended to `acknowledged`.
    pub fn receive(&mut self, bytes: &[u8], acknowledged: &mut Acknowledged) {
        let Some(dialect) = self.dialect.filter(|_| !self.untracked) else { return };
        self.received.extend(bytes);
        let answered = dialect.client_rules().batches_answered;
        while !self.untracked
            && let Some(first) = self.asked.iter().find(|asked| answered || !asked.is_batch())
        {
            let answer = match dialect.read_answer(&self.received, first.what) {
                Ok(Some((len, answer))) => {
                    self.received.drain(..len);
                    answer
                }
                Ok(None) => break,
                Err(malformed) => {
                    let (name, what, received) = (dialect.name(), first.what, self.received.escape_ascii());
                    panic!("{name} answers what no client can read as {what:?}: {received}: {malformed}")
                }
            };
            self.understand(dialect, answer, acknowledged);
        }
    }

    fn understand(&mut self, dialect: Dialect, answer: Answer, acknowledged: &mut Acknowledged) {
        let mut stored = |asked: &Asked| {
            acknowledged.bets.extend(asked.documents.clone().map(|document| (asked.agency, document)));
        };
        match answer {
            Answer::Stored => {
                let asked = self.asked.pop_front().expect("an answer to a request");
                assert!(asked.is_batch(), "{} says that a batch is stored", dialect.name());
                stored(&asked);
            }
            Answer::StoredBelow { next } => {
                let below = |asked: &Asked| asked.is_batch() && asked.sequence < next;
                while self.asked.front().is_some_and(below) {
                    stored(&self.asked.pop_front().expect("the first of them"));
                }
            }
            Answer::Rejected { sequence: Some(sequence), .. } => {
                // What is on its way behind it is dropped until that number comes again.
                self.asked.retain(|asked| !asked.is_batch());
                (self.next, self.rejected) = (sequence, Some(sequence));
            }
            Answer::Rejected { sequence: None, .. } => drop(self.asked.pop_front()),
            Answer::Finished { all_stored, .. } => {
                while let Some(asked) = self.asked.pop_front() {
                    if asked.what == Expecting::Finished {
                        acknowledged.finishes.extend(asked.agency);
                        break;
                    }
                    // Where batches have no answers, this is the answer to all of them.
                    assert!(
                        !dialect.client_rules().batches_answered,
                        "a finish is answered before what came before it"
                    );
                    if all_stored {
                        stored(&asked);
                    }
                }
            }
            // The query is still to be answered.
            Answer::Waiting { .. } => {}
            Answer::Welcome { next } => {
                self.asked.pop_front();
                self.next = next;
            }
            // The refusal of a finish or a query, in dialects that go on then.
            Answer::Winners { .. } | Answer::NotDrawn | Answer::Error { .. }
                if dialect.client_rules().batches_answered && !dialect.client_rules().hello =>
            {
                self.asked.pop_front();
            }
            Answer::Unwelcome(_) | Answer::Winners { .. } | Answer::NotDrawn | Answer::Error { .. } => {
                self.stop_tracking()
            }
        }
    }
}
