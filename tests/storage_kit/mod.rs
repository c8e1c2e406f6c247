//! What the tests of the store share. Each test program uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod bets;
pub mod disk;
pub mod image;
pub mod model;
pub mod random;
