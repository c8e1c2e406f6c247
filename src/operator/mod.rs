//! The operator's command: checks a store offline, and asks a running hub over its Unix socket.
//!
//! `verify`, `compare` and `winners` read a store through [`storage`](crate::storage), and `new_store` moves one away. `http` is a client of HTTP/1.1
//! over a Unix socket, `ask` has the commands that use it, and `screen`, `why` and `text` put answers into words.

mod ask;
mod compare;
mod failure;
mod http;
mod new_store;
mod place;
mod screen;
mod text;
mod verify;
mod watch;
mod why;
mod winners;

pub use ask::{connections, events, health, log_level, status, why};
pub use compare::{Comparison, Differences};
pub use failure::Failure;
pub use http::{Answer, Hub};
pub use new_store::new_store;
pub use place::{Place, Where};
pub use verify::verify;
pub use watch::watch;
pub use winners::{Format, winners};
