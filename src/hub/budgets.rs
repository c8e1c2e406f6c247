//! What one turn may take.

use crate::limits;

/// What one turn may take. `limits.rs` has the values of a hub; a simulation takes smaller ones, to be at them with few
/// connections.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// Bytes read of all connections.
    pub turn_bytes: usize,
    /// Bytes read of one trusted connection, where few are read.
    pub connection_bytes: usize,
    /// The same where many are.
    pub connection_bytes_min: usize,
    /// Untrusted connections that are read, and as many that run deferred work.
    pub untrusted: usize,
    /// Bytes read of all of them.
    pub untrusted_bytes: usize,
    /// Requests of all connections.
    pub turn_requests: usize,
    /// Requests of one trusted connection; what follows them is deferred.
    pub connection_requests: u32,
    /// The same of an untrusted one, and of all of them together.
    pub untrusted_requests: u32,
    /// Connections that are accepted.
    pub accepts: usize,
    /// Bytes of the shortest list of winners that connections share.
    pub shared_bytes_min: usize,
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets {
            turn_bytes: limits::TURN_BYTES,
            connection_bytes: limits::TURN_BYTES_PER_CONNECTION,
            connection_bytes_min: limits::TURN_BYTES_PER_CONNECTION_MIN,
            untrusted: limits::UNTRUSTED_PER_TURN,
            untrusted_bytes: limits::UNTRUSTED_TURN_BYTES,
            turn_requests: limits::TURN_REQUESTS,
            connection_requests: limits::TURN_REQUESTS_PER_CONNECTION,
            untrusted_requests: limits::UNTRUSTED_TURN_REQUESTS,
            accepts: limits::ACCEPT_PER_TURN,
            shared_bytes_min: limits::SHARED_LIST_BYTES_MIN,
        }
    }
}
