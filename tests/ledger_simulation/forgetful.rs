//! A failover to a standby that lags: what was acknowledged is gone, and the hubs must say so and hold the draw.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::engine_model::{Cluster, Random};
use crate::hub::{Hub, content_of};
use crate::{Told, cluster, pass};

/// Microseconds of the model's time that the draw would need after the last finish, and a few more.
const DRAW_WITHIN: u64 = 20_000_000;
const AT_MOST: u64 = 300_000_000;

/// Whether something was forgotten.
pub fn run(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let cluster = cluster(&mut random);
    let mut hubs = [1, 2].map(|number| Hub::new(number, Rc::clone(&cluster), random.next()));
    let (mut told, mut counts) = (Told::default(), BTreeMap::new());
    let stall_at = 200_000 + random.below(1_000_000);
    let lose_at = stall_at + random.below(1_000_000);
    let (mut forgot, mut finished_at) = (None, None);
    while finished_at.is_none_or(|at| cluster.borrow().now() < at + DRAW_WITHIN) {
        let now = cluster.borrow().now();
        assert!(now < AT_MOST, "it never ends: {hubs:?}");
        if forgot.is_none() && now >= lose_at {
            fail_over_to_the_last(&mut cluster.borrow_mut());
            forgot = Some(has_forgotten(&cluster.borrow(), &told));
        } else if forgot.is_none() && now >= stall_at {
            cluster.borrow_mut().stall(1, true);
        }
        for hub in &mut hubs {
            hub.step(&mut told, &mut random, &mut counts);
        }
        if finished_at.is_none() && forgot.is_some() && now > lose_at + 5_000_000 && hubs.iter().all(Hub::is_done) {
            finished_at = Some(now);
            hubs[0].finish_all();
        }
        pass(&cluster, hubs.iter().filter_map(Hub::wake), random.below(20_000));
    }
    let (forgot, cluster) = (forgot.unwrap_or(false), cluster.borrow());
    // Turns that only read may be gone, too: then it is held although no bet is missing.
    let is_held = cluster.visible().draws[&1].held.is_some();
    assert!(is_held || !forgot, "the draw is held where something is forgotten");
    assert_eq!(cluster.draws_made().is_empty(), is_held, "and made where it is not");
    forgot
}

/// The leader is lost and the standby that has all, and the other one leads.
fn fail_over_to_the_last(cluster: &mut Cluster) {
    cluster.kill(0);
    cluster.kill(2);
    cluster.fail_over_forgetting();
    cluster.rejoin(2);
    cluster.rejoin(0);
}

/// Whether an agency was told that something is stored that is not there.
fn has_forgotten(cluster: &Cluster, told: &Told) -> bool {
    let stored = cluster.visible().batches.iter();
    let stored: Vec<(u32, u32)> =
        stored.map(|((_, agency, _), batch)| (agency.cast_unsigned(), content_of(&batch.rows))).collect();
    told.stored.iter().any(|told| !stored.contains(told))
}
