//! One run: a hub, its disk, its clock, its network and its clients, from one seed. First faults, then none, and
//! then every agency must have its winners.

mod disasters;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::Hub;
use loteria::limits;
use loteria::lottery::{Lottery, Roster, Standing};
use loteria::mutants::{self, Mutant};
use loteria::storage::{CommitError, OpenError, Options, Store};
use loteria::timers::{Moment, RunningTime};

use crate::bets::WINNING_NUMBER;
use crate::clients::{Habits, World};
use crate::counters::Counters;
use crate::late::{Late, Lateness};
use crate::lockstep::Lockstep;
use crate::model::Model;
use crate::native::Native;
use crate::net::{ClientEnd, HubEnd, Net};
use crate::plan::{Chunks, Disasters, Plan};
use crate::reactor::{Polled, Reactor};
use crate::real::Real;
use crate::rng::Rng;
use crate::storage_kit::disk::SimDisk;
use crate::trace;

/// Steps that a run may take to come to its end once the faults have stopped. Most need a few hundred.
const HEALED_STEPS_MAX: usize = 60_000;

/// How long the hub's machine takes to notice that a client is gone without a word, in milliseconds.
const KEEP_ALIVE_MS: u64 = 120_000;

/// Clients that are well pause for less than this.
const CLIENT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A defect to run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    None,
    Mutant(Mutant),
    /// The loop takes a pause of its own for its peers' silence.
    CountPauses,
    /// The loop judges time as of a poll's end, not of its start.
    JudgeAfterPoll,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a run has a handful of them")]
enum Agency {
    Lockstep(Lockstep),
    Native(Native),
    Real(Real),
    Counters(Counters),
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Folds everything that happened.
    pub hash: u64,
    pub steps: usize,
    pub starts: usize,
    pub drawn: bool,
}

struct Run {
    plan: Plan,
    rng: Rng,
    disk: SimDisk,
    net: Net,
    model: Model,
    agencies: Vec<Agency>,
    /// Until when each agency's client is stopped, in milliseconds.
    stopped_until: Vec<u64>,
    reactor: Option<Reactor>,
    /// How late the hub's keeper is.
    lateness: Rc<Cell<Lateness>>,
    now: u64,
    /// When the hub is started again.
    restart_at: u64,
    habits: Habits,
    disasters: Disasters,
    defect: Defect,
    starts: usize,
    pool: Vec<u32>,
    /// The disk's space is limited.
    tight: bool,
    /// The hub's clock.
    time: RunningTime,
    /// The hub is stopped.
    pause: Option<Pause>,
    /// For how long it was, in all, beyond what its polls were asked to wait.
    stood_still: Duration,
}

/// The hub is stopped in a poll.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// When the poll began, by the hub's clock and in milliseconds.
    before: Moment,
    began: u64,
    /// How long the poll was to wait.
    asked: Duration,
    /// When the hub goes on, in milliseconds.
    until: u64,
}

/// Runs `seed`; panics where a promise is broken.
pub fn run(seed: u64, defect: Defect, told: bool) -> Summary {
    #[cfg(debug_assertions)]
    let _introduced = mutants::introduce(if let Defect::Mutant(mutant) = defect { Some(mutant) } else { None });
    trace::start(told);
    let mut rng = Rng::new(seed);
    let plan = Plan::new(&mut rng);
    trace::note(|| format!("{plan:#?}"));
    let mut run = Run::new(plan, rng, defect, told);
    let mut steps = run.plan.steps;
    for _ in 0..steps {
        run.step();
    }
    run.heal();
    let healed_at = run.now;
    let mut timeouts = trace::logged().timeouts;
    while !run.is_over() {
        run.step();
        steps += 1;
        assert!(steps < HEALED_STEPS_MAX, "it comes to no end:\n{}", run.describe());
        // Who waits in vain would be saved by a time-out, which must not hide it. Those that are due now began
        // in worse times.
        if run.now < healed_at + 10_000 {
            timeouts = trace::logged().timeouts;
        }
        let patient = run.plan.policy.idle_timeout > CLIENT_PAUSE_MAX;
        assert!(
            !patient || trace::logged().timeouts == timeouts,
            "a healthy client waits in vain:\n{}",
            run.describe()
        );
    }
    run.stop();
    run.look_back();
    let (starts, drawn) = (run.starts, run.model.drawn);
    Summary { hash: trace::end(), steps, starts, drawn }
}

impl Run {
    fn new(plan: Plan, mut rng: Rng, defect: Defect, told: bool) -> Run {
        let disk = SimDisk::new(rng.bits());
        disk.set_faults(plan.disk);
        if told {
            disk.tell();
        }
        let roster = plan.agencies.iter().map(|agency| (agency.id, agency.dialect));
        let model = Model::new(disk.clone(), plan.policy.clone(), roster);
        let mut run = Run {
            rng,
            disk,
            net: Net::default(),
            model,
            stopped_until: vec![0; plan.agencies.len()],
            agencies: Vec::new(),
            reactor: None,
            lateness: Rc::new(Cell::new(plan.lateness)),
            now: 0,
            restart_at: 0,
            habits: plan.habits,
            disasters: plan.disasters,
            defect,
            starts: 0,
            pool: plan.policy.unnumbered_agencies.iter().map(|id| id.0).collect(),
            tight: false,
            time: RunningTime::new(limits::STALL),
            pause: None,
            stood_still: Duration::ZERO,
            plan,
        };
        if run.plan.disk.late_full > 0 {
            run.limit_space(1 << 40);
        }
        for agency in run.plan.agencies.clone() {
            let agency = match (agency.native, agency.real, agency.lockstep) {
                (Some(native), ..) => Agency::Native(Native::new(agency.id, native, &mut run.world())),
                (None, Some(real), _) => Agency::Real(Real::new(agency.id, agency.dialect, &real, &mut run.world())),
                (None, None, Some(lockstep)) => {
                    let id = (!run.pool.contains(&agency.id)).then_some(agency.id);
                    Agency::Lockstep(Lockstep::new(id, agency.dialect, lockstep))
                }
                (None, None, None) => Agency::Counters(Counters::new(agency.id, &agency.counters, &mut run.world())),
            };
            run.agencies.push(agency);
        }
        run
    }

    /// By the hub's clock.
    fn moment(&self) -> Moment {
        self.time.at(Duration::from_millis(self.now))
    }

    /// What the hub's clock should say.
    fn model_time(&self) -> Moment {
        Moment::after_origin(Duration::from_millis(self.now).saturating_sub(self.stood_still))
    }

    fn world(&mut self) -> World<'_> {
        World {
            net: &mut self.net,
            model: &mut self.model,
            rng: &mut self.rng,
            now: self.now,
            listening: self.reactor.is_some(),
            habits: self.habits,
        }
    }

    /// Whether everybody has what they came for.
    fn is_over(&self) -> bool {
        let done = self.agencies.iter().all(|agency| match agency {
            Agency::Lockstep(agency) => agency.is_done(),
            Agency::Native(agency) => agency.is_done(),
            Agency::Real(agency) => agency.is_done(),
            Agency::Counters(agency) => agency.is_done(),
        });
        // With everybody excluded there is no draw to wait for.
        let nobody = self.model.agencies.values().all(|agency| agency.standing == Standing::Excluded);
        self.reactor.is_some() && (done || nobody)
    }

    fn describe(&self) -> String {
        let mut lines: Vec<String> = vec![format!("at {} ms, hub up: {}", self.now, self.reactor.is_some())];
        for agency in &self.agencies {
            lines.push(match agency {
                Agency::Lockstep(agency) => agency.describe(),
                Agency::Native(agency) => agency.describe(),
                Agency::Real(agency) => agency.describe(),
                Agency::Counters(agency) => agency.describe(),
            });
        }
        for (id, agency) in &self.model.agencies {
            lines.push(format!("agency {id}: {:?}, {} batches", agency.standing, agency.batches));
        }
        lines.join("\n")
    }

    /// Clients, network and disasters move a little; then the hub has a turn.
    fn step(&mut self) {
        self.disaster();
        let mut moved = false;
        for _ in 0..self.plan.moves {
            moved |= self.move_something();
        }
        if self.reactor.is_none() && self.now >= self.restart_at {
            self.start();
            moved = true;
        }
        self.settle_openings();
        let due =
            self.reactor.as_ref().and_then(|reactor| reactor.hub.next_deadline()).is_some_and(|at| at <= self.moment());
        let edges = self.net.live.iter().any(|id| {
            let link = &self.net.links[*id];
            link.edge_read || link.edge_write
        });
        self.net.note_arrivals(self.moment());
        let busy = self.reactor.as_ref().is_some_and(Reactor::is_busy) || !self.net.backlog.is_empty();
        let polled = match self.pause.take_if(|pause| pause.until <= self.now) {
            Some(pause) => Some(self.go_on(pause)),
            None if self.pause.is_some() => None,
            None => (due || edges || busy).then(|| Polled { before: self.moment(), interrupted: false }),
        };
        if let Some(polled) = polled {
            self.turn(polled);
            moved = true;
        }
        self.keep_alive();
        self.net.sweep();
        self.now += self.rng.below(self.plan.step_ms + 1) as u64;
        if !moved && !self.anything_moves() && !self.anyone_acts() {
            self.wait();
        }
    }

    /// The hub's machine finds out about clients that are not there any more.
    fn keep_alive(&mut self) {
        for index in 0..self.net.live.len() {
            let link = &mut self.net.links[self.net.live[index]];
            if link.client != ClientEnd::Open && !link.reset {
                let gone_at = *link.gone_at.get_or_insert(self.now);
                if self.now > gone_at + KEEP_ALIVE_MS {
                    link.break_off();
                }
            }
        }
    }

    fn anything_moves(&self) -> bool {
        self.net.live.iter().any(|id| self.net.links[*id].moves())
    }

    /// Nothing happens before somebody's time comes.
    fn wait(&mut self) {
        let agencies = self.agencies.iter().zip(&self.stopped_until).filter_map(|(agency, stopped_until)| {
            let wake = match agency {
                Agency::Lockstep(agency) => agency.wake(),
                Agency::Native(agency) => agency.wake(self.now),
                Agency::Real(agency) => agency.wake(),
                Agency::Counters(agency) => agency.wake(),
            };
            // A client that is continued acts, whatever it waits for.
            if *stopped_until > self.now { Some(*stopped_until) } else { wake }
        });
        let hub = self.reactor.as_ref().and_then(|reactor| reactor.hub.next_deadline());
        let later = |at| self.now + u64::try_from(self.moment().until(at).as_millis()).unwrap_or(u64::MAX) + 1;
        let hub = match self.pause {
            Some(pause) => Some(pause.until),
            None => hub.map(later),
        };
        let restart = self.reactor.is_none().then_some(self.restart_at);
        let next = agencies.chain(hub).chain(restart).filter(|at| *at > self.now).min();
        self.now = next.unwrap_or(self.now + 1000);
        trace::event("time passes", &[("now", self.now)]);
    }

    fn move_something(&mut self) -> bool {
        let links = self.net.live.len();
        let choice = self.rng.below(self.agencies.len() + 2 * links);
        if choice < self.agencies.len() {
            return self.act(choice);
        }
        let id = self.net.live[(choice - self.agencies.len()) / 2];
        let bytes = self.chunk();
        let link = &mut self.net.links[id];
        if choice.is_multiple_of(2) {
            // The first bytes come together: a pause between them would mean something else.
            let opening = 12usize.saturating_sub(link.up_arrived);
            return link.hub != HubEnd::Closed && !link.reset && link.deliver_up(bytes.max(opening), self.now);
        }
        let known = link.over;
        link.client == ClientEnd::Open && (link.deliver_down(bytes) || link.over != known)
    }

    fn act(&mut self, agency: usize) -> bool {
        if self.now < self.stopped_until[agency] {
            return false;
        }
        let mut agencies = std::mem::take(&mut self.agencies);
        let acted = match &mut agencies[agency] {
            Agency::Lockstep(agency) => agency.act(&mut self.world()),
            Agency::Native(agency) => agency.act(&mut self.world()),
            Agency::Real(agency) => agency.act(&mut self.world()),
            Agency::Counters(agency) => agency.act(&mut self.world()),
        };
        self.agencies = agencies;
        acted
    }

    /// Nobody sleeps who has something to do.
    fn anyone_acts(&mut self) -> bool {
        (0..self.agencies.len()).any(|agency| self.act(agency))
    }

    fn chunk(&mut self) -> usize {
        match self.plan.chunks {
            Chunks::Crumbs => self.rng.range(1, 3),
            Chunks::Pieces => self.rng.range(1, 40),
            Chunks::Any => 1 << self.rng.below(14),
            Chunks::Whole => usize::MAX,
        }
    }

    /// First bytes that fit two dialects are not left alone for long: what the silence would mean is right, and not
    /// what their client meant.
    fn settle_openings(&mut self) {
        for index in 0..self.net.live.len() {
            let link = &mut self.net.links[self.net.live[index]];
            let early = link.up_arrived < 12 && link.up_arrived < link.up.len() && !link.reset;
            if early && link.first_byte_at.is_some() && link.hub != HubEnd::Closed {
                link.deliver_up(12 - link.up_arrived, self.now);
            }
        }
    }

    fn start(&mut self) {
        trace::event("start", &[("now", self.now)]);
        self.starts += 1;
        let options = Options {
            sync: self.plan.sync,
            winning_number: WINNING_NUMBER,
            adopt: false,
            agencies: self.plan.agencies.len(),
            journal_step: self.plan.journal_step,
            redo_bytes: self.plan.redo_bytes,
        };
        let opened = Store::open(self.disk.mount(), options);
        trace::disk(&self.disk);
        self.model.now = self.model_time();
        let (store, recovered) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { file, doing, error }) => {
                trace::note(|| format!("the start fails: cannot {doing} {file}: {error}"));
                return self.gone();
            }
            Err(error) => panic!("the hub does not start: {error}"),
        };
        let ids = Roster::parse(&self.plan.agencies.len().to_string()).expect("a roster");
        let mut lottery = Lottery::new(ids, recovered.drawn.unwrap_or(WINNING_NUMBER));
        for (agency, state) in recovered.agencies {
            lottery.restore(agency, state).expect("an agency of the roster");
        }
        if recovered.drawn.is_some() {
            lottery.restore_drawn();
        }
        self.model.recovered(&self.net, &lottery);
        self.model.may_be_full = self.tight || self.plan.disk.read_error > 0 || self.plan.lateness.taken_back > 0;
        let now = self.moment();
        let number = lottery.winning_number();
        let late = Late::new(store, number, Rc::clone(&self.lateness), Rng::new(self.rng.bits()));
        let hub = Hub::new(self.plan.policy.clone(), lottery, late, now);
        let mut reactor = Reactor::new(hub, self.plan.pace, now);
        let ended = reactor.end_turn(&mut self.net, now, &mut self.model);
        self.reactor = Some(reactor);
        self.ended(ended);
    }

    fn turn(&mut self, polled: Polled) {
        let now = self.moment();
        self.model.now = self.model_time();
        let Some(reactor) = &mut self.reactor else { return };
        let turned = reactor.turn(&mut self.net, &mut self.rng, polled, now, &mut self.model);
        self.ended(turned);
    }

    /// A turn has ended; where it failed, the hub is gone.
    fn ended(&mut self, turn: Result<(), CommitError>) {
        trace::disk(&self.disk);
        match turn {
            Ok(()) => {}
            Err(CommitError::Fatal(error)) => {
                trace::note(|| format!("the hub ends: {error}"));
                self.gone();
            }
            // Only a disk that has no room for what is there already may end it.
            Err(CommitError::Full(error)) if self.plan.disk.late_full > 0 => {
                trace::note(|| format!("the hub ends: {error}"));
                self.gone();
            }
            Err(CommitError::Full(error)) => panic!("a full disk stops the hub: {error}"),
        }
    }

    /// The hub is gone, and so are all connections; what it wrote and did not sync is still in memory, or is not.
    fn gone(&mut self) {
        trace::event("hub is gone", &[("now", self.now)]);
        self.reactor = None;
        self.pause = None;
        self.net.hub_gone();
        self.disk.kill();
        if self.disasters.power_cuts.is_some() && self.rng.once_in(3) {
            self.disk.power_cut();
            trace::disk(&self.disk);
        }
        self.restart_at = self.now + self.rng.below(2000) as u64;
        if self.disasters.kills.is_some() && self.rng.once_in(3) {
            // The next start, or what follows it, is cut short too.
            self.disk.crash_at_call(Some(self.rng.below(60) as u64));
        }
    }
}
