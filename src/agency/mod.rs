//! The client: reads an agency's bets, sends them in batches in any dialect, and queries the winners.
//!
//! [`upload`] and [`echo`] decide what to send, resend and wait for, without sockets or clocks. [`run`] has the sockets
//! and the clock. The client shares the wire and the lottery's bets with the hub, and uses none of the server's layers.

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
