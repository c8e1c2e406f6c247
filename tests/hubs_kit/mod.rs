//! The parts of the simulation of several hubs.

pub mod central;
pub mod client;
