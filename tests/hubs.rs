//! Several hubs over one truth, simulated: agencies whose connections lead to any of them, are cut and moved, hubs that die
//! with turns in doubt. Whatever happens, each acknowledged batch is stored once, there is one draw, and every agency gets its
//! winners from whichever hub it asks. `HUBS_SEEDS=100000 cargo test --profile soak --test hubs` runs more seeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use hubs_kit::world::{World, run_seeds};

#[path = "hubs/central.rs"]
mod central;
mod hubs_kit;
mod storage_kit;

#[test]
fn several_hubs_store_each_acknowledged_batch_once_and_draw_once() {
    run_seeds("HUBS", 2_000, |seed| World::new(seed, central::Truth::new).run());
}

#[test]
#[cfg(debug_assertions)]
#[ignore = "some of them pass 400 seeds"]
fn every_mutant_is_caught() {
    let mutants = loteria::mutants::Mutant::OF_HUBS;
    hubs_kit::mutants::catch_all(&mutants, 2_000, |seed| World::new(seed, central::Truth::new).run());
}
