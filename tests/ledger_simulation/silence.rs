//! The leader stands still and another node leads: its connections stay open and nothing comes on them any more.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::engine_model::Random;
use crate::hub::Hub;
use crate::{Told, cluster, pass};

/// Microseconds of the model's time.
const SECOND: u64 = 1_000_000;
/// Two seconds of silence, two hosts that are tried a second apart, one of which is a standby, and the start of a connection.
const GOES_ON_WITHIN: u64 = 8 * SECOND;

pub fn run(seed: u64) {
    let mut random = Random::new(seed);
    let cluster = cluster(&mut random);
    let mut hub = Hub::new(1, Rc::clone(&cluster), random.next());
    let (mut told, mut counts) = (Told::default(), BTreeMap::new());
    let pause_after = 1 + random.index(40);
    let mut fail_over_at = None;
    let mut replaced_with = None;
    loop {
        let now = cluster.borrow().now();
        if fail_over_at.is_none() && told.stored.len() >= pause_after {
            cluster.borrow_mut().pause(0);
            fail_over_at = Some(now + random.below(5 * SECOND));
        }
        if replaced_with.is_none() && fail_over_at.is_some_and(|at| at <= now) {
            replaced_with = Some(told.stored.len());
            cluster.borrow_mut().fail_over();
        }
        hub.step(&mut told, &mut random, &mut counts);
        if replaced_with.is_some_and(|stored| told.stored.len() > stored) {
            return;
        }
        let until = fail_over_at.unwrap_or(SECOND) + GOES_ON_WITHIN;
        assert!(now < until, "seed {seed}: it waits for the one that is silent");
        pass(&cluster, hub.wake().into_iter(), random.below(20_000));
    }
}
