//! An agency whose client is the project's own: what it decides is `agency::upload`, and here is only what carries
//! its bytes. It can be stopped and started again at any time, as a person would.

use std::time::Duration;

use loteria::agency::BetList;
use loteria::agency::upload::{Goal, Next, Outcome, Plan, Upload};
use loteria::lottery::{AgencyId, BetError, BetSource};
use loteria::wire::{Context, Dialect, Framing, Request};

use crate::bets::Kind;
use crate::clients::World;
use crate::lockstep::{self, Lockstep};
use crate::net::{Ask, ClientEnd, LinkId};
use crate::trace;

/// How an agency goes about it.
#[derive(Clone, Debug, Hash)]
pub struct Manner {
    pub batches: usize,
    /// Bets of each batch but the last, which has one.
    pub bets_max: usize,
    /// When it begins, in milliseconds.
    pub begins: u64,
}

/// The agency.
#[derive(Debug)]
pub struct Real {
    plan: Plan,
    batches: Vec<usize>,
    bets: BetList,
    upload: Upload<BetList>,
    link: Option<LinkId>,
    connected_at: u64,
    /// Bytes of the link's stream that the client has been given.
    heard: usize,
    /// Bytes of its own stream that are known as requests.
    noted: usize,
    /// What it waits for: a pause before it connects, or before it asks again.
    pausing: bool,
    wake: u64,
    done: bool,
    /// Who goes on for it where its dialect left it without an answer that it can act on.
    successor: Option<Lockstep>,
}

impl Real {
    /// A client that uploads all that its agency has, and asks for its winners.
    pub fn new(agency: u32, dialect: Dialect, manner: &Manner, world: &mut World<'_>) -> Real {
        Real::with_goal(Goal::Winners, agency, dialect, manner, world)
    }

    /// One of several clients of an agency: done when its own bets are confirmed.
    pub fn at_a_counter(agency: u32, manner: &Manner, world: &mut World<'_>) -> Real {
        Real::with_goal(Goal::Confirmed, agency, Dialect::Native, manner, world)
    }

    fn with_goal(goal: Goal, agency: u32, dialect: Dialect, manner: &Manner, world: &mut World<'_>) -> Real {
        let whole = dialect == Dialect::Native && goal == Goal::Winners;
        let (mut bets, mut batches) = (Vec::new(), Vec::new());
        for number in 0..manner.batches {
            let count = if number + 1 == manner.batches { 1 } else { manner.bets_max };
            let batch = world.model.batches.make(world.rng, Some(agency), Kind::Good, count);
            let made = &mut world.model.batches.all[batch];
            made.sequence = whole.then_some(number as u64);
            bets.extend(made.bets.iter().cloned());
            batches.push(batch);
        }
        let plan = Plan { agency: AgencyId(agency), dialect, bets_max: manner.bets_max as u32, goal, empty: true };
        if whole {
            let agency = world.model.agencies.get_mut(&agency).expect("an agency of the roster");
            agency.whole = Some(manner.batches as u64);
        }
        Real {
            plan,
            batches,
            bets: BetList::new(bets.clone()),
            upload: Upload::new(plan, BetList::new(bets)),
            link: None,
            connected_at: 0,
            heard: 0,
            noted: 0,
            pausing: false,
            wake: manner.begins,
            done: false,
            successor: None,
        }
    }

    pub fn is_done(&self) -> bool {
        match &self.successor {
            Some(successor) => successor.is_done(),
            None => self.done && self.link.is_none(),
        }
    }

    /// When it wants to act, whatever happens.
    pub fn wake(&self) -> Option<u64> {
        match &self.successor {
            Some(successor) => successor.wake(),
            None => (!self.done).then_some(self.wake),
        }
    }

    /// It goes on, wherever it is.
    pub fn hurry(&mut self, now: u64) {
        self.wake = self.wake.min(now);
        self.successor.iter_mut().for_each(|successor| successor.hurry(now));
    }

    /// Where it stands, in words.
    pub fn describe(&self) -> String {
        match &self.successor {
            Some(successor) => successor.describe(),
            None => format!(
                "agency {} by the client in {}: {:?}, {:?}, link {:?}",
                self.plan.agency,
                self.plan.dialect.name(),
                self.upload.stage(),
                self.upload.next(),
                self.link
            ),
        }
    }

    /// Takes its turn; says whether anything came of it.
    pub fn act(&mut self, world: &mut World<'_>) -> bool {
        if let Some(successor) = &mut self.successor {
            return successor.act(world);
        }
        let carried = self.carry(world);
        if self.upload.outcome().is_some() {
            return self.over(world) || carried;
        }
        if self.link.is_some_and(|link| world.mishap(link, true)) {
            return self.lose(world);
        }
        if world.happens(world.habits.restarts) {
            self.restart(world);
            return true;
        }
        self.proceed(world) || carried
    }

    /// Carries bytes, both ways.
    fn carry(&mut self, world: &mut World<'_>) -> bool {
        let Some(id) = self.link else { return false };
        let link = &mut world.net.links[id];
        let mut moved = false;
        if link.client == ClientEnd::Open && self.heard < link.down_arrived {
            let bytes = &link.down[self.heard..link.down_arrived];
            self.heard = link.down_arrived;
            if let Err(useless) = self.upload.received(bytes) {
                trace::note(|| format!("    client: {useless}"));
                world.close(id);
                return self.lose(world);
            }
            moved = true;
        }
        let link = &mut world.net.links[id];
        if link.over {
            return self.lose(world);
        }
        let outgoing = self.upload.outgoing();
        if link.is_usable() && !outgoing.is_empty() {
            let bytes = world.rng.range(1, outgoing.len());
            link.up.extend_from_slice(&outgoing[..bytes]);
            self.upload.sent(bytes);
            self.note_requests(world, id);
            moved = true;
        }
        moved
    }

    /// The connection is gone, whoever ended it.
    fn lose(&mut self, world: &World<'_>) -> bool {
        trace::event("client has lost", &[("link", self.link.take().unwrap_or_default() as u64)]);
        self.upload.lost(Duration::from_millis(world.now - self.connected_at));
        self.pausing = false;
        true
    }

    /// Does what the client says is next.
    fn proceed(&mut self, world: &mut World<'_>) -> bool {
        match self.upload.next() {
            Next::Connect { pause } => self.pause(world, pause) && self.connect(world),
            Next::Pause(pause) if self.pause(world, pause) => {
                self.upload.pause_over();
                true
            }
            Next::Work => {
                self.upload.work();
                true
            }
            Next::Pause(_) | Next::Talk | Next::Over => false,
        }
    }

    /// Whether a pause of this length, which begins now unless it has begun, is over.
    fn pause(&mut self, world: &World<'_>, pause: Duration) -> bool {
        if !self.pausing {
            self.pausing = true;
            self.wake = self.wake.max(world.now + pause.as_millis() as u64);
        }
        let over = world.now >= self.wake;
        self.pausing = !over;
        over
    }

    fn connect(&mut self, world: &mut World<'_>) -> bool {
        let Some(link) = world.connect(self.plan.dialect, Some(self.plan.agency.0)) else {
            self.upload.lost(Duration::ZERO);
            return false;
        };
        (self.link, self.connected_at, self.heard, self.noted) = (Some(link), world.now, 0, 0);
        self.upload.connected();
        true
    }

    /// The client ended.
    fn over(&mut self, world: &mut World<'_>) -> bool {
        if let Some(link) = self.link.take() {
            world.close(link);
        }
        let id = self.plan.agency.0;
        match self.upload.outcome() {
            Some(Outcome::Done { winners, doubt }) => {
                let agency = &world.model.agencies[&id];
                if self.plan.goal == Goal::Winners {
                    assert_eq!(winners, &agency.winners, "winners of agency {id}, as its client has them");
                }
                let unstored = self.batches.iter().find(|batch| world.model.batches.all[**batch].copies == 0);
                assert!(unstored.is_none(), "the client of agency {id} is done without batch {unstored:?}");
                let sure = self.plan.dialect != Dialect::Native || doubt.is_none();
                assert!(sure, "the client of agency {id} is in doubt: {doubt:?}");
                self.done = true;
            }
            Some(Outcome::Failed(_)) if world.model.is_excluded(Some(id)) => self.done = true,
            Some(Outcome::Failed(failure)) => {
                trace::note(|| format!("    client: {failure:?}"));
                assert!(self.plan.dialect != Dialect::Native, "the client of agency {id} gives up: {failure:?}");
                // The dialect does not say why a batch was rejected. Somebody ends what was begun.
                let manner = lockstep::Manner {
                    items: Vec::new(),
                    window: 1,
                    per_message: false,
                    late: false,
                    begins: world.now,
                };
                self.successor = Some(Lockstep::new(Some(id), self.plan.dialect, manner));
            }
            None => return false,
        }
        true
    }

    /// The client is killed and started again: it knows nothing, and what it sent may still be under way.
    fn restart(&mut self, world: &mut World<'_>) {
        if self.plan.dialect != Dialect::Native || self.plan.goal == Goal::Confirmed {
            // Somebody who starts one of these again may store its bets again.
            return;
        }
        trace::event("client restarts", &[("agency", u64::from(self.plan.agency.0))]);
        if let Some(link) = self.link.take() {
            world.close(link);
        }
        self.upload = Upload::new(self.plan, self.bets.clone());
        self.pausing = false;
    }

    /// Finds out what the client's bytes ask for, as the hub will.
    fn note_requests(&mut self, world: &mut World<'_>, id: LinkId) {
        let (dialect, agency) = (self.plan.dialect, self.plan.agency.0);
        loop {
            let up = &world.net.links[id].up;
            let context = Context { frame_bytes_max: usize::MAX, opening: self.noted == 0, scanned: 0 };
            let Framing::Complete { bytes } = dialect.frame(&up[self.noted..], &context) else { return };
            let frame = &up[self.noted..self.noted + bytes];
            let request = dialect.decode(frame, &context).expect("the client writes what the hub can read");
            self.noted += bytes;
            let end = self.noted;
            let (ask, finishes) = match request {
                Request::Hello(_) => (Ask::Hello, false),
                Request::Finish(_) => (Ask::Finish, true),
                Request::Query(_) => (Ask::Query, false),
                Request::FinishAndQuery(_) => (Ask::Query, true),
                Request::Batch(batch) => {
                    let mut bets: Vec<Result<loteria::lottery::Bet, BetError>> = Vec::new();
                    batch.bets.feed(&mut bets).expect("bets that can be read");
                    let first = bets[0].as_ref().expect("a valid bet").document();
                    let number = world.model.batches.with_document(first).expect("a batch that was made");
                    let known = &mut world.model.batches.all[number];
                    known.copies_max += u32::from(dialect != Dialect::Native && !known.sent.is_empty());
                    known.sent.push((id, end));
                    (Ask::Batch { batch: number, sequence: batch.sequence.unwrap_or_default() }, false)
                }
                // Nothing answers it: the query before it is to be answered.
                Request::Watch => continue,
                Request::EmptyBatch | Request::BadBatch { .. } | Request::Refused(_) | Request::Echo => {
                    panic!("the client asks for {request:?}")
                }
            };
            trace::note(|| format!("    client: {ask:?}"));
            world.net.links[id].asked_by(ask, end);
            if finishes {
                let agency = world.model.agencies.get_mut(&agency).expect("an agency of the roster");
                agency.finishes.push((id, end));
            }
        }
    }
}
