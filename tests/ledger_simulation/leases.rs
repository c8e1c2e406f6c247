//! Agencies of one hub and of none, while the engine is away for any time. The agency that is here is never excluded; the one that is
//! gone is, when it has been so for the grace, and then the draw is made without it.

use std::collections::BTreeMap;
use std::rc::Rc;

use loteria::lottery::AgencyId;

use crate::engine_model::{Cluster, Random, Standing};
use crate::hub::{EXCLUDE_AFTER, Hub};
use crate::{Told, cluster, pass};

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
    /// All connections end, and new ones are made at once.
    Cut,
}

pub fn run(seed: u64) {
    let mut random = Random::new(seed);
    let cluster = cluster(&mut random);
    let mut hubs = [1, 2].map(|number| Hub::new(number, Rc::clone(&cluster), random.next()));
    hubs[0].here = vec![AgencyId(HERE)];
    hubs[1].here = Vec::new();
    let (mut told, mut counts) = (Told::default(), BTreeMap::new());
    let grace = u64::try_from(EXCLUDE_AFTER.as_micros()).unwrap();
    let (mut begun, mut gone_at, mut seen_excluded, mut finished) = (false, None, false, false);
    // Before, around or after the moment at which the agency may be excluded.
    let outage = [Outage::Pause, Outage::Stall, Outage::Failover, Outage::Cut][random.index(4)];
    let mut from = Some(SECOND + random.below(2 * grace));
    let (mut until, mut cut_at) = (None, None);
    let outage_lasts = random.below(3 * grace);
    while !hubs.iter().all(Hub::knows_draw) {
        let now = cluster.borrow().now();
        assert!(now < AT_MOST, "it never ends: {outage:?} {hubs:?}");
        if from.take_if(|from| *from <= now).is_some() {
            cut_at = matches!(outage, Outage::Cut).then_some(now);
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
        let is_excluded = bets.is_some_and(|row| row.standing == Standing::Excluded);
        if is_excluded && !std::mem::replace(&mut seen_excluded, true) {
            assert!(now >= gone_at.unwrap() + grace, "not before its grace has ended: {outage:?}");
            assert!(cut_at.is_none_or(|cut_at| now >= cut_at + grace), "not before a hub was connected for as long");
        }
        if seen_excluded && !finished && hubs[0].can_stage() && hubs[0].knows_excluded(GONE) {
            finished = true;
            hubs[0].finish(&[HERE, 3]);
        }
        pass(&cluster, hubs.iter().filter_map(Hub::wake).chain(from).chain(until), random.below(SECOND));
    }
    let cluster = cluster.borrow();
    assert_eq!(cluster.visible().draws[&1].bets, Some(3), "those of the agency that is here");
}

fn begin(cluster: &mut Cluster, outage: Outage) {
    match outage {
        Outage::Pause => cluster.pause(0),
        Outage::Stall => (1..3).for_each(|node| cluster.stall(node, true)),
        Outage::Failover => cluster.kill(0),
        Outage::Cut => cluster.links().into_iter().for_each(|link| cluster.reset(link)),
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
        Outage::Cut => {}
    }
}
