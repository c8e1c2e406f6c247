//! What a seed makes of a run: who takes part, what is configured, and which faults there are. Each seed enables a
//! few of them: all at once would hide each other.

use std::time::Duration;

use loteria::hub::{Budgets, EarlyQuery, OnAgencyLoss, Policy};
use loteria::lottery::AgencyId;
use loteria::wire::Dialect;

use crate::clients::Habits;
use crate::late::Lateness;
use crate::lockstep::{self, Item};
use crate::native;
use crate::reactor::Pace;
use crate::real;
use crate::rng::Rng;
use crate::storage_kit::disk::Faults;

/// Faults of the machine: each happens once in so many steps, or never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disasters {
    /// The hub is killed between two turns, or in one.
    pub kills: Option<usize>,
    /// The power fails.
    pub power_cuts: Option<usize>,
    /// The hub is told to stop.
    pub stops: Option<usize>,
    /// A sync fails.
    pub sync_errors: Option<usize>,
    /// The disk fills up; space returns.
    pub full: Option<usize>,
    /// Time passes in which nobody gets anything done.
    pub stalls: Option<usize>,
    /// The hub is stopped for a while; its peers and the network are not.
    pub pauses: Option<usize>,
    /// An agency's client is stopped for a while; what it is sent arrives all the same.
    pub client_pauses: Option<usize>,
    /// Somebody connects who is no agency.
    pub untrusted: Option<usize>,
}

/// How many bytes come at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// One to three.
    Crumbs,
    /// Up to forty.
    Pieces,
    /// Any number.
    Any,
    /// All that there are.
    Whole,
}

/// One agency.
#[derive(Clone, Debug)]
pub struct AgencyPlan {
    pub id: u32,
    pub dialect: Dialect,
    pub lockstep: Option<lockstep::Manner>,
    pub native: Option<native::Manner>,
    pub real: Option<real::Manner>,
    /// Its clients, where it has several with bets of their own.
    pub counters: Vec<real::Manner>,
}

impl AgencyPlan {
    /// How many connections it has at once, at most.
    fn connections(&self) -> usize {
        self.native.as_ref().map_or(1, |native| native.twins).max(self.counters.len())
    }
}

/// The run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub agencies: Vec<AgencyPlan>,
    pub policy: Policy,
    pub sync: bool,
    pub journal_step: u64,
    pub redo_bytes: u64,
    pub disk: Faults,
    pub disasters: Disasters,
    pub habits: Habits,
    pub pace: Pace,
    pub lateness: Lateness,
    pub chunks: Chunks,
    /// Moves of clients and of the network in a step.
    pub moves: usize,
    /// Steps with faults.
    pub steps: usize,
    /// Milliseconds in a step, at most.
    pub step_ms: usize,
}

impl Plan {
    pub fn new(rng: &mut Rng) -> Plan {
        let chunks =
            rng.pick(&[Chunks::Crumbs, Chunks::Pieces, Chunks::Any, Chunks::Any, Chunks::Whole, Chunks::Whole]);
        // Trusted connections that fill turn after turn, beside others.
        let crowded = rng.once_in(30);
        let agencies: Vec<AgencyPlan> = (1..=rng.range(1, 4) as u32).map(|id| agency(rng, id, chunks)).collect();
        let sync = !rng.once_in(8);
        let disk = disk_faults(rng, sync);
        let disasters = disasters(rng, sync, disk.late_full > 0);
        Plan {
            policy: policy(rng, &agencies),
            sync,
            journal_step: rng.range(1, 24) as u64,
            redo_bytes: rng.pick(&[0, 4096, 8192, 16 * 1024, 64 * 1024]),
            disk,
            disasters: Disasters { untrusted: if crowded { Some(5) } else { disasters.untrusted }, ..disasters },
            habits: habits(rng),
            pace: Pace {
                read_bytes: rng.pick(&[1, 7, 64, 4096, 4096]),
                budget: rng.pick(&[1, 50, 1 << 20, 1 << 20]),
                late_percent: rng.pick(&[0, 0, 40]),
                spurious_percent: rng.pick(&[0, 0, 20]),
                budgets: if crowded { CROWDED } else { budgets(rng) },
                short_turn_percent: rng.pick(&[0, 0, 20]),
            },
            lateness: lateness(rng, &agencies),
            chunks,
            moves: rng.range(1, 8),
            steps: rng.range(50, 300),
            step_ms: rng.pick(&[1, 10, 40]),
            agencies,
        }
    }
}

/// A turn is full with what one trusted connection may send in it.
const CROWDED: Budgets = Budgets {
    turn_bytes: 1000,
    connection_bytes: 500,
    connection_bytes_min: 500,
    untrusted: 1,
    untrusted_bytes: 100,
    turn_requests: 4,
    connection_requests: 4,
    untrusted_requests: 1,
    accepts: 4,
    shared_bytes_min: 10,
};

/// Often so small that a few connections are at them.
fn budgets(rng: &mut Rng) -> Budgets {
    if !rng.once_in(3) {
        return Budgets::default();
    }
    let connection_bytes_min = rng.pick(&[1, 20]);
    // As in `limits.rs`, untrusted connections alone do not fill a turn.
    let untrusted_requests = rng.range(1, 2);
    let turn_requests = 4 * untrusted_requests + rng.below(4);
    Budgets {
        turn_bytes: rng.pick(&[1, 100, 1000]),
        connection_bytes: connection_bytes_min * rng.range(1, 50),
        connection_bytes_min,
        untrusted: rng.range(1, 2),
        untrusted_bytes: rng.pick(&[1, 100]),
        turn_requests,
        connection_requests: rng.range(untrusted_requests, turn_requests) as u32,
        untrusted_requests: untrusted_requests as u32,
        accepts: rng.range(1, 4),
        shared_bytes_min: rng.pick(&[0, 10]),
    }
}

fn agency(rng: &mut Rng, id: u32, chunks: Chunks) -> AgencyPlan {
    let dialect = rng.pick(&[
        Dialect::Native,
        Dialect::Native,
        Dialect::Native,
        Dialect::Binary,
        Dialect::Text,
        Dialect::KeyValue,
        Dialect::CaseId,
        Dialect::Csv,
    ]);
    let most = if chunks == Chunks::Crumbs { 2 } else { 6 };
    // A connection without a number is known by what it stored, and by nothing else.
    let least = usize::from(dialect == Dialect::Csv);
    let count = rng.range(least, most);
    let begins = if rng.once_in(3) { rng.below(3000) as u64 } else { 0 };
    if dialect == Dialect::Native && rng.once_in(6) {
        // One batch each, as `mode: bet` has it.
        let mut counter = || real::Manner { batches: 1, bets_max: 1, begins: rng.below(500) as u64 };
        let counters = (0..count.clamp(2, 4)).map(|_| counter()).collect();
        return AgencyPlan { id, dialect, lockstep: None, native: None, real: None, counters };
    }
    let resumable = dialect.client_rules().resumable;
    if resumable && rng.once_in(3) {
        let real = real::Manner { batches: count, bets_max: rng.range(1, 3), begins };
        return AgencyPlan { id, dialect, lockstep: None, native: None, real: Some(real), counters: Vec::new() };
    }
    let late = rng.once_in(3);
    let faulty = rng.once_in(2);
    let bets = |rng: &mut Rng| if rng.once_in(12) { rng.range(20, 60) } else { rng.range(1, 3) };
    if dialect == Dialect::Native {
        let goods: Vec<usize> = (0..count).map(|_| bets(rng)).collect();
        let bads = (0..=goods.len()).filter(|_| faulty && rng.once_in(4)).collect();
        let twins = rng.pick(&[1, 1, 1, 2, 3]);
        let window = rng.pick(&[1, 2, 8, 64]);
        let native = native::Manner { goods, bads, window, twins, eager: rng.once_in(2), late, begins };
        return AgencyPlan { id, dialect, lockstep: None, native: Some(native), real: None, counters: Vec::new() };
    }
    let mut items: Vec<Item> = (0..count).map(|_| Item::Good(bets(rng))).collect();
    if faulty {
        for _ in 0..rng.range(1, 2) {
            let at = rng.range(0, items.len());
            let item = if rng.once_in(2) { Item::Empty } else { Item::Bad(rng.range(1, 3)) };
            items.insert(at, item);
        }
    }
    let per_message = matches!(dialect, Dialect::Binary | Dialect::Text) && rng.once_in(3);
    let window = if per_message { 1 } else { rng.pick(&[1, 1, 4]) };
    let manner = lockstep::Manner { items, window, per_message, late, begins };
    AgencyPlan { id, dialect, lockstep: Some(manner), native: None, real: None, counters: Vec::new() }
}

fn policy(rng: &mut Rng, agencies: &[AgencyPlan]) -> Policy {
    let unnumbered: Vec<AgencyId> =
        agencies.iter().filter(|agency| agency.dialect == Dialect::Csv).map(|agency| AgencyId(agency.id)).collect();
    Policy {
        early_query: if rng.once_in(3) { EarlyQuery::Reject } else { EarlyQuery::Park },
        on_agency_loss: if rng.once_in(3) { OnAgencyLoss::Exclude } else { OnAgencyLoss::Wait },
        loss_grace: Duration::from_millis(rng.pick(&[0, 100, 10_000, 60_000])),
        // An empty list would mean all agencies.
        unnumbered_agencies: if unnumbered.is_empty() { vec![AgencyId(u32::MAX)] } else { unnumbered },
        // Every agency can have all its connections parked and the next one still come in.
        connections_max: if rng.once_in(6) {
            1 + agencies.iter().map(AgencyPlan::connections).sum::<usize>()
        } else {
            10_000
        },
        frame_bytes_max: 1 << 20,
        handshake_timeout: Duration::from_secs(10),
        frame_timeout: Duration::from_secs(rng.pick(&[2, 30])),
        idle_timeout: Duration::from_secs(rng.pick(&[1, 300])),
        write_timeout: Duration::from_secs(rng.pick(&[1, 30])),
        echo: !rng.once_in(4),
        dialects: Dialect::ALL.to_vec(),
    }
}

fn disasters(rng: &mut Rng, sync: bool, late_full: bool) -> Disasters {
    let mut now_and_then = |odds: usize, often: &[usize]| rng.once_in(odds).then(|| rng.pick(often));
    Disasters {
        kills: now_and_then(3, &[30, 100]),
        // What a full disk took back is best looked for where the power fails soon after.
        power_cuts: if late_full { now_and_then(2, &[10, 30]) } else { now_and_then(3, &[30, 100]) }.filter(|_| sync),
        stops: now_and_then(5, &[100]),
        sync_errors: now_and_then(5, &[40, 100]).filter(|_| sync),
        full: now_and_then(4, &[20, 60]),
        stalls: now_and_then(4, &[30, 100]),
        untrusted: now_and_then(4, &[10, 50]),
        pauses: now_and_then(4, &[30, 100]),
        client_pauses: now_and_then(4, &[30, 100]),
    }
}

/// What goes wrong with single calls of the disk, in permille of them.
fn disk_faults(rng: &mut Rng, sync: bool) -> Faults {
    let mut now_and_then = |odds: usize, often: u64| if rng.once_in(odds) { often } else { 0 };
    Faults {
        crash: 0,
        sync_error: 0,
        write_error: now_and_then(12, 5),
        read_error: now_and_then(12, 5),
        short: now_and_then(4, 300),
        interrupt: now_and_then(4, 100),
        keep_cache: now_and_then(3, 500),
        write_back: now_and_then(3, 200),
        late_full: if sync { now_and_then(6, 120) } else { 0 },
    }
}

fn habits(rng: &mut Rng) -> Habits {
    let mut now_and_then = |odds: usize, often: &[u32]| if rng.once_in(odds) { rng.pick(often) } else { 0 };
    Habits {
        resets: now_and_then(3, &[10, 50]),
        early_ends: now_and_then(4, &[10, 40]),
        vanishes: now_and_then(4, &[10, 40]),
        half_closes: now_and_then(3, &[300, 1000]),
        restarts: now_and_then(4, &[10, 50]),
        absences: now_and_then(5, &[5, 20]),
        tiny_windows: now_and_then(5, &[300]),
        mischief: now_and_then(3, &[50, 200]),
    }
}

/// How late the hub's keeper is: mostly not at all, as files are.
fn lateness(rng: &mut Rng, agencies: &[AgencyPlan]) -> Lateness {
    // Of several clients that cannot name their agency, one that comes again while its bets are in flight may be given
    // another's: their draw may have no end.
    let nameless = agencies.iter().filter(|agency| agency.dialect == Dialect::Csv).count();
    if !rng.once_in(3) || nameless > 1 {
        return Lateness::default();
    }
    Lateness { in_flight: rng.range(1, 4), silent: rng.pick(&[0, 30, 80]), taken_back: rng.pick(&[0, 0, 10, 40]) }
}
