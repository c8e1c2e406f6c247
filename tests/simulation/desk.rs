//! A hub without a network, for single turns written out.

use std::net::{Ipv4Addr, SocketAddr};

use loteria::hub::{ConnectionId, Hub, Policy};
use loteria::lottery::{AgencyId, Lottery, Roster, Standing};
use loteria::storage::{Options, Store};
use loteria::timers::Moment;
use loteria::wire::{Answer, Cause, Dialect, Expecting};

use crate::bets::{Batches, Kind, WINNING_NUMBER};
use crate::frames::hello;
use crate::late::Late;
use crate::reactor::Keeper;
use crate::rng::Rng;
use crate::storage_kit::disk::SimDisk;

/// A hub without a network.
pub struct Desk {
    pub hub: Hub<Keeper>,
    pub disk: SimDisk,
    pub batches: Batches,
    pub now: Moment,
}

impl Desk {
    pub fn new(roster: &str, policy: Policy, options: Options) -> Desk {
        let disk = SimDisk::new(0);
        let (store, _) = Store::open(disk.mount(), options).unwrap();
        let lottery = Lottery::new(Roster::parse(roster).unwrap(), WINNING_NUMBER);
        let now = Moment::default();
        Desk {
            hub: Hub::new(policy, lottery, Late::prompt(store, WINNING_NUMBER), now),
            disk,
            batches: Batches::default(),
            now,
        }
    }

    /// A hub for so many agencies, as it comes.
    pub fn of(agencies: &str) -> Desk {
        Desk::new(agencies, Policy::default(), Options::default())
    }

    pub fn connect(&mut self) -> ConnectionId {
        self.hub.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)), self.now).unwrap()
    }

    /// A native connection of `agency` that has been welcomed.
    pub fn native(&mut self, agency: u32) -> ConnectionId {
        let id = self.connect();
        self.hub.receive(id, &hello(agency), self.now);
        self.turn();
        assert!(matches!(self.answers(id, Expecting::Welcome)[..], [Answer::Welcome { .. }]));
        id
    }

    /// The frame of a batch of two bets.
    pub fn batch(&mut self, dialect: Dialect, agency: u32, kind: Kind, sequence: u64) -> Vec<u8> {
        let mut frame = Vec::new();
        let batch = self.batches.make(&mut Rng::new(1), Some(agency), kind, 2);
        self.batches.put(batch, dialect, agency, sequence, 0, &mut frame);
        frame
    }

    /// Time passes until `until`, with a turn whenever something is due.
    pub fn pass_until(&mut self, until: Moment) {
        while let Some(at) = self.hub.next_deadline().filter(|at| *at <= until) {
            self.now = at;
            self.turn();
        }
    }

    pub fn turn(&mut self) {
        self.hub.run_deferred(self.now);
        self.hub.tick(self.now).unwrap();
        let committed = self.hub.commit(self.now).unwrap();
        self.hub.release(committed, self.now);
        self.hub.assert_invariants();
    }

    /// Everything that the hub says to a connection now.
    pub fn answers(&mut self, id: ConnectionId, expecting: Expecting) -> Vec<Answer> {
        let bytes = self.hub.outgoing(id).to_vec();
        self.hub.sent(id, bytes.len(), self.now);
        let (mut answers, mut rest) = (Vec::new(), &bytes[..]);
        while let Ok(Some((used, answer))) = Dialect::Native.read_answer(rest, expecting) {
            rest = &rest[used..];
            answers.push(answer);
        }
        assert!(rest.is_empty(), "no answer of native: {rest:02x?}");
        answers
    }

    /// Sends `frames` in one piece; what the hub says at the end of the turn.
    pub fn say(&mut self, id: ConnectionId, frames: &[Vec<u8>]) -> Vec<Answer> {
        self.hub.receive(id, &frames.concat(), self.now);
        self.turn();
        self.answers(id, Expecting::Stored)
    }

    pub fn standing(&self, agency: u32) -> Standing {
        self.hub.lottery().agency(AgencyId(agency)).unwrap().standing
    }
}

pub fn is_reject(answer: &Answer, number: u64, why: Cause) -> bool {
    matches!(answer, Answer::Rejected { sequence, cause, .. } if *sequence == Some(number) && *cause == why)
}

pub fn is_gap(answer: &Answer) -> bool {
    matches!(answer, Answer::Error { cause: Cause::Stream, .. })
}

pub const NATIVE: Dialect = Dialect::Native;
