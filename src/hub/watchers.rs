//! Connections that are told whom the draw waits for: the state of it.

use std::collections::BTreeMap;

use super::connections::ConnectionId;
use crate::lottery::AgencyId;
use crate::storage::Committed;
use crate::timers::Timers;

/// Who is told, and when.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// The connection of an agency that asked last; one that is known to be the agency's gives way to none that is not. Each
    /// has one entry in `due`.
    pub(super) of: BTreeMap<AgencyId, ConnectionId>,
    pub(super) due: Timers<AgencyId>,
    /// The reminder is in the heap.
    pub(super) reminded: bool,
    /// The proof of the last turn that became durable before the draw: what is told is older than that.
    pub(super) proof: Option<Committed>,
}
