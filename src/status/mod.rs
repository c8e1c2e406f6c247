//! What the hub says of itself: what its events add up to, and the answers of the status service as bytes.
//!
//! This layer holds no sockets. The reactor reads requests into a [`http`] connection and asks [`Status`] for the answers;
//! `loteria` reads the same [`report`] types back.

pub mod facts;
pub mod report;
