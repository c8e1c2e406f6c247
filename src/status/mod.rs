//! What the hub says of itself: what its events add up to, and the answers of the status service as bytes.
//!
//! This layer holds no sockets. The reactor reads requests into a [`http::Request`] and asks [`Status`] for the answers;
//! `loteria` reads the same [`report`] types back.

mod assemble;
mod connection;
pub mod facts;
mod feed;
pub mod http;
mod latency;
mod metrics;
mod observer;
mod page;
mod rate;
mod reasons;
pub mod report;
mod request;
mod route;
mod service;
mod snapshot;
mod tally;
mod time;
mod trace;
mod winners;

pub use connection::Connection;
pub use feed::Cursor;
pub use service::{Answer, Status};
