//! How many descriptors the process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;

/// What is open besides connections: files of the store, the poll, signals, the log, certificates being read;
/// and peers that are only refused with a reply.
const BESIDES: u64 = 32 + limits::REFUSALS_MAX as u64;

/// The status service's: its own viewers, which give way to agencies where descriptors are few.
const STATUS: u64 = 8 + (limits::STATUS_LOCAL_MAX + limits::STATUS_NETWORK_MAX) as u64;

/// Lets the process have descriptors for so many connections, as far as the system allows: many systems grant
/// few at first and more on request. Returns for how many connections there are descriptors now.
pub fn allow_connections(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDES + STATUS);
    let limit = getrlimit(Resource::Nofile);
    let least = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let mut allowed = least(limit.current);
    if allowed < wanted {
        let raised = wanted.min(least(limit.maximum));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
            allowed = raised;
        }
    }
    usize::try_from(allowed.saturating_sub(BESIDES)).unwrap_or(usize::MAX).min(connections)
}
