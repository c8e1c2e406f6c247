//! An agency in one of the five dialects: its requests are answered one after another, or not at all, and what
//! was on its way when a connection broke is sent again, at the risk that it is stored twice.

use std::collections::VecDeque;

use loteria::wire::{Answer, Dialect};

use crate::bets::Kind;
use crate::clients::World;
use crate::net::{Ask, LinkId};
use crate::trace;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A batch of so many bets.
    Good(usize),
    /// One of its bets is none.
    Bad(usize),
    /// No bets.
    Empty,
}

/// How an agency goes about it.
#[derive(Clone, Debug, Hash)]
pub struct Manner {
    pub items: Vec<Item>,
    /// How many requests may be unanswered.
    pub window: usize,
    /// A connection for each message.
    pub per_message: bool,
    /// Bets after the finish.
    pub late: bool,
    /// When it begins, in milliseconds.
    pub begins: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Betting,
    Finishing,
    Asking,
    Done,
}

/// The agency.
#[derive(Debug)]
pub struct Lockstep {
    /// `None` while the hub has not shown which agency the connection was given.
    agency: Option<u32>,
    dialect: Dialect,
    manner: Manner,
    todo: VecDeque<Item>,
    flying: VecDeque<(Item, usize)>,
    /// Batches that nothing has confirmed, in the dialect that answers none.
    unconfirmed: Vec<Item>,
    /// Every batch it made.
    made: Vec<usize>,
    link: Option<LinkId>,
    stage: Stage,
    /// The finish or the query of this stage is on its way.
    asked: bool,
    late_sent: bool,
    wake: u64,
}

impl Lockstep {
    pub fn new(agency: Option<u32>, dialect: Dialect, manner: Manner) -> Lockstep {
        Lockstep {
            agency,
            dialect,
            todo: manner.items.iter().copied().collect(),
            flying: VecDeque::new(),
            unconfirmed: Vec::new(),
            made: Vec::new(),
            link: None,
            stage: Stage::Betting,
            asked: false,
            late_sent: false,
            wake: manner.begins,
            manner,
        }
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done && self.link.is_none()
    }

    /// When it wants to act, whatever happens.
    pub fn wake(&self) -> Option<u64> {
        (self.stage != Stage::Done).then_some(self.wake)
    }

    /// It goes on, wherever it is.
    pub fn hurry(&mut self, now: u64) {
        self.wake = self.wake.min(now);
    }

    /// Where it stands, in words.
    pub fn describe(&self) -> String {
        format!(
            "agency {:?} in {}: {:?}, asked: {}, {} to do, {} flying, link {:?}",
            self.agency,
            self.dialect.name(),
            self.stage,
            self.asked,
            self.todo.len(),
            self.flying.len(),
            self.link
        )
    }

    /// Takes its turn; says whether anything came of it.
    pub fn act(&mut self, world: &mut World<'_>) -> bool {
        let heard = self.listen(world);
        if let Some(link) = self.link {
            if self.stage == Stage::Done {
                world.close(link);
                self.link = None;
                return true;
            }
            if self.is_another_now(world, link) {
                world.close(link);
                self.lost(world);
                return true;
            }
            let lost = world.net.links[link].over || world.mishap(link, self.dialect != Dialect::Csv);
            if lost {
                self.lost(world);
                return true;
            }
        }
        if self.stage == Stage::Done || world.now < self.wake {
            return heard;
        }
        if world.happens(world.habits.absences) {
            self.wake = world.now + world.rng.range(1000, 1_000_000) as u64;
            return heard;
        }
        self.speak(world) || heard
    }

    /// Takes in the answers that have arrived.
    fn listen(&mut self, world: &mut World<'_>) -> bool {
        let Some(link) = self.link else { return false };
        let mut heard = false;
        while let Some(answer) = world.answer(link) {
            heard = true;
            self.receive(world, link, &answer);
            if self.manner.per_message && self.link.is_some() && self.flying.is_empty() && !self.asked {
                world.close(link);
                self.link = None;
            }
            if self.link.is_none() {
                break;
            }
        }
        heard
    }

    fn receive(&mut self, world: &mut World<'_>, link: LinkId, answer: &Answer) {
        let told_off = match answer {
            Answer::Stored => {
                self.flying.pop_front();
                false
            }
            Answer::Rejected { .. } => {
                match self.flying.pop_front() {
                    Some((item @ Item::Good(_), _)) => {
                        self.todo.push_front(item);
                        self.wake = world.soon(300);
                    }
                    Some((Item::Bad(_) | Item::Empty, _)) | None => {}
                }
                true
            }
            Answer::Finished { .. } => {
                self.unconfirmed.clear();
                self.go_to(Stage::Asking);
                self.send_late(world, link);
                false
            }
            Answer::Winners { .. } => {
                self.go_to(Stage::Done);
                false
            }
            Answer::NotDrawn => {
                self.asked = false;
                self.wake = world.soon(1500);
                self.send_late(world, link);
                true
            }
            Answer::Error { .. } => {
                self.asked = false;
                self.wake = world.soon(1500);
                true
            }
            Answer::Welcome { .. } | Answer::Unwelcome(_) | Answer::StoredBelow { .. } | Answer::Waiting { .. } => {
                panic!("no answer of {}: {answer:?}", self.dialect.name())
            }
        };
        if told_off && world.model.is_excluded(self.agency) {
            self.go_to(Stage::Done);
        }
    }

    fn go_to(&mut self, stage: Stage) {
        self.stage = stage;
        self.asked = false;
    }

    /// The connection is gone.
    fn lost(&mut self, world: &mut World<'_>) {
        trace::event("client has lost", &[("link", self.link.unwrap_or_default() as u64)]);
        self.link = None;
        self.asked = false;
        let good = |item: &Item| matches!(item, Item::Good(_));
        let again = self.flying.drain(..).map(|(item, _)| item);
        let again: Vec<Item> = self.unconfirmed.drain(..).chain(again).filter(good).collect();
        again.into_iter().rev().for_each(|item| self.todo.push_front(item));
        if self.dialect == Dialect::CaseId {
            // It cannot tell which of its batches are stored, nor receive a refusal of its query but by the end.
            let refused = self.stage == Stage::Asking && world.model.is_excluded(self.agency);
            // A finish without bets is of the connection that it came on: it has to come again.
            self.go_to(if refused { Stage::Done } else { Stage::Betting });
        }
        self.wake = self.wake.max(world.soon(200));
    }

    /// Sends what comes next.
    fn speak(&mut self, world: &mut World<'_>) -> bool {
        self.move_on();
        let sends = match self.stage {
            Stage::Betting => !self.todo.is_empty() && self.flying.len() < self.manner.window,
            Stage::Finishing | Stage::Asking => !self.asked,
            Stage::Done => false,
        };
        if !sends {
            return false;
        }
        if self.link.is_some_and(|link| !world.net.links[link].is_usable()) {
            world.close(self.link.take().expect("it is there"));
        }
        let Some(link) = self.link.or_else(|| self.connect(world)) else {
            self.wake = world.soon(500);
            return false;
        };
        self.link = Some(link);
        if self.stage == Stage::Betting && self.todo.is_empty() {
            return true;
        }
        let agency = self.agency.unwrap_or_default();
        match self.stage {
            Stage::Betting => self.send_item(world, link),
            Stage::Finishing => {
                let end = &mut world.net.links[link];
                self.dialect.put_finish(loteria::lottery::AgencyId(agency), &mut end.up);
                end.asked(Ask::Finish);
                self.note_finish(world, link);
                self.asked = true;
            }
            Stage::Asking => {
                let end = &mut world.net.links[link];
                self.dialect.put_query(loteria::lottery::AgencyId(agency), &mut end.up);
                end.asked(Ask::Query);
                if !self.dialect.client_rules().finish || self.dialect == Dialect::CaseId {
                    self.note_finish(world, link);
                }
                self.asked = true;
                if world.happens(world.habits.half_closes) {
                    world.half_close(link);
                }
            }
            Stage::Done => {}
        }
        true
    }

    fn move_on(&mut self) {
        if self.stage == Stage::Betting && self.todo.is_empty() && self.flying.is_empty() {
            let finishes = self.dialect.client_rules().finish;
            self.go_to(if finishes { Stage::Finishing } else { Stage::Asking });
        }
    }

    /// A stored batch of it that did not come by `link`.
    fn stored_elsewhere(&self, world: &World<'_>, link: Option<LinkId>) -> Option<usize> {
        let came_by = |batch: &usize| world.model.batches.all[*batch].sent.iter().any(|(by, _)| Some(*by) == link);
        let stored = |batch: &usize| world.model.batches.all[*batch].copies > 0;
        self.made.iter().copied().find(|batch| stored(batch) && !came_by(batch))
    }

    /// Whether the hub has stored bets of an earlier connection since this one was made, so that it is another agency's.
    fn is_another_now(&self, world: &World<'_>, link: LinkId) -> bool {
        self.dialect == Dialect::Csv && self.stored_elsewhere(world, Some(link)).is_some()
    }

    fn connect(&mut self, world: &mut World<'_>) -> Option<LinkId> {
        if self.dialect == Dialect::Csv && world.listening {
            // The connection was all that the hub knew it by. If the hub has bets of it, a client that can name the agency
            // takes over.
            let known = self.stored_elsewhere(world, None);
            if let Some(agency) = known.and_then(|batch| world.model.batches.all[batch].agency) {
                self.agency = Some(agency);
                self.dialect = Dialect::Binary;
                self.stage = Stage::Betting;
            }
        }
        world.connect(self.dialect, self.agency)
    }

    fn send_item(&mut self, world: &mut World<'_>, link: LinkId) {
        let item = self.todo.pop_front().expect("there is something to do");
        match item {
            Item::Good(count) => self.send_batch(world, link, item, Kind::Good, count),
            Item::Bad(count) => self.send_batch(world, link, item, Kind::Bad, count),
            Item::Empty => {
                let end = &mut world.net.links[link];
                let hasty = self.dialect == Dialect::Csv && self.manner.window > 1;
                if (self.dialect == Dialect::Text || hasty) && end.up.is_empty() {
                    // Alone on a connection it could be the start of something else: an echo's line, or bets of
                    // `case-id` if anything follows at once.
                    return;
                }
                let agency = loteria::lottery::AgencyId(self.agency.unwrap_or_default());
                self.dialect.put_batch(agency, 0, 0, &[], &mut end.up);
                end.asked(Ask::Empty);
                if self.dialect != Dialect::CaseId {
                    self.flying.push_back((item, usize::MAX));
                }
            }
        }
    }

    fn send_batch(&mut self, world: &mut World<'_>, link: LinkId, item: Item, kind: Kind, count: usize) {
        let batch = world.model.batches.make(world.rng, self.agency, kind, count);
        let end = &mut world.net.links[link];
        world.model.batches.put(batch, self.dialect, self.agency.unwrap_or_default(), 0, link, &mut end.up);
        end.asked(Ask::Batch { batch, sequence: 0 });
        trace::event("client sends a batch", &[("link", link as u64), ("batch", batch as u64)]);
        self.made.push(batch);
        if self.dialect == Dialect::CaseId {
            self.unconfirmed.push(item);
        } else {
            self.flying.push_back((item, batch));
        }
    }

    /// Bets behind the finish: they must come to nothing.
    fn send_late(&mut self, world: &mut World<'_>, link: LinkId) {
        let known = self.dialect == Dialect::Binary || self.dialect == Dialect::CaseId;
        let answered = self.agency.is_some_and(|agency| world.model.agencies[&agency].finish_answered);
        if !self.manner.late || self.late_sent || !known || !answered || !world.net.links[link].is_usable() {
            return;
        }
        self.late_sent = true;
        self.send_batch(world, link, Item::Bad(1), Kind::Late, 2);
        self.unconfirmed.clear();
    }

    /// From here on the hub may take the agency for finished.
    fn note_finish(&self, world: &mut World<'_>, link: LinkId) {
        let end = world.net.links[link].up.len();
        let ids = self.agency.map_or_else(|| world.model.pool.clone(), |agency| vec![agency]);
        for id in ids {
            world.model.agencies.get_mut(&id).expect("an agency of the roster").finishes.push((link, end));
        }
    }
}
