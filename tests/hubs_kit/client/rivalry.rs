//! Several clients that speak for one agency at the same time, with bets of their own under the same numbers. Each one acts
//! on what it is told as if it were alone, and what it is told is compared with what is stored.

use std::collections::HashMap;

use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Cause, Dialect};

use super::super::{WINNING_NUMBER, rows};
use super::{Client, Stage, Wish, batch};
use crate::storage_kit::random::Random;

/// What a client was told that stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// This batch is stored.
    Stored(usize),
    /// Other bets are stored under this number.
    Conflict(usize),
    /// The agency has finished without this batch.
    Late(usize),
    /// A batch is not stored, and the dialect does not say why.
    Rejected,
    /// The agency has finished.
    Finished,
}

/// What a client that is not alone keeps in mind.
#[derive(Debug)]
pub(super) struct Rivalry {
    /// It sends its finish right behind its last batch, before that is acknowledged.
    impatient: bool,
    /// It has, on this connection.
    finish_sent: bool,
    /// A batch of this connection has to come again.
    rejected: bool,
    /// What was not compared yet.
    told: Vec<Told>,
    /// It was told that it cannot go on.
    stopped: bool,
}

impl Rivalry {
    fn new(random: &mut Random) -> Rivalry {
        let impatient = random.below(2) == 0;
        Rivalry { impatient, finish_sent: false, rejected: false, told: Vec::new(), stopped: false }
    }

    pub(super) fn connected(&mut self) {
        (self.finish_sent, self.rejected) = (false, false);
    }
}

impl Client {
    /// One of several clients of the agency, which has `others` already.
    pub fn beside(agency: AgencyId, others: &[Client], random: &mut Random) -> Client {
        let dialect = if random.below(4) > 0 {
            Dialect::Native
        } else {
            [Dialect::Binary, Dialect::Text, Dialect::KeyValue][random.index(3)]
        };
        let mut client = Client::new(agency, dialect, random);
        // Few, so that its last batch and its finish often meet those of others.
        client.batches = (0..random.index(6)).map(|number| batch(agency, others.len(), number, random)).collect();
        client.sent_on = vec![0; client.batches.len()];
        let models: Vec<&Client> = others.iter().filter(|other| other.is_numbered()).collect();
        if client.is_numbered() && !models.is_empty() {
            client.take_after(models[random.index(models.len())], random);
        }
        (client.rivalry, client.repeats_at) = (Some(Rivalry::new(random)), None);
        client
    }

    /// The first batches are those of `model`, and some of the others.
    fn take_after(&mut self, model: &Client, random: &mut Random) {
        let same = random.index(model.batches.len() + 1);
        for (number, bets) in model.batches.iter().enumerate() {
            if number < self.batches.len() && (number < same || random.below(3) == 0) {
                self.batches[number].clone_from(bets);
            }
        }
    }

    pub fn has_rivals(&self) -> bool {
        self.rivalry.is_some()
    }

    /// Whether it was told that it cannot go on.
    pub fn has_stopped(&self) -> bool {
        self.rivalry.as_ref().is_some_and(|rivalry| rivalry.stopped)
    }

    /// Whether it has sent its finish before its batches were acknowledged.
    pub(super) fn has_early_finish(&self) -> bool {
        self.rivalry.as_ref().is_some_and(|rivalry| rivalry.finish_sent)
    }

    pub(super) fn put_early_finish(&mut self, out: &mut Vec<u8>) {
        let is_due = self.sent == self.batches.len() && self.is_numbered();
        let Some(rivalry) = self.rivalry.as_mut().filter(|rivalry| rivalry.impatient && is_due) else { return };
        if !std::mem::replace(&mut rivalry.finish_sent, true) {
            self.dialect.put_finish(self.agency, out);
        }
    }

    /// A batch was rejected before its finish: what comes now is the end of the connection, or the finish of another client.
    pub(super) fn waits_for_end(&self) -> bool {
        self.rivalry.as_ref().is_some_and(|rivalry| rivalry.finish_sent && rivalry.rejected)
    }

    pub(super) fn note_beside_rivals(&mut self, answer: Answer) -> Wish {
        let agency = self.agency;
        match answer {
            // What is stored may be another client's: all that was not acknowledged is sent again.
            Answer::Welcome { next } => {
                assert!(next >= self.acknowledged as u64, "agency {agency}: acknowledged bets are forgotten");
                self.stage = Stage::Betting;
            }
            Answer::Stored => self.is_told_of_stored(self.acknowledged + 1),
            Answer::StoredBelow { next } => self.is_told_of_stored(usize::try_from(next).unwrap()),
            Answer::Rejected { cause, sequence, .. } => {
                let number = sequence.map_or(self.acknowledged, |sequence| usize::try_from(sequence).unwrap());
                self.is_rejected(cause, number);
            }
            Answer::Finished { bets, .. } => return self.is_told_of_finish(bets),
            Answer::Winners { documents, .. } => {
                self.winners = Some(documents);
                return Wish::Leave;
            }
            Answer::Error { cause: Cause::Stream, .. } => {
                self.gaps += 1;
                return Wish::Leave;
            }
            other @ (Answer::Unwelcome(_) | Answer::Waiting { .. } | Answer::NotDrawn | Answer::Error { .. }) => {
                panic!("agency {agency} in {:?}: {other:?}", self.dialect)
            }
        }
        Wish::Stay
    }

    fn is_told(&mut self, told: Told) {
        self.rivalry.as_mut().unwrap().told.push(told);
    }

    fn is_told_of_stored(&mut self, next: usize) {
        assert!(next <= self.sent, "agency {}: what was not sent is acknowledged", self.agency);
        (self.acknowledged..next).for_each(|number| self.is_told(Told::Stored(number)));
        self.acknowledged = self.acknowledged.max(next);
    }

    fn is_rejected(&mut self, cause: Cause, number: usize) {
        let Client { agency, acknowledged, .. } = *self;
        assert!(number < self.batches.len(), "agency {agency}: batch {number} was never sent, and is rejected");
        assert!(number >= acknowledged, "agency {agency}: batch {number} was acknowledged, and is rejected");
        let (told, stops) = match cause {
            Cause::StorageFull => (None, false),
            Cause::Unsaid => (Some(Told::Rejected), false),
            Cause::Conflict => (Some(Told::Conflict(number)), true),
            Cause::Late => (Some(Told::Late(number)), true),
            Cause::Permanent | Cause::ShuttingDown | Cause::Stream => {
                panic!("agency {agency}: batch {number} is rejected: {cause:?}")
            }
        };
        self.sent = self.sent.min(number);
        let rivalry = self.rivalry.as_mut().unwrap();
        rivalry.told.extend(told);
        (rivalry.rejected, rivalry.stopped) = (true, rivalry.stopped || stops);
    }

    fn is_told_of_finish(&mut self, bets: Option<u64>) -> Wish {
        self.is_told(Told::Finished);
        if self.acknowledged < self.batches.len() {
            // Another client's finish: what was rejected before may be sent again, and is too late.
            assert!(self.waits_for_end(), "agency {} has finished without a batch", self.agency);
            return Wish::Leave;
        }
        self.has_finished(bets);
        Wish::Stay
    }

    /// Whether it was told something that was not compared with what is stored.
    pub fn was_told(&self) -> bool {
        self.rivalry.as_ref().is_some_and(|rivalry| !rivalry.told.is_empty())
    }

    /// What it was told is so: `stored` has the rows of its agency's batches, which may have `finished`.
    pub fn compare(&mut self, stored: &[Vec<u8>], finished: bool) {
        let (agency, told) = (self.agency, std::mem::take(&mut self.rivalry.as_mut().unwrap().told));
        for told in told {
            let is_own = |number: usize| {
                let rows = rows(agency, &self.batches[number]);
                if self.is_numbered() { stored.get(number) == Some(&rows) } else { stored.contains(&rows) }
            };
            let is_so = match told {
                Told::Stored(number) => is_own(number),
                Told::Conflict(number) => number < stored.len() && !is_own(number),
                Told::Late(number) => finished && !is_own(number),
                Told::Rejected => true,
                Told::Finished => finished,
            };
            assert!(is_so, "agency {agency} is told {told:?}, which is not so: {} batches stored", stored.len());
            // A dialect without causes has one rejection for "no space" and for "too late".
            self.rivalry.as_mut().unwrap().stopped |= told == Told::Rejected && finished;
        }
    }
}

/// Clients of one agency are all over: what is `stored` is theirs, and they were told the truth about it.
pub fn check_end(agency: AgencyId, clients: &[&Client], stored: &[Vec<u8>]) {
    assert!(clients.iter().any(|client| client.winners.is_some()), "agency {agency}: no client has its winners");
    let mut copies: HashMap<Vec<u8>, u64> = HashMap::new();
    for (number, rows_of_batch) in stored.iter().enumerate() {
        let is_it = |bets: &Vec<Bet>| rows(agency, bets) == *rows_of_batch;
        let mut numbered = clients.iter().filter(|client| client.is_numbered());
        if !numbered.any(|client| client.batches.get(number).is_some_and(is_it)) {
            *copies.entry(rows_of_batch.clone()).or_default() += 1;
        }
    }
    for client in clients {
        for (number, bets) in client.batches.iter().enumerate() {
            let (own, was_stored) = (rows(agency, bets), number < client.acknowledged);
            if client.is_numbered() {
                assert!(!was_stored || stored[number] == own, "agency {agency}: batch {number} is another's");
                continue;
            }
            let copies = copies.remove(&own).unwrap_or(0);
            let at_most = client.sent_on[number];
            let right = u64::from(was_stored)..=at_most;
            assert!(right.contains(&copies), "agency {agency}: {copies} copies, sent {at_most} times");
        }
        let winners = || stored.iter().flat_map(|rows| winners_of(rows)).collect::<Vec<String>>();
        assert!(client.winners.as_ref().is_none_or(|told| *told == winners()), "agency {agency}: other winners");
    }
    assert!(copies.is_empty(), "agency {agency}: rows that no client sent under their numbers");
}

/// The documents of rows that win.
fn winners_of(rows: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(rows);
    let fields = text.lines().map(|line| line.split(',').collect::<Vec<&str>>());
    let number = WINNING_NUMBER.to_string();
    fields.filter(|fields| fields[5] == number).map(|fields| fields[3].to_owned()).collect()
}
