//! The client: reads an agency's bets, sends them in batches in any dialect, and queries the winners.
//!
//! [`upload`] and [`echo`] decide what to send, resend and wait for, without sockets or clocks. [`run`] has the sockets
//! and the clock. The client shares the wire and the lottery's bets with the hub, and uses none of the server's layers.

mod batcher;
mod bet_reader;
mod check;
pub mod echo;
mod input;
mod job;
mod lines;
mod link;
mod loss;
mod output;
mod progress;
mod report;
mod run;
mod tally;
mod terminal;
mod tls;
pub mod upload;
mod waiter;
mod winners;

pub use batcher::{BATCH_FRAME_BYTES_MAX, Batcher, Made};
pub use bet_reader::{BadRow, BetFile, BetList, BetReader, BetReaderError, Row};
pub use check::Check;
pub use job::{Job, protocols};
pub use run::{Ending, run};
pub use tls::Tls;
