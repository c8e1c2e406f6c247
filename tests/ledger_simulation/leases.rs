//! Agencies of one hub and of none, while the engine is away for any time. The agency that is here is never excluded; the one that is
//! gone is, when it has been so for the grace, and then the draw is made without it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use loteria::lottery::AgencyId;

use crate::Told;
use crate::engine_model::{Cluster, Delays, Random, Standing};
use crate::hub::{EXCLUDE_AFTER, Hub};

/// Microseconds of the model's time.
const SECOND: u64 = 1_000_000;
const AT_MOST: u64 = 3_600 * SECOND;

/// An agency with a connection, and one that has gone after its bets.
const HERE: u32 = 1;
const GONE: u32 = 2;

/// What takes the engine away, and gives it back.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Its machine stands still.
    Pause,
    /// No standby answers, so that nothing is committed.
    Stall,
    /// Its server is gone, and the standby leads later.
    Failover,
}

pub fn run(seed: u64) {
    let mut random = Random::new(seed);
    let delays = Delays { flush: random.below(3000), replication: random.below(20_000) };
    let cluster = Rc::new(RefCell::new(Cluster::new(random.next(), true, delays)));
    let mut hubs = [1, 2].map(|number| Hub::new(number, Rc::clone(&cluster), random.next()));
    hubs[0].here = vec![AgencyId(HERE)];
    hubs[1].here = Vec::new();
    let (mut told, mut counts) = (Told::default(), BTreeMap::new());
    let grace = u64::try_from(EXCLUDE_AFTER.as_micros()).unwrap();
    let (mut begun, mut gone_at, mut finished) = (false, None, false);
    // Before, around or after the moment at which the agency may be excluded.
    let outage = [Outage::Pause, Outage::Stall, Outage::Failover][random.index(3)];
    let mut from = Some(SECOND + random.below(2 * grace));
    let mut until = None;
    let outage_lasts = random.below(3 * grace);
    while !hubs.iter().all(Hub::knows_draw) {
        let now = cluster.borrow().now();
        assert!(now < AT_MOST, "it never ends: {outage:?} {hubs:?}");
        if from.take_if(|from| *from <= now).is_some() {
            begin(&mut cluster.borrow_mut(), outage);
            until = Some(now + outage_lasts);
        }
        if until.take_if(|until| *until <= now).is_some() {
            end(&mut cluster.borrow_mut(), outage);
        }
        for hub in &mut hubs {
            hub.watch(&mut told, &mut counts);
        }
        if !begun && hubs[0].can_stage() {
            begun = true;
            hubs[0].stage_first_of([HERE, GONE]);
        }
        let stands = |agency: u32| cluster.borrow().visible().agencies.get(&(1, agency.cast_signed())).copied();
        assert_ne!(stands(HERE).map(|row| row.standing), Some(Standing::Excluded), "it is here: {outage:?}");
        let bets = stands(GONE).filter(|row| row.bets > 0);
        gone_at = gone_at.or(bets.and_then(|row| row.seen));
        if bets.is_some_and(|row| row.standing == Standing::Excluded) && !finished {
            assert!(now >= gone_at.unwrap() + grace, "not before its grace has ended: {outage:?}");
            finished = hubs[0].can_stage() && hubs[0].knows_excluded(GONE);
            if finished {
                hubs[0].finish(&[HERE, 3]);
            }
        }
        let wakes = hubs.iter().filter_map(Hub::wake).chain(cluster.borrow().next_event()).chain(from).chain(until);
        let next = wakes.filter(|at| *at > now).min().unwrap_or(u64::MAX).min(now + 1 + random.below(SECOND));
        cluster.borrow_mut().advance(next);
    }
    let cluster = cluster.borrow();
    assert_eq!(cluster.visible().draws[&1].bets, Some(3), "those of the agency that is here");
}

fn begin(cluster: &mut Cluster, outage: Outage) {
    match outage {
        Outage::Pause => cluster.pause(0),
        Outage::Stall => (1..3).for_each(|node| cluster.stall(node, true)),
        Outage::Failover => cluster.kill(0),
    }
}

fn end(cluster: &mut Cluster, outage: Outage) {
    match outage {
        Outage::Pause => cluster.go_on_node(0),
        Outage::Stall => (1..3).for_each(|node| cluster.stall(node, false)),
        Outage::Failover => {
            cluster.fail_over();
            cluster.rejoin(0);
        }
    }
}
