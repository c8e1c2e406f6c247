//! A hub in memory with the server's side of each dialect, and a driver that runs an upload against it.

use std::fmt::Debug;
use std::time::Duration;

use super::{AGENCY, WINNING};
use crate::agency::bet_reader::BetReader;
use crate::agency::upload::{Event, Next, Outcome, Upload};
use crate::lottery::{Bet, BetSource};
use crate::wire::{Batch, Bets, Context, Dialect, Framing, Rejection, Reply, Request};

/// A scripted hub of one agency and one connection at a time.
pub struct Hub {
    dialect: Dialect,
    pub batches: Vec<Vec<Bet>>,
    pub finishes: u32,
    /// How many queries get the reply "not yet".
    pub early: u32,
    /// Batches to reject once, by the number of batches stored before, with the reason.
    pub rejections: Vec<(usize, Rejection)>,
    /// The connection, from 1, at which the hub loses all but the first so many batches.
    pub forget: Option<(u32, usize)>,
    /// The connection, from 1, before which another client of the agency has stored these batches.
    pub others: (u32, Vec<Vec<Bet>>),
    /// How many bets too many the reply to the finish reports.
    pub miscount: u64,
    connections: u32,
    pub frames: Vec<usize>,
    inbox: Vec<u8>,
    pub outbox: Vec<u8>,
    opening: bool,
    discarding: bool,
    rejected: bool,
}

impl Hub {
    pub fn new(dialect: Dialect) -> Hub {
        Hub {
            dialect,
            batches: Vec::new(),
            finishes: 0,
            early: 0,
            rejections: Vec::new(),
            forget: None,
            others: (0, Vec::new()),
            miscount: 0,
            connections: 0,
            frames: Vec::new(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            opening: true,
            discarding: false,
            rejected: false,
        }
    }

    pub fn stored(&self) -> Vec<Bet> {
        self.batches.concat()
    }

    pub fn accept(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
        self.opening = true;
        self.discarding = false;
        self.rejected = false;
        self.connections += 1;
        if self.others.0 == self.connections {
            self.batches.append(&mut self.others.1);
        }
        if let Some((connection, keep)) = self.forget
            && connection == self.connections
        {
            self.batches.truncate(keep);
            self.finishes = 0;
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        loop {
            let inbox = std::mem::take(&mut self.inbox);
            let context = Context { frame_bytes_max: 1 << 20, opening: self.opening, scanned: 0 };
            match self.dialect.frame(&inbox, &context) {
                Framing::Incomplete { .. } => {
                    self.inbox = inbox;
                    return;
                }
                Framing::Complete { bytes } => {
                    self.frames.push(bytes);
                    let request = self.dialect.decode(&inbox[..bytes], &context).unwrap();
                    self.opening = false;
                    self.serve(request);
                    self.inbox = inbox[bytes..].to_vec();
                }
                Framing::Malformed(malformed) => panic!("{malformed}"),
            }
        }
    }

    fn serve(&mut self, request: Request<Bets<'_>>) {
        match request {
            Request::Hello(agency) => {
                assert_eq!(agency, AGENCY);
                self.say(&Reply::Welcome { next: self.batches.len() as u64 });
            }
            Request::Batch(batch) => self.batch(&batch),
            Request::Finish(_) => self.finish(),
            Request::Query(_) => self.query(),
            Request::Watch => {}
            Request::FinishAndQuery(_) => {
                self.finishes += 1;
                self.query();
            }
            Request::EmptyBatch | Request::BadBatch { .. } | Request::Refused(_) | Request::Echo => {
                panic!("no client of ours asks that")
            }
        }
    }

    fn batch(&mut self, batch: &Batch<Bets<'_>>) {
        let mut list: Vec<Result<Bet, _>> = Vec::new();
        assert_eq!(batch.bets.feed(&mut list), Ok(batch.bets.count()));
        let bets: Vec<Bet> = list.into_iter().map(Result::unwrap).collect();
        let next = self.batches.len() as u64;
        let sequence = batch.sequence.unwrap_or(next);
        if sequence < next {
            let same = self.batches[usize::try_from(sequence).unwrap()] == bets;
            let conflict = Reply::Rejected { sequence, why: Rejection::Conflict };
            let stored = Reply::Stored { next };
            return self.say(if same { &stored } else { &conflict });
        }
        if sequence > next {
            assert!(self.discarding, "a gap");
            return;
        }
        if let Some(place) = self.rejections.iter().position(|(at, _)| *at as u64 == next) {
            let (_, why) = self.rejections.remove(place);
            self.discarding = true;
            self.rejected = true;
            return self.say(&Reply::Rejected { sequence, why });
        }
        self.discarding = false;
        self.batches.push(bets);
        self.say(&Reply::Stored { next: next + 1 });
    }

    fn finish(&mut self) {
        self.finishes += 1;
        let bets = self.stored().len() as u64 + self.miscount;
        self.say(&Reply::Finished { batches: self.batches.len() as u64, bets, all_stored: !self.rejected });
    }

    fn query(&mut self) {
        if self.early > 0 {
            self.early -= 1;
            return self.say(&Reply::NotDrawn);
        }
        let won: Vec<Bet> = self.stored().into_iter().filter(|bet| bet.number() == WINNING).collect();
        self.say(&Reply::Winners { agency: AGENCY, bets: &won });
    }

    fn say(&mut self, reply: &Reply<'_>) {
        let _ = self.dialect.encode(reply, &mut self.outbox);
    }
}

/// The faults of a run: bytes arrive in pieces of `piece`, and each connection is cut after a number of bytes.
pub struct Run {
    pub piece: usize,
    pub cuts: Vec<usize>,
    pub pauses: Vec<Duration>,
    pub events: Vec<Event>,
    pub close_reasons: Vec<String>,
}

impl Run {
    pub fn new() -> Run {
        Run { piece: usize::MAX, cuts: Vec::new(), pauses: Vec::new(), events: Vec::new(), close_reasons: Vec::new() }
    }

    pub fn cut(cuts: &[usize]) -> Run {
        Run { cuts: cuts.iter().rev().copied().collect(), ..Run::new() }
    }

    /// Runs `upload` against `hub` to its end.
    pub fn play<R: BetReader + Debug>(&mut self, upload: &mut Upload<R>, hub: &mut Hub) -> Outcome {
        let mut left = usize::MAX;
        for _ in 0..1_000_000 {
            while let Some(event) = upload.take_event() {
                self.events.push(event);
            }
            match upload.next() {
                Next::Over => return upload.outcome().unwrap().clone(),
                Next::Connect { .. } => {
                    hub.accept();
                    upload.connected();
                    left = self.cuts.pop().unwrap_or(usize::MAX);
                }
                Next::Talk => left = self.carry(upload, hub, left),
                Next::Pause(pause) => {
                    left = self.carry(upload, hub, left);
                    if upload.next() == Next::Pause(pause) {
                        self.pauses.push(pause);
                        upload.pause_over();
                    }
                }
                Next::Work => {}
            }
            upload.work();
        }
        panic!("it does not come to an end: {upload:?}");
    }

    /// Transfers a piece each way; returns how many bytes this connection may still transfer.
    pub fn carry<R: BetReader>(&mut self, upload: &mut Upload<R>, hub: &mut Hub, left: usize) -> usize {
        let out = upload.outgoing().len().min(self.piece).min(left);
        let bytes = upload.outgoing()[..out].to_vec();
        upload.sent(out);
        hub.receive(&bytes);
        let left = left - out;
        let back = hub.outbox.len().min(self.piece).min(left);
        let answer: Vec<u8> = hub.outbox.drain(..back).collect();
        let handled = upload.received(&answer);
        let left = left - back;
        if let Err(reason) = &handled {
            self.close_reasons.push(reason.clone());
        }
        if handled.is_err() || left == 0 {
            upload.lost(Duration::ZERO);
        }
        left
    }
}
