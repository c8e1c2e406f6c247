//! Agencies that upload through whichever hub their connection leads to, and find their winners there.

use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Cause, Dialect, Expecting};

use super::WINNING_NUMBER;
use crate::storage_kit::random::Random;
use rivalry::Rivalry;

pub mod rivalry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Betting,
    Finishing,
    Asking,
}

/// An agency's client.
#[derive(Debug)]
pub struct Client {
    pub agency: AgencyId,
    dialect: Dialect,
    pub batches: Vec<Vec<Bet>>,
    /// How often each batch was sent on a connection of its own: more copies than that are never stored.
    pub sent_on: Vec<u64>,
    /// Batches that were acknowledged, from the first on.
    pub acknowledged: usize,
    /// Documents of the winners, once they came.
    pub winners: Option<Vec<String>>,
    /// It has left for good.
    pub is_lost: bool,
    /// How often it was told that a batch is missing.
    pub gaps: u32,
    /// It sends on before it is welcomed.
    eager: bool,
    /// After so many batches it sends other bets under a number that it has used.
    repeats_at: Option<usize>,
    /// It has, and waits for the answer.
    repeated: Option<u64>,
    /// Other clients speak for its agency, too.
    rivalry: Option<Rivalry>,
    stage: Stage,
    sent: usize,
    asked: bool,
    /// Bytes of an answer that is not whole.
    answer: Vec<u8>,
}

/// What a client says to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Stay,
    /// The hub closes, or is to be left.
    Leave,
}

impl Client {
    pub fn new(agency: AgencyId, dialect: Dialect, random: &mut Random) -> Client {
        let count = random.index(14);
        let batches: Vec<Vec<Bet>> = (0..count).map(|number| batch(agency, 0, number, random)).collect();
        Client {
            agency,
            dialect,
            sent_on: vec![0; batches.len()],
            batches,
            acknowledged: 0,
            winners: None,
            is_lost: false,
            gaps: 0,
            eager: random.below(3) == 0,
            repeats_at: (random.below(4) == 0).then(|| 1 + random.index(10)),
            repeated: None,
            rivalry: None,
            stage: Stage::Greeting,
            sent: 0,
            asked: false,
            answer: Vec::new(),
        }
    }

    /// Whether it numbers its batches.
    pub fn is_numbered(&self) -> bool {
        self.dialect.client_rules().exactly_once
    }

    /// Whether it goes on until it has its winners.
    pub fn is_waiting(&self) -> bool {
        self.winners.is_none() && !self.is_lost && !self.has_stopped()
    }

    /// Whether bets of it are stored, and it has not finished.
    pub fn is_uploading(&self) -> bool {
        self.stage == Stage::Betting && self.acknowledged > 0
    }

    /// Whether it is known by its hello while it sends nothing.
    pub fn may_rest(&self) -> bool {
        self.stage == Stage::Betting && self.dialect.client_rules().hello
    }

    /// The documents that win.
    pub fn expected(&self) -> Vec<String> {
        let bets = self.batches.iter().flatten().filter(|bet| bet.number() == WINNING_NUMBER);
        bets.map(|bet| bet.document().to_owned()).collect()
    }

    /// It is connected to some hub.
    pub fn connected(&mut self) {
        self.stage = if self.dialect.client_rules().hello { Stage::Greeting } else { Stage::Betting };
        (self.sent, self.asked, self.repeated) = (self.acknowledged, false, None);
        self.answer.clear();
        if let Some(rivalry) = &mut self.rivalry {
            rivalry.connected();
        }
    }

    /// What it sends now.
    pub fn send(&mut self, out: &mut Vec<u8>) {
        let window = self.dialect.client_rules().window.min(5);
        if self.waits_for_end() {
            return;
        }
        match self.stage {
            Stage::Greeting if !self.asked => {
                self.dialect.put_hello(self.agency, out);
                while self.eager && self.sent < self.batches.len() && self.sent < self.acknowledged + window {
                    self.put_batch(out);
                }
                if self.eager {
                    self.put_early_finish(out);
                }
            }
            Stage::Betting if self.repeated.is_some() => return,
            Stage::Betting if self.is_numbered() && self.repeats_now() => return self.put_other_bets(out),
            Stage::Betting => {
                while self.sent < self.batches.len() && self.sent < self.acknowledged + window {
                    self.put_batch(out);
                }
                if self.acknowledged < self.batches.len() {
                    return self.put_early_finish(out);
                }
                if self.has_early_finish() {
                    return;
                }
                self.stage = if self.dialect.client_rules().finish { Stage::Finishing } else { Stage::Asking };
                self.asked = false;
                return self.send(out);
            }
            Stage::Finishing if !self.asked => self.dialect.put_finish(self.agency, out),
            Stage::Asking if !self.asked => self.dialect.put_query(self.agency, out),
            Stage::Greeting | Stage::Finishing | Stage::Asking => return,
        }
        self.asked = true;
    }

    fn put_batch(&mut self, out: &mut Vec<u8>) {
        let bets = &self.batches[self.sent];
        let mut body = Vec::new();
        for (index, bet) in bets.iter().enumerate() {
            self.dialect.put_bet(self.agency, u32::try_from(index).unwrap(), &bet.as_raw(), &mut body);
        }
        let count = u32::try_from(bets.len()).unwrap();
        self.dialect.put_batch(self.agency, self.sent as u64, count, &body, out);
        self.sent_on[self.sent] += 1;
        self.sent += 1;
    }

    fn repeats_now(&self) -> bool {
        // An eager client may still be told of batches that it sent before its welcome.
        !self.eager && self.sent == self.acknowledged && self.repeats_at.is_some_and(|at| self.acknowledged >= at)
    }

    /// Other bets under the number of the last batch.
    fn put_other_bets(&mut self, out: &mut Vec<u8>) {
        let last = self.acknowledged - 1;
        let bet = Bet::from_text(b"Otra", b"Persona", b"30904465", b"1999-03-17", b"1").unwrap();
        let mut body = Vec::new();
        self.dialect.put_bet(self.agency, 0, &bet.as_raw(), &mut body);
        self.dialect.put_batch(self.agency, last as u64, 1, &body, out);
        self.repeated = Some(last as u64);
    }

    /// Bytes came from the hub.
    pub fn receive(&mut self, bytes: &[u8]) -> Wish {
        self.answer.extend_from_slice(bytes);
        loop {
            let expecting = match self.stage {
                Stage::Greeting => Expecting::Welcome,
                Stage::Betting => Expecting::Stored,
                Stage::Finishing => Expecting::Finished,
                Stage::Asking => Expecting::Winners,
            };
            let Some((len, answer)) = self.dialect.read_answer(&self.answer, expecting).unwrap() else {
                return Wish::Stay;
            };
            self.answer.drain(..len);
            if self.note(answer) == Wish::Leave {
                return Wish::Leave;
            }
        }
    }

    /// Its finish is answered: the agency has so many `bets`.
    fn has_finished(&mut self, bets: Option<u64>) {
        let own: usize = self.batches.iter().map(Vec::len).sum();
        assert!(bets.is_none_or(|bets| bets >= own as u64), "agency {}: bets {bets:?} of {own}", self.agency);
        (self.stage, self.asked) = (Stage::Asking, false);
    }

    fn note(&mut self, answer: Answer) -> Wish {
        if self.rivalry.is_some() {
            return self.note_beside_rivals(answer);
        }
        match answer {
            Answer::Rejected { cause: Cause::Conflict, sequence, .. } if self.repeated.is_some() => {
                assert_eq!(sequence, self.repeated, "agency {}", self.agency);
                self.repeats_at = None;
                return Wish::Leave;
            }
            // No space for it: it tries again.
            Answer::Rejected { cause: Cause::StorageFull, .. } if self.repeated.is_some() => return Wish::Leave,
            Answer::Stored | Answer::StoredBelow { .. } if self.repeated.is_some() => {
                panic!("agency {}: other bets under a number are acknowledged", self.agency)
            }
            Answer::Welcome { next } => {
                let next = usize::try_from(next).unwrap();
                assert!(next >= self.acknowledged, "agency {}: acknowledged bets are forgotten", self.agency);
                (self.acknowledged, self.stage) = (next, Stage::Betting);
                self.sent = if self.eager { self.sent.max(next) } else { next };
            }
            Answer::Stored => self.acknowledged += 1,
            Answer::StoredBelow { next } => {
                self.acknowledged = self.acknowledged.max(usize::try_from(next).unwrap());
                assert!(self.acknowledged <= self.sent, "agency {}: what was not sent is acknowledged", self.agency);
            }
            Answer::Rejected { cause: Cause::StorageFull | Cause::Unsaid, sequence, .. } => {
                self.sent = sequence.map_or(self.acknowledged, |sequence| usize::try_from(sequence).unwrap());
            }
            Answer::Finished { all_stored, bets } => {
                assert!(all_stored || self.stage == Stage::Finishing);
                self.has_finished(bets);
            }
            Answer::Winners { documents, .. } => {
                self.winners = Some(documents);
                return Wish::Leave;
            }
            Answer::Error { cause: Cause::Stream, .. } => {
                self.gaps += 1;
                return Wish::Leave;
            }
            other @ (Answer::Unwelcome(_)
            | Answer::Rejected { .. }
            | Answer::Waiting { .. }
            | Answer::NotDrawn
            | Answer::Error { .. }) => {
                panic!("agency {} in {:?}: {other:?}", self.agency, self.dialect)
            }
        }
        Wish::Stay
    }
}

/// Bets of one of the clients of the agency, that can be told apart wherever they turn up.
fn batch(agency: AgencyId, client: usize, number: usize, random: &mut Random) -> Vec<Bet> {
    let first = 10_000_000 + agency.0 as usize * 1_000_000 + client * 10_000 + number * 100;
    let bet = |index: usize| {
        let bets_on = if random.below(4) == 0 { WINNING_NUMBER } else { 1 };
        let (document, bets_on) = ((first + index).to_string(), bets_on.to_string());
        Bet::from_text(b"Ana", b"Paz", document.as_bytes(), b"1999-03-17", bets_on.as_bytes()).unwrap()
    };
    (0..=number % 4).map(bet).collect()
}
