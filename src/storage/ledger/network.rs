//! What the ledger needs of a network: connections that never block.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// A connection of a [`Network`]. After [`close`](Network::close) its number may be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(pub usize);

/// What an [`io::Error`] of a [`Network`] carries where trying again does not help: a person has to mend something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Connections to the hosts of an engine. No call waits for a peer.
pub trait Network {
    /// Begins a connection to the host at this index of the configured ones. Until it stands, it neither takes nor has bytes.
    ///
    /// # Errors
    /// The system refuses.
    fn connect(&mut self, host: usize) -> io::Result<LinkId>;

    /// Writes as much as the connection takes; `None`: nothing now.
    ///
    /// # Errors
    /// The connection could not be made, or is lost.
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<Option<usize>>;

    /// Reads what has come; `None`: nothing now; `Some(0)`: the peer has ended it.
    ///
    /// # Errors
    /// The connection could not be made, or is lost.
    fn read(&mut self, link: LinkId, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// Drops a connection, and what it has not sent yet.
    fn close(&mut self, link: LinkId);

    /// Takes note of what is ready, so that the descriptor is not readable until something new is.
    fn poll(&mut self) {}

    /// A descriptor that is readable when a connection has become ready; it stays the same.
    fn descriptor(&self) -> Option<RawFd> {
        None
    }
}

/// A network that can be waited on: for the operator's commands, which have no loop.
pub trait Waiting: Network {
    /// Waits until a connection is ready, for `timeout` at most; says whether one is.
    ///
    /// # Errors
    /// As the system says.
    fn wait_ready(&mut self, timeout: Duration) -> io::Result<bool>;
}
