//! TLS between a socket and the hub.
//!
//! [`Tls`] is the configuration: the hub's certificate and key, the authorities of client certificates, and whether TLS
//! is required. `Transport` says for one connection whether it uses TLS. `Session` is the encryption of one connection,
//! without its socket. Only TLS 1.3, without resumption: there are few clients, each stays connected for long, and all
//! of them can speak it.

mod files;
mod identity;
mod session;
mod transport;

pub use files::{Tls, TlsError, TlsFiles};
pub(in crate::reactor) use session::{Received, Session};
pub(in crate::reactor) use transport::Transport;
