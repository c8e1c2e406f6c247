//! The PROXY protocol of TCP balancers: a header in front of a connection's bytes says which client the balancer forwards.
//!
//! [`Networks`] are the balancers. `Unannounced` has their connections until the header is whole; the hub knows nothing of a
//! connection before that, and knows it by its client's address from then on. The protocol:
//! <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>.

mod header;
mod networks;
mod read;
mod unannounced;

pub use networks::Networks;
pub(in crate::reactor) use read::{Progress, read_header};
pub(in crate::reactor) use unannounced::{Unannounced, Unkept, unannounced_of};
