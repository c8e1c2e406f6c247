//! The operator's command: checks a store offline, and asks a running hub over its Unix socket.
//!
//! `verify`, `compare`, `winners` and `export` read stored bets through [`storage`](crate::storage): those of a store of files, or of a
//! draw in PostgreSQL, which `source` tells apart. `new_store` moves a store away, `import` brings one into PostgreSQL, and
//! `release` ends that a draw is held. `http` is a client of HTTP/1.1
//! over a Unix socket, `ask` has the commands that use it, and `screen`, `why` and `text` put answers into words.

mod ask;
mod compare;
mod export;
mod failure;
mod http;
mod import;
mod new_store;
mod place;
mod release;
mod screen;
mod source;
mod text;
mod verify;
mod watch;
mod why;
mod winners;

pub use ask::{connections, events, health, log_level, status, why};
pub use compare::{Comparison, Differences};
pub use export::export;
pub use failure::Failure;
pub use http::{Answer, Hub};
pub use import::import;
pub use new_store::new_store;
pub use place::{Place, Where};
pub use release::release_draw;
pub use source::{Shared, Source, Stored};
pub use verify::verify;
pub use watch::watch;
pub use winners::{Format, WinnersOf, winners};
