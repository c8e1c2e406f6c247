//! TLS between a socket and the hub, which knows nothing of it.
//!
//! [`Tls`] is what the operator configured: the hub's certificate and key, whose certificates are asked for, and
//! whether a connection may do without. `Session` is one connection's encryption, without its socket. TLS 1.3
//! only, without resumption: the clients are few, stay long, and are young enough.

mod files;
mod identity;
mod session;

pub use files::{Tls, TlsError, TlsFiles};
pub(in crate::reactor) use session::{Heard, Session};
