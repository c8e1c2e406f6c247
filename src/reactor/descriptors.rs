//! How many descriptors the process may have.

use crate::{limits, system};

/// What is open besides connections: files of the store, the poll, signals, the log, certificates being read;
/// and peers that are only refused with a reply.
const BESIDES: u64 = 32 + limits::REFUSALS_MAX as u64;

/// The status service's: its own viewers, which give way to agencies where descriptors are few.
const STATUS: u64 = 8 + (limits::STATUS_LOCAL_MAX + limits::STATUS_NETWORK_MAX) as u64;

/// Lets the process have descriptors for so many connections, as far as the system allows. Returns for how many connections there are descriptors now.
pub fn allow_connections(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDES + STATUS);
    let allowed = system::allow_descriptors(wanted);
    usize::try_from(allowed.saturating_sub(BESIDES)).unwrap_or(usize::MAX).min(connections)
}
