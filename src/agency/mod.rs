//! The client: reads an agency's bets, sends them in batches in any dialect, and queries the winners.
//!
//! [`upload`] and [`echo`] decide what to send, resend and wait for, without sockets or clocks. [`run`] has the sockets
//! and the clock. The client shares the wire and the lottery's bets with the hub, and uses none of the server's layers.

mod batcher;
mod bet_reader;
pub mod echo;
mod job;
mod link;
mod output;
mod progress;
mod report;
mod run;
mod terminal;
mod tls;
pub mod upload;
mod waiter;

pub use batcher::{BATCH_FRAME_BYTES_MAX, Batcher, Made};
pub use bet_reader::{BetFile, BetList, BetReader, BetReaderError};
pub use job::{Job, protocols};
pub use run::{Ending, run};
pub use tls::Tls;
