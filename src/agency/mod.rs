//! The agency: reads bets, sends them in batches in any dialect, and asks for its winners.
//!
//! Owns the client's side of a draw: what is sent when, what is sent again, when to wait and when to give up.
//! [`upload`] and [`echo`] decide, without sockets or clocks; [`run`] carries out, with both. Never uses the
//! server's layers: what it shares with the hub is the wire and what a bet is.

mod batcher;
pub mod echo;
mod job;
mod link;
mod output;
mod progress;
mod report;
mod run;
mod slips;
mod terminal;
mod tls;
pub mod upload;
mod waiter;

pub use batcher::{BATCH_FRAME_BYTES_MAX, Batcher, Made};
pub use job::{Job, protocols};
pub use run::{Ending, run};
pub use slips::{BetFile, BetList, SlipError, Slips};
pub use tls::Tls;
