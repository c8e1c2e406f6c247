//! A hub of a test's own in front of a ledger: it stages, submits, and waits for what becomes of it.

use std::time::{Duration, Instant};

use loteria::lottery::{AgencyId, Roster};
use loteria::reactor::{Clock, EngineHost, EngineNetwork};
use loteria::storage::{
    Keep, Learned, Ledger, LedgerError, LedgerOptions, Match, Password, Place, Replicas, Settled, TurnNumber,
};

use super::{Engine, PASSWORD, USER};

/// A wait that takes longer has failed. It is for machines that are slow, and never passes otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Desk {
    pub ledger: Ledger<EngineNetwork>,
    clock: Clock,
    /// The last turn that was submitted.
    pub turn: u64,
    /// What was settled and not asked for yet.
    pub settled: Vec<Settled>,
    /// Kept apart, since surveys come at any time: what they told last.
    pub drawn: Option<Vec<(AgencyId, Vec<String>)>>,
}

/// The options of an instance; `instance` tells it from others.
pub fn options(engine: &Engine, instance: u8) -> LedgerOptions {
    LedgerOptions {
        hosts: vec![engine.address.to_string()],
        database: "loteria".to_owned(),
        user: USER.to_owned(),
        password: Some(Password(PASSWORD.into())),
        draw: 1,
        winning_number: 7574,
        roster: Roster::parse("1-3").unwrap(),
        instance: [instance; 16],
        name: format!("hub {instance}"),
        replicas: Replicas::None,
        in_flight: 4,
        exclude_after: None,
    }
}

/// The way to the hosts of these options.
pub fn network(options: &LedgerOptions) -> EngineNetwork {
    let host = |host: &String| EngineHost { address: host.parse().unwrap(), name: host.clone() };
    EngineNetwork::new(options.hosts.iter().map(host).collect(), None).unwrap()
}

impl Desk {
    pub fn begin(options: LedgerOptions) -> Desk {
        let clock = Clock::start();
        let network = network(&options);
        let ledger = Ledger::new(options, network, clock.now());
        Desk { ledger, clock, turn: 0, settled: Vec::new(), drawn: None }
    }

    /// What a start with these options finds.
    pub fn try_open(options: LedgerOptions) -> (Desk, Result<Learned, LedgerError>) {
        let mut desk = Desk::begin(options);
        let opened = desk.wait_for("the ledger to open", |desk| desk.ledger.opened());
        (desk, opened)
    }

    pub fn open(engine: &Engine, instance: u8) -> Desk {
        let (desk, opened) = Desk::try_open(options(engine, instance));
        opened.unwrap();
        desk
    }

    /// One step of a loop.
    pub fn step(&mut self, timeout: Duration) {
        let wake = self.ledger.next_wake().map_or(timeout, |wake| self.clock.until(wake).min(timeout));
        self.ledger.network().wait(wake).unwrap();
        self.ledger.go_on(self.clock.now());
        while let Some(settled) = self.ledger.settled() {
            if let Settled::Learned(learned) = &settled
                && let Some(drawn) = &learned.drawn
            {
                assert!(self.drawn.is_none(), "the draw is told once");
                let documents =
                    |bets: &Vec<loteria::lottery::Bet>| bets.iter().map(|b| b.document().to_owned()).collect();
                self.drawn = Some(drawn.iter().map(|(agency, bets)| (*agency, documents(bets))).collect());
            }
            self.settled.push(settled);
        }
    }

    pub fn wait_for<T>(&mut self, what: &str, mut found: impl FnMut(&mut Desk) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        self.ledger.go_on(self.clock.now());
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waiting for {what}: {:?}, settled: {:?}",
                self.ledger.trouble(),
                self.settled
            );
            self.step(Duration::from_secs(1));
        }
    }

    pub fn stage(&mut self, agency: u32, place: Place, bets: &super::Bets) {
        let staged = self.ledger.stage_batch(AgencyId(agency), place, bets).unwrap();
        assert_eq!(staged.bets as usize, bets.0.len());
    }

    pub fn matches(&mut self, agency: u32, sequence: u64, bets: &super::Bets) -> Match {
        self.ledger.matches(AgencyId(agency), sequence, bets).unwrap()
    }

    pub fn submit(&mut self) -> u64 {
        self.turn += 1;
        self.ledger.submit(TurnNumber(self.turn));
        self.turn
    }

    /// Waits until the turn is committed, and returns what was told besides, before it and right behind it.
    pub fn committed(&mut self, turn: u64) -> Vec<Settled> {
        self.wait_for("a commit", |desk| {
            let is_it = |settled: &Settled| matches!(settled, Settled::Committed(proof) if proof.through().0 >= turn);
            let at = desk.settled.iter().position(is_it)?;
            let read = |settled: &Settled| matches!(settled, Settled::Learned(_));
            let until = at + desk.settled[at + 1..].iter().take_while(|settled| read(settled)).count();
            let mut told: Vec<Settled> = desk.settled.drain(..=until).collect();
            told.remove(at);
            Some(told)
        })
    }

    /// Submits, waits, and returns what the turn has learned.
    pub fn commit(&mut self) -> Vec<Learned> {
        let turn = self.submit();
        let learned = |settled| match settled {
            Settled::Learned(learned) => Some(*learned),
            Settled::Committed(_) => None,
            other @ (Settled::TakenBack { .. } | Settled::Moved { .. } | Settled::Failed(_)) => panic!("{other:?}"),
        };
        self.committed(turn).into_iter().filter_map(learned).collect()
    }

    /// Waits until turns are taken back because of what others have stored.
    pub fn moved(&mut self) -> (u64, Learned) {
        let moved = self.wait_for("what has moved", |desk| {
            let at = desk.settled.iter().position(|settled| matches!(settled, Settled::Moved { .. }))?;
            desk.settled.drain(..=at).next_back()
        });
        let Settled::Moved { turn, learned } = moved else { panic!("{moved:?}") };
        (turn.0, *learned)
    }

    pub fn finish(&mut self, agency: u32) {
        self.ledger.stage_finish(AgencyId(agency));
    }
}
