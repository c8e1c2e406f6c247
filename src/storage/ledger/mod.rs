//! The ledger: turns become durable in a PostgreSQL that several hubs share.
//!
//! It is a keeper as the store of files is. It owns no socket and no clock: a [`Network`] has the connections, and the time is
//! a parameter. One connection carries the turns, in order, several of them at once. `schema.sql` has what the engine stores.
//! No file here imports one that imports it:
//!
//! - `network` and `options` say what the ledger needs from outside.
//! - `work` has what one turn does; `statements` encodes it for the engine, `answers` reads what comes back.
//! - `stage`, `start`, `checks` and `link` are one connection, up to its fence; `inspection` has one to each host, up to its checks.
//! - `wire` has what was sent on a connection and is not answered.
//! - `staging` has the turn in hand, `leases` which agencies are here.
//! - `keeper` has [`Ledger`]; `send`, `settle`, `drive` and `keep_ledger` have its methods.
//! - `reader` is the connection of the operator's commands, with `tool_error`. `audit` reads a draw and checks it, `import` brings a
//!   store of files into one, and `release` ends that a draw is held.
//!
//! A fence begins an epoch: a connection can do nothing any more once a later one of the same hub has a new epoch. The
//! instance's row has the number of its last turn that is whole, so that what became of a turn in doubt is one number to read.

mod answers;
mod audit;
mod checks;
mod drive;
mod import;
mod inspection;
mod keep_ledger;
mod keeper;
mod leases;
mod link;
mod network;
mod options;
mod reader;
mod release;
mod send;
mod settle;
mod stage;
mod staging;
mod start;
mod statements;
mod tool_error;
mod wire;
mod work;

pub use audit::{CheckedDraw, DrawnWinners, check_draw, drawn_winners, export_draw};
pub use import::{Imported, import_store};
pub use inspection::{HostFound, Inspection};
pub use keeper::Ledger;
pub use network::{LinkId, Network, Refused, Waiting};
pub use options::{LedgerError, LedgerOptions, Password, Replicas};
pub use reader::Reader;
pub use release::{held, release};
pub use tool_error::EngineError;

/// What a person runs once in the database: the hub never changes the schema.
pub const SCHEMA: &str = include_str!("schema.sql");
