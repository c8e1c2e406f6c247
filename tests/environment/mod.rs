//! What a run is told by the environment: which seeds, and how many.

/// The number that a variable of the environment has, if it is set.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
