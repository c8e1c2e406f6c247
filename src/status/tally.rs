//! What the hub's events add up to: per agency, per reason, and since when.
//!
//! A stored batch is a look-up and a few sums, and no memory, once its agency is known.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::feed::{Data, Feed, Kind};
use super::rate::Rate;
use super::reasons::{self, Reasons};
use super::report::REJECTED;
use crate::hub::{ConnectionId, Peer};
use crate::limits;
use crate::lottery::AgencyId;
use crate::wire::{Dialect, Rejection};

/// The dialects, and one place for connections that are gone.
pub const DIALECTS: usize = Dialect::ALL.len() + 1;

/// Batches and their bets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bets.
    pub bets: u64,
    /// Batches.
    pub batches: u64,
}

impl Count {
    /// These, too.
    pub fn add(&mut self, other: Count) {
        self.bets += other.bets;
        self.batches += other.batches;
    }
}

/// What an agency last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// A connection began to speak for it.
    Hello,
    /// A batch of this many bets was stored.
    Stored(u32),
    /// A batch was rejected.
    Rejected(Rejection),
    /// It finished.
    Finished,
    /// A connection of it ended, for this reason.
    Ended(&'static str),
}

impl Did {
    /// For a person.
    pub fn words(self) -> String {
        match self {
            Did::Hello => "connected".to_owned(),
            Did::Stored(1) => "stored a bet".to_owned(),
            Did::Stored(bets) => format!("stored a batch of {bets} bets"),
            Did::Rejected(why) => format!("{REJECTED}: {why}"),
            Did::Finished => "finished".to_owned(),
            Did::Ended(reason) => format!("its connection ended: {}", reason.replace('_', " ")),
        }
    }
}

/// What one agency did in this run.
#[derive(Clone, Debug, Default)]
pub struct AgencyTally {
    /// What was stored, by [`dialect_index`].
    pub by_dialect: [Count; DIALECTS],
    /// Bets.
    pub rate: Rate,
    /// What it last did, and when it last did something by itself.
    pub did: Option<(Did, Duration)>,
    /// Batches that were rejected.
    pub refused: u64,
    /// Why the last one was.
    pub last_refusal: Option<Rejection>,
    /// The peer of its last connection.
    pub peer: Option<SocketAddr>,
    /// The dialect of its last connection.
    pub dialect: Option<Dialect>,
    /// What was stored since the last event that said so.
    unsaid: Count,
}

impl AgencyTally {
    fn note(&mut self, did: Did, now: Duration) {
        self.did = Some((did, now));
    }

    /// A connection speaks for it. One that is gone by now is not known any more.
    fn meet(&mut self, peer: Peer, dialect: Option<Dialect>) {
        self.peer = at(peer).or(self.peer);
        self.dialect = dialect.or(self.dialect);
    }
}

/// Where a dialect is in [`AgencyTally::by_dialect`].
pub fn dialect_index(dialect: Option<Dialect>) -> usize {
    dialect.map_or(Dialect::ALL.len(), |dialect| dialect as usize)
}

/// A disk that was full.
#[derive(Clone, Copy, Debug)]
struct Full {
    at: Duration,
    /// The least free bytes of its file system since then; `None`: not asked yet.
    free: Option<u64>,
}

/// What the hub did in this run.
#[derive(Debug, Default)]
pub struct Tally {
    now: Duration,
    /// Agencies of the roster that did something.
    agencies: HashMap<AgencyId, AgencyTally>,
    /// Agencies with bets that no event has said yet.
    unsaid: Vec<AgencyId>,
    /// What all agencies stored.
    pub stored: Count,
    /// Bets.
    pub rate: Rate,
    /// Batches that were rejected.
    pub rejected: Reasons,
    /// Other requests that were refused.
    pub refused: Reasons,
    /// Connections that ended.
    pub ended: Reasons,
    /// When the draw was made.
    pub drawn_at: Option<Duration>,
    /// The same by the wall clock, as it was then.
    pub drawn_on: Option<SystemTime>,
    /// The disk was full, and nothing has been stored since.
    full: Option<Full>,
    /// Viewers that were dropped.
    pub viewers_dropped: u64,
    /// The events.
    pub feed: Feed,
    /// Why connections will end that are still there.
    closings: VecDeque<(ConnectionId, &'static str)>,
}

impl Tally {
    /// It is `now`, counted since the start, and `clock` by the wall clock.
    pub fn tick(&mut self, now: Duration, clock: SystemTime) {
        if now.as_secs() != self.now.as_secs() {
            self.say_all();
        }
        self.now = now;
        self.feed.clock = Some(clock);
        self.feed.tick(now);
    }

    /// What the wall clock said at the last [`tick`](Self::tick).
    pub fn clock(&self) -> Option<SystemTime> {
        self.feed.clock
    }

    /// The time of the last [`tick`](Self::tick).
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What `agency` did.
    pub fn agency(&self, agency: AgencyId) -> Option<&AgencyTally> {
        self.agencies.get(&agency)
    }

    pub(super) fn hello(&mut self, peer: Peer, agency: AgencyId, dialect: Option<Dialect>) {
        let now = self.now;
        let of_agency = self.agencies.entry(agency).or_default();
        of_agency.meet(peer, dialect);
        of_agency.note(Did::Hello, now);
        self.push(Kind::Hello, Some(agency), |data| Data {
            dialect: dialect.map(Dialect::name),
            peer: at(peer),
            ..data
        });
    }

    pub(super) fn stored(&mut self, peer: Peer, agency: AgencyId, dialect: Option<Dialect>, bets: u32) {
        let (now, count) = (self.now, Count { bets: bets.into(), batches: 1 });
        let of_agency = self.agencies.entry(agency).or_default();
        if of_agency.unsaid == Count::default() {
            self.unsaid.push(agency);
        }
        of_agency.unsaid.add(count);
        of_agency.by_dialect[dialect_index(dialect)].add(count);
        of_agency.rate.add(now, count.bets);
        of_agency.meet(peer, dialect);
        of_agency.note(Did::Stored(bets), now);
        self.stored.add(count);
        self.full = None;
        self.rate.add(now, count.bets);
    }

    pub(super) fn rejected(&mut self, peer: Peer, agency: Option<AgencyId>, count: u32, why: Rejection) {
        let now = self.now;
        *self.rejected.entry(reasons::of_rejection(why)).or_default() += 1;
        // An agency that the event names is one of the roster.
        if let Some(agency) = agency {
            let of_agency = self.agencies.entry(agency).or_default();
            of_agency.refused += 1;
            of_agency.last_refusal = Some(why);
            of_agency.meet(peer, None);
            of_agency.note(Did::Rejected(why), now);
        }
        let bets = Some(count.into());
        self.push(Kind::Rejected, agency, |data| Data { bets, peer: at(peer), reason: Some(why.to_string()), ..data });
    }

    pub(super) fn finished(&mut self, peer: Peer, agency: AgencyId, dialect: Option<Dialect>) {
        let now = self.now;
        let of_agency = self.agencies.entry(agency).or_default();
        of_agency.meet(peer, dialect);
        of_agency.note(Did::Finished, now);
        self.say(agency);
        self.push(Kind::Finished, Some(agency), |data| Data { dialect: dialect.map(Dialect::name), ..data });
    }

    /// Something that happened to an agency, and that the hub itself remembers.
    pub(super) fn befell(&mut self, kind: Kind, agency: AgencyId) {
        self.say(agency);
        self.push(kind, Some(agency), |data| data);
    }

    pub(super) fn refused(&mut self, peer: Peer, label: &'static str, words: impl FnOnce() -> String) {
        *self.refused.entry(label).or_default() += 1;
        self.push(Kind::Refused, None, |data| Data { peer: at(peer), reason: Some(words()), ..data });
    }

    /// The connection will end, for `reason`.
    pub(super) fn will_end(&mut self, peer: Peer, reason: &'static str) {
        if self.closings.len() == limits::CLOSINGS_KEPT {
            self.closings.pop_front();
        }
        self.closings.push_back((peer.id, reason));
    }

    pub(super) fn ended(&mut self, peer: Peer, dialect: Option<Dialect>, agency: Option<AgencyId>) {
        let now = self.now;
        let place = self.closings.iter().rposition(|(id, _)| *id == peer.id);
        let closing = place.and_then(|place| self.closings.remove(place));
        let reason = closing.map_or(reasons::BY_THE_PEER, |(_, reason)| reason);
        *self.ended.entry(reason).or_default() += 1;
        if let Some(agency) = agency {
            let of_agency = self.agencies.entry(agency).or_default();
            // That a client closes after it did something says less than what it did.
            let silent = matches!(of_agency.did, None | Some((Did::Hello, _)));
            if reason != reasons::BY_THE_PEER || silent {
                // The hub may have ended it for its silence: nothing was received then.
                let acted_at = of_agency.did.map_or(now, |(_, at)| at);
                of_agency.note(Did::Ended(reason), acted_at);
            }
        }
        let dialect = dialect.map(Dialect::name);
        self.push(Kind::Ended, agency, |data| Data {
            dialect,
            peer: at(peer),
            reason: Some(reason.to_owned()),
            ..data
        });
    }

    pub(super) fn store_full(&mut self) {
        self.full = Some(Full { at: self.now, free: None });
    }

    /// Whether the disk has been found full, and it is not known yet how much of it is free.
    pub fn asks_for_free_bytes(&self) -> bool {
        self.full.is_some_and(|full| full.free.is_none())
    }

    /// So many bytes of the store's file system are free, where the system says. A disk that was full is so no longer once
    /// much has become free: a quota can leave a disk full that has free bytes, so that their number alone says nothing.
    pub fn note_free_bytes(&mut self, free: Option<u64>) {
        let Some(full) = &mut self.full else { return };
        let free = free.unwrap_or(u64::MAX);
        match full.free {
            Some(least) if free != u64::MAX && free >= least.saturating_add(limits::STORE_FULL_FREED) => {
                self.full = None
            }
            least => full.free = Some(least.map_or(free, |least| least.min(free))),
        }
    }

    /// Whether the disk has no space, as far as is known.
    pub fn store_is_full(&self) -> bool {
        self.full.is_some_and(|full| self.now.saturating_sub(full.at) < limits::STORE_FULL_SAID)
    }

    pub(super) fn waits(&mut self, agencies: impl Iterator<Item = AgencyId>, more: bool) {
        let ids = || agencies.map(|agency| agency.0).collect();
        self.push(Kind::Waits, None, |data| Data { agencies: Some(ids()), more: Some(more), ..data });
    }

    pub(super) fn drawn(&mut self) {
        (self.drawn_at, self.drawn_on) = (Some(self.now), self.feed.clock);
        self.say_all();
        self.push(Kind::Drawn, None, |data| data);
    }

    fn push(&mut self, kind: Kind, agency: Option<AgencyId>, data: impl FnOnce(Data) -> Data) {
        let with_agency = || data(Data { agency: agency.map(|agency| agency.0), ..Data::default() });
        self.feed.push(self.now, kind, agency.is_some(), with_agency);
    }

    /// What `agency` stored becomes an event before what it did next.
    fn say(&mut self, agency: AgencyId) {
        let Some(of_agency) = self.agencies.get_mut(&agency).filter(|tally| tally.unsaid != Count::default()) else {
            return;
        };
        let Count { bets, batches } = std::mem::take(&mut of_agency.unsaid);
        let dialect = of_agency.dialect.map(Dialect::name);
        let data = |data| Data { dialect, bets: Some(bets), batches: Some(batches), ..data };
        self.push(Kind::Stored, Some(agency), data);
    }

    /// What was stored becomes events: one for each of the first agencies, and one for all others.
    fn say_all(&mut self) {
        let mut unsaid = std::mem::take(&mut self.unsaid);
        let (mut rest, mut others) = (Count::default(), 0);
        for (place, agency) in unsaid.drain(..).enumerate() {
            if place < limits::STORED_EVENTS_PER_SECOND {
                self.say(agency);
            } else if let Some(of_agency) = self.agencies.get_mut(&agency) {
                rest.add(std::mem::take(&mut of_agency.unsaid));
                others += 1;
            }
        }
        self.unsaid = unsaid;
        if rest != Count::default() {
            let Count { bets, batches } = rest;
            let data = |data| Data { others: Some(others), bets: Some(bets), batches: Some(batches), ..data };
            self.push(Kind::Stored, None, data);
        }
    }
}

/// The address of a peer; `None` of one that is gone.
fn at(peer: Peer) -> Option<SocketAddr> {
    (peer.port != 0 || !peer.ip.is_unspecified()).then(|| SocketAddr::new(peer.ip, peer.port))
}
