//! An agency that uploads until it is told to finish, on connections that move at random.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Random;
use super::dialects::{Dialect, Link, batch_bytes, number};

/// Batches of `native` in flight.
const WINDOW: u32 = 16;

/// What the agencies of a round share.
pub struct Round {
    pub began: Instant,
    /// They finish.
    pub finish: AtomicBool,
    /// The test has failed: they end.
    pub abandoned: AtomicBool,
    /// Acknowledged batches of each.
    pub acknowledged: [AtomicU64; 5],
    /// The last acknowledgement of any, and the longest time without one.
    quiet: Mutex<(Instant, Duration)>,
}

impl Round {
    pub fn new() -> Round {
        let now = Instant::now();
        Round {
            began: now,
            finish: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            acknowledged: Default::default(),
            quiet: Mutex::new((now, Duration::ZERO)),
        }
    }

    /// From now on pauses count.
    pub fn count_pauses(&self) {
        self.quiet.lock().unwrap().1 = Duration::ZERO;
    }

    pub fn longest_pause(&self) -> Duration {
        self.quiet.lock().unwrap().1
    }

    pub fn all_have(&self, more: u64, than: &[u64; 5]) -> bool {
        self.acknowledged.iter().zip(than).all(|(now, before)| now.load(Ordering::Relaxed) >= before + more)
    }

    pub fn counts(&self) -> [u64; 5] {
        std::array::from_fn(|at| self.acknowledged[at].load(Ordering::Relaxed))
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub dialect: Dialect,
    pub agency: u32,
    /// On how many connections each batch was sent. All of them are acknowledged.
    pub sent_on: Vec<u32>,
    pub winners: Vec<u32>,
    /// What was refused; nothing should be.
    pub refused: Vec<String>,
}

pub struct Agency<'a> {
    pub number: u32,
    pub dialect: Dialect,
    pub address: &'a str,
    pub round: &'a Round,
    pub random: Random,
    outcome: Outcome,
}

impl<'a> Agency<'a> {
    pub fn new(number: u32, dialect: Dialect, address: &'a str, round: &'a Round, random: Random) -> Agency<'a> {
        let outcome =
            Outcome { dialect, agency: number, sent_on: Vec::new(), winners: Vec::new(), refused: Vec::new() };
        Agency { number, dialect, address, round, random, outcome }
    }

    fn acknowledged(&self, batches: u32) {
        let mut quiet = self.round.quiet.lock().unwrap();
        let now = Instant::now();
        *quiet = (now, quiet.1.max(now - quiet.0));
        self.round.acknowledged[self.number as usize - 1].store(u64::from(batches), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.round.finish.load(Ordering::Relaxed)
    }

    fn sent(&mut self, batch: u32) {
        let at = batch as usize;
        if at == self.outcome.sent_on.len() {
            self.outcome.sent_on.push(0);
        }
        self.outcome.sent_on[at] += 1;
    }

    /// Uploads, finishes, and waits for its winners.
    pub fn run(mut self) -> Outcome {
        let mut next = 0;
        while !self.round.abandoned.load(Ordering::Relaxed) {
            let done = match self.dialect {
                Dialect::Native => self.native(),
                Dialect::Binary | Dialect::Text | Dialect::KeyValue => self.lockstep(&mut next),
            };
            match done {
                Ok(Some(winners)) => {
                    self.outcome.winners = winners;
                    return self.outcome;
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.outcome.refused.push(error.to_string());
                    assert!(self.outcome.refused.len() < 1000, "agency {}: {error}", self.number);
                }
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.outcome
    }

    /// One connection. `None`: it is left, or there is no draw yet.
    fn lockstep(&mut self, next: &mut u32) -> io::Result<Option<Vec<u32>>> {
        let mut link = Link::connect(self.address)?;
        while !self.is_over() || (*next as usize) < self.outcome.sent_on.len() {
            link.send(&batch_bytes(self.dialect, self.number, *next))?;
            self.sent(*next);
            if self.random.below(300) == 0 {
                return Ok(None);
            }
            link.answer(self.dialect)?;
            *next += 1;
            self.acknowledged(*next);
        }
        link.winners(self.dialect, self.number)
    }

    fn native(&mut self) -> io::Result<Option<Vec<u32>>> {
        let mut link = Link::connect(self.address)?;
        let mut held = link.greet(self.number)?;
        let before = u32::try_from(self.round.counts()[self.number as usize - 1]).unwrap_or(u32::MAX);
        if held < before {
            self.outcome.refused.push(format!("{before} batches were acknowledged, and a hub waits for batch {held}"));
        }
        let mut next = held;
        loop {
            while next - held < WINDOW && (!self.is_over() || (next as usize) < self.outcome.sent_on.len()) {
                link.send(&batch_bytes(self.dialect, self.number, next))?;
                self.sent(next);
                next += 1;
            }
            if next == held {
                return link.winners(self.dialect, self.number);
            }
            if self.random.below(300) == 0 {
                return Ok(None);
            }
            let (kind, body) = link.native()?;
            if kind != 0x81 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("kind {kind:02x}: {}", body.escape_ascii()),
                ));
            }
            held = number(&body)?;
            self.acknowledged(held);
        }
    }
}
