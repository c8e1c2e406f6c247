//! Mutants: each one runs until a seed fails.

use std::panic::{RefUnwindSafe, catch_unwind};

use loteria::mutants::{self, Mutant};

/// Panics where a mutant passes `seeds` seeds.
#[cfg(debug_assertions)]
pub fn catch_all(mutants: &[Mutant], seeds: u64, run: impl Fn(u64) + RefUnwindSafe) {
    let passes = |mutant: &Mutant| {
        let _introduced = mutants::introduce(Some(*mutant));
        let caught = (0..seeds).find(|seed| catch_unwind(|| run(*seed)).is_err());
        eprintln!("{mutant:?}: {caught:?}");
        caught.is_none()
    };
    let missed: Vec<Mutant> = mutants.iter().copied().filter(passes).collect();
    assert_eq!(missed, [], "mutants that no seed catches");
}
