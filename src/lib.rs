//! The national lottery's hub.
//!
//! Agencies upload bets, the hub stores them, draws once when every agency has finished, and tells each
//! agency its own winners. One thread and one event loop serve every dialect on one port.
//!
//! The layers, each using only those to its left (a test keeps it so):
//!
//! ```text
//! lottery ← wire ← session ← engine ← reactor ← bin/server
//! lottery ← storage ← engine
//! lottery ← wire ← agency ← bin/client
//! config, limits, timers, keepalive, signals, logging: used by all, using none of them
//! ```
//!
//! `docs/ARCHITECTURE.md` tells the whole story.

pub mod agency;
pub mod config;
pub mod engine;
pub mod keepalive;
pub mod limits;
pub mod logging;
pub mod lottery;
pub mod reactor;
pub mod session;
pub mod signals;
pub mod storage;
pub mod timers;
pub mod wire;
