//! The national lottery's hub.
//!
//! Agencies upload bets. The hub stores them, draws once when every agency has finished, and tells each agency its own
//! winners. One thread and one event loop serve every dialect on one port.
//!
//! [`hub::Hub`] is the whole hub without I/O: its caller hands it bytes and the time, and sends what it says. Here
//! it runs on a disk in memory, and one agency uploads a batch of one bet:
//!
//! ```
//! use std::net::{Ipv4Addr, SocketAddr};
//! use std::time::Duration;
//!
//! use loteria::hub::{Hub, Policy};
//! use loteria::lottery::{AgencyId, Bet, Lottery, Roster};
//! use loteria::storage::{MemoryDisk, Options, Store};
//! use loteria::timers::Moment;
//! use loteria::wire::{Answer, Dialect, Expecting};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Moment::after_origin(Duration::from_secs(1));
//! let (store, _) = Store::open(MemoryDisk::default(), Options::default())?;
//! let mut hub = Hub::new(Policy::default(), Lottery::new(Roster::parse("1")?, 7574), store, now);
//! let peer = hub.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)), now)?;
//!
//! // The client's side of the dialect `binary` writes the request.
//! let (agency, dialect) = (AgencyId(1), Dialect::Binary);
//! let bet = Bet::from_text(b"Ana", b"Paz", b"30904465", b"1999-03-17", b"7574")?;
//! let (mut bets, mut request) = (Vec::new(), Vec::new());
//! dialect.put_bet(agency, 0, &bet.as_raw(), &mut bets);
//! dialect.put_batch(agency, 0, 1, &bets, &mut request);
//!
//! // The turn: receive, commit, release. Only a committed turn can be answered.
//! hub.receive(peer, &request, now);
//! assert!(hub.outgoing(peer).is_empty());
//! let turn = hub.commit(now)?;
//! hub.release(turn, now);
//!
//! let (_, answer) = dialect.read_answer(hub.outgoing(peer), Expecting::Stored)?.ok_or("no whole answer")?;
//! assert_eq!(answer, Answer::Stored);
//! # Ok(())
//! # }
//! ```
//!
//! The layers: each uses only those to its left, which a test checks.
//!
//! ```text
//! lottery ← wire ← session ← hub ← reactor ← bin/server
//! lottery ← storage ← hub
//! hub ← status ← reactor
//! lottery ← wire ← agency ← bin/client
//! storage, status, agency's files ← operator ← bin/loteria
//! arguments, config, limits, timers, keepalive, signals, system, logging: used by all, using none of them
//! ```
//!
//! `docs/ARCHITECTURE.md` describes them; `docs/GLOSSARY.md` has the terms.

pub mod agency;
pub mod arguments;
pub mod config;
pub mod hub;
pub mod keepalive;
pub mod limits;
pub mod logging;
pub mod lottery;
#[doc(hidden)]
pub mod mutants;
pub mod operator;
pub mod reactor;
pub mod session;
pub mod signals;
pub mod status;
pub mod storage;
pub mod system;
pub mod timers;
pub mod wire;
