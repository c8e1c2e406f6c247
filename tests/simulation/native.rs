//! An agency in `native`: many batches on their way, several connections at once, and everything that is allowed
//! to go wrong between them. Whatever happens, its batches are to be stored once each, in their order.

use std::collections::VecDeque;

use loteria::lottery::AgencyId;
use loteria::wire::{Answer, Cause, Dialect};

use crate::bets::Kind;
use crate::clients::World;
use crate::net::{Ask, LinkId};
use crate::trace;

const DIALECT: Dialect = Dialect::Native;

/// How an agency goes about it.
#[derive(Clone, Debug, Hash)]
pub struct Manner {
    /// Bets of each batch.
    pub goods: Vec<usize>,
    /// Before which of them a bad batch is sent, ascending.
    pub bads: Vec<usize>,
    pub window: usize,
    /// How many connections it has at once.
    pub twins: usize,
    /// Sends on before it is welcomed, and its finish before everything is acknowledged.
    pub eager: bool,
    /// Bets after the finish.
    pub late: bool,
    /// When it begins, in milliseconds.
    pub begins: u64,
}

/// The agency.
#[derive(Debug)]
pub struct Native {
    agency: u32,
    manner: Manner,
    goods: Vec<usize>,
    /// Bad batches that were not rejected yet, by the place in `goods` before which they come.
    bads: Vec<(usize, usize)>,
    /// What some connection has heard of as stored.
    acknowledged: u64,
    sessions: Vec<Session>,
    done: bool,
    wake: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Betting,
    Finishing,
    Asking,
}

/// One of its connections.
#[derive(Debug)]
struct Session {
    link: LinkId,
    stage: Stage,
    /// The number of the first of `items`.
    base: u64,
    /// What is not acknowledged on this connection.
    items: VecDeque<usize>,
    /// How many of them were sent.
    sent: usize,
    finish_sent: bool,
    query_sent: bool,
    late_sent: bool,
    /// A number that was sent with other bets on purpose.
    conflict: Option<u64>,
    wake: u64,
}

impl Native {
    pub fn new(agency: u32, manner: Manner, world: &mut World<'_>) -> Native {
        let model = &mut *world.model;
        let mut goods = Vec::new();
        for (sequence, count) in manner.goods.iter().enumerate() {
            let batch = model.batches.make(world.rng, Some(agency), Kind::Good, *count);
            model.batches.all[batch].sequence = Some(sequence as u64);
            goods.push(batch);
        }
        let mut bads = Vec::new();
        for place in &manner.bads {
            // One of no bets is bad as well: nothing is stored under its number, so no acknowledgement can cover it.
            let count = if place % 3 == 2 { 0 } else { 2 };
            bads.push((*place, model.batches.make(world.rng, Some(agency), Kind::Bad, count)));
        }
        model.agencies.get_mut(&agency).expect("an agency of the roster").whole = Some(goods.len() as u64);
        let wake = manner.begins;
        Native { agency, manner, goods, bads, acknowledged: 0, sessions: Vec::new(), done: false, wake }
    }

    pub fn is_done(&self) -> bool {
        self.done && self.sessions.is_empty()
    }

    /// When it wants to act, whatever happens.
    pub fn wake(&self, now: u64) -> Option<u64> {
        let wakes = self.sessions.iter().map(|session| session.wake.max(self.wake)).chain([self.wake]);
        if self.done { None } else { wakes.filter(|at| *at > now).min() }
    }

    /// It goes on, wherever it is.
    pub fn hurry(&mut self, now: u64) {
        self.wake = self.wake.min(now);
    }

    /// Where it stands, in words.
    pub fn describe(&self) -> String {
        format!(
            "agency {} in native: {} of {} batches, {:?}",
            self.agency,
            self.acknowledged,
            self.goods.len(),
            self.sessions
        )
    }

    /// Takes its turn; says whether anything came of it.
    pub fn act(&mut self, world: &mut World<'_>) -> bool {
        let mut acted = false;
        let mut index = 0;
        while index < self.sessions.len() {
            let link = self.sessions[index].link;
            let mut keeps = true;
            while let (true, Some(answer)) = (keeps, world.answer(link)) {
                keeps = self.receive(world, index, &answer);
                acted = true;
            }
            let lost = !keeps || world.net.links[link].over || world.mishap(link, true);
            if self.done || lost {
                world.close(link);
                self.sessions.swap_remove(index);
                self.wake = self.wake.max(world.soon(100));
                acted = true;
                continue;
            }
            index += 1;
        }
        if self.done || world.now < self.wake {
            return acted;
        }
        if world.happens(world.habits.absences) {
            self.wake = world.now + world.rng.range(1000, 1_000_000) as u64;
            return acted;
        }
        let more = if self.sessions.is_empty() {
            true
        } else {
            self.sessions.len() < self.manner.twins && world.rng.once_in(4)
        };
        if more {
            acted |= self.connect(world);
        }
        for index in 0..self.sessions.len() {
            if world.now >= self.sessions[index].wake {
                acted |= self.speak(world, index);
            }
        }
        acted
    }

    fn connect(&mut self, world: &mut World<'_>) -> bool {
        let Some(link) = world.connect(DIALECT, Some(self.agency)) else {
            self.wake = world.soon(500);
            return false;
        };
        let end = &mut world.net.links[link];
        DIALECT.put_hello(AgencyId(self.agency), &mut end.up);
        end.asked(Ask::Hello);
        let mut session = Session {
            link,
            stage: Stage::Greeting,
            base: self.acknowledged,
            items: VecDeque::new(),
            sent: 0,
            finish_sent: false,
            query_sent: false,
            late_sent: false,
            conflict: None,
            wake: world.now,
        };
        if self.manner.eager {
            session.items = self.items_from(self.acknowledged);
        }
        self.sessions.push(session);
        true
    }

    /// Everything from batch `next` on, bad ones between the good.
    fn items_from(&self, next: u64) -> VecDeque<usize> {
        let mut items = VecDeque::new();
        for place in next as usize..=self.goods.len() {
            items.extend(self.bads.iter().filter(|(before, _)| *before == place).map(|(_, batch)| *batch));
            items.extend(self.goods.get(place));
        }
        items
    }

    /// Takes in an answer; false where the connection is of no more use.
    fn receive(&mut self, world: &mut World<'_>, index: usize, answer: &Answer) -> bool {
        let excluded = world.model.is_excluded(Some(self.agency));
        let session = &mut self.sessions[index];
        match answer {
            Answer::Welcome { next } => {
                self.acknowledged = self.acknowledged.max(*next);
                let sent_to = session.base + session.sent as u64;
                // A bad batch that was sent early holds the number of a good one that is stored.
                let passed = session.items.iter().take(next.saturating_sub(session.base) as usize);
                let bad = passed.into_iter().any(|item| world.model.batches.all[*item].kind == Kind::Bad);
                if session.items.is_empty() || session.base > *next || sent_to < *next || bad {
                    (session.base, session.sent) = (*next, 0);
                    self.sessions[index].items = self.items_from(*next);
                } else {
                    session.advance(*next);
                }
                self.sessions[index].stage = Stage::Betting;
            }
            Answer::StoredBelow { next } => {
                self.acknowledged = self.acknowledged.max(*next);
                if *next > session.base + session.sent as u64 {
                    // Another connection is ahead: what these numbers are to hold is not known any more.
                    return false;
                }
                session.advance(*next);
            }
            Answer::Rejected { sequence, cause, .. } => {
                let sequence = sequence.expect("native says which");
                return self.rejected(world, index, sequence, *cause, excluded);
            }
            Answer::Finished { .. } => session.stage = Stage::Asking,
            Answer::Winners { .. } => self.done = true,
            // The winners follow.
            Answer::Waiting { .. } => {}
            Answer::Error { .. } | Answer::Unwelcome(_) => {
                self.done |= excluded;
                self.wake = world.soon(300);
                return false;
            }
            Answer::Stored | Answer::NotDrawn => panic!("no answer of native: {answer:?}"),
        }
        true
    }

    fn rejected(&mut self, world: &mut World<'_>, index: usize, sequence: u64, cause: Cause, excluded: bool) -> bool {
        let session = &mut self.sessions[index];
        let place =
            sequence.checked_sub(session.base).map(|place| place as usize).filter(|place| *place < session.sent);
        // Everything behind it is discarded: it is to be sent again.
        (session.finish_sent, session.query_sent) = (false, false);
        match (cause, place) {
            (Cause::Permanent, Some(place)) => {
                let Some(item) = session.items.remove(place) else { return false };
                session.sent = place;
                self.bads.retain(|(_, batch)| *batch != item);
                world.model.batches.all[item].kind == Kind::Bad
            }
            (Cause::StorageFull, Some(place)) => {
                session.sent = place;
                session.wake = world.soon(400);
                true
            }
            (Cause::Late, _) if excluded => {
                session.items.clear();
                session.sent = 0;
                session.stage = Stage::Asking;
                true
            }
            (Cause::Late, _) => {
                // Everything is stored: another connection has finished. What is left is bad, or late on purpose.
                session.items.clear();
                session.sent = 0;
                true
            }
            (Cause::Conflict, _) if session.conflict == Some(sequence) => {
                // The number must come again before anything counts.
                session.conflict = None;
                session.sent = 0;
                self.send(world, index, self.goods[sequence as usize], sequence);
                true
            }
            _ => false,
        }
    }

    /// Sends what comes next on one connection.
    fn speak(&mut self, world: &mut World<'_>, index: usize) -> bool {
        let eager = self.manner.eager;
        let session = &mut self.sessions[index];
        let link = &mut world.net.links[session.link];
        if link.spoiled {
            link.over = true;
            return true;
        }
        if !link.is_usable() {
            return false;
        }
        if session.stage == Stage::Greeting && !eager {
            return false;
        }
        if session.conflict.is_some() {
            return false;
        }
        if world.happens(world.habits.mischief) && session.stage == Stage::Betting {
            return self.mischief(world, index);
        }
        if session.sent < session.items.len() && session.sent < self.manner.window {
            let (item, sequence) = (session.items[session.sent], session.base + session.sent as u64);
            session.sent += 1;
            self.send(world, index, item, sequence);
            return true;
        }
        let all_sent = session.sent == session.items.len();
        let overtakes = eager && all_sent && session.stage != Stage::Greeting;
        if session.items.is_empty() && session.stage == Stage::Betting {
            session.stage = Stage::Finishing;
        }
        self.finish(world, index, overtakes)
    }

    fn finish(&mut self, world: &mut World<'_>, index: usize, overtakes: bool) -> bool {
        let session = &mut self.sessions[index];
        let link = &mut world.net.links[session.link];
        if !session.finish_sent && (session.stage == Stage::Finishing || overtakes) {
            DIALECT.put_finish(AgencyId(self.agency), &mut link.up);
            link.asked(Ask::Finish);
            link.overtaking = true;
            let end = link.up.len();
            session.finish_sent = true;
            let agency = world.model.agencies.get_mut(&self.agency).expect("an agency of the roster");
            agency.finishes.push((session.link, end));
            trace::event("client finishes", &[("link", session.link as u64)]);
            return true;
        }
        if session.stage == Stage::Asking && self.manner.late && !session.late_sent {
            session.late_sent = true;
            let batch = world.model.batches.make(world.rng, Some(self.agency), Kind::Late, 1);
            let next = self.goods.len() as u64;
            self.send(world, index, batch, next);
            return true;
        }
        if !session.query_sent && (session.stage == Stage::Asking || (overtakes && world.rng.once_in(2))) {
            DIALECT.put_query(AgencyId(self.agency), &mut link.up);
            link.asked(Ask::Query);
            if session.link.is_multiple_of(2) {
                DIALECT.put_watch(&mut link.up);
            }
            session.query_sent = true;
            let link = session.link;
            if world.happens(world.habits.half_closes) {
                world.half_close(link);
            }
            return true;
        }
        false
    }

    fn send(&mut self, world: &mut World<'_>, index: usize, batch: usize, sequence: u64) {
        let link = self.sessions[index].link;
        let end = &mut world.net.links[link];
        world.model.batches.put(batch, DIALECT, self.agency, sequence, link, &mut end.up);
        end.asked(Ask::Batch { batch, sequence });
        trace::event("client sends", &[("link", link as u64), ("batch", batch as u64), ("number", sequence)]);
    }

    /// The hub cannot make sense of this stream any more; the client goes if the hub does not close it.
    fn spoil(&mut self, world: &mut World<'_>, index: usize) {
        let session = &mut self.sessions[index];
        session.wake = world.soon(3000);
        world.net.links[session.link].spoiled = true;
    }

    /// What a client should not do.
    fn mischief(&mut self, world: &mut World<'_>, index: usize) -> bool {
        let stored = self.acknowledged.min(self.sessions[index].base) as usize;
        let end = self.goods.len() as u64;
        match world.rng.below(4) {
            0 if stored > 0 => {
                let sequence = world.rng.below(stored);
                self.send(world, index, self.goods[sequence], sequence as u64);
            }
            1 if stored > 0 => {
                let sequence = world.rng.below(stored) as u64;
                let batch = world.model.batches.make(world.rng, Some(self.agency), Kind::Conflict, 1);
                self.send(world, index, batch, sequence);
                self.sessions[index].conflict = Some(sequence);
            }
            2 => {
                let batch = world.model.batches.make(world.rng, Some(self.agency), Kind::Conflict, 1);
                let gap = self.goods.len() as u64 + world.rng.range(1, 3) as u64;
                self.send(world, index, batch, gap);
                self.spoil(world, index);
            }
            3 => {
                let link = self.sessions[index].link;
                let before = world.net.links[link].up.len();
                let batch = world.model.batches.make(world.rng, Some(self.agency), Kind::Conflict, 1);
                self.send(world, index, batch, end);
                let end = &mut world.net.links[link];
                let at = before + 4 + world.rng.below(end.up.len() - before - 4);
                end.up[at] ^= 1 << world.rng.below(8);
                self.spoil(world, index);
            }
            _ => return false,
        }
        true
    }
}

impl Session {
    /// Everything below `next` is stored.
    fn advance(&mut self, next: u64) {
        while self.base < next {
            self.base += 1;
            self.items.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }
}
