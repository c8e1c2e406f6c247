//! The viewers, and which of them goes for a newcomer.

use std::net::IpAddr;

use slab::Slab;

use super::viewer::Viewer;
use crate::limits;
use crate::status::Cursor;
use crate::status::facts::Door;

/// Every viewer, by slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    viewers: Slab<Viewer>,
    /// Distinguishes viewers that had one slot after the other.
    generation: u32,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.viewers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Viewer> {
        self.viewers.get_mut(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Viewer)> {
        self.viewers.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Viewer)> {
        self.viewers.iter_mut()
    }

    /// Where viewers of events are.
    pub(super) fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.viewers.iter().filter_map(|(_, viewer)| viewer.cursor.as_ref())
    }

    /// How many viewers of events there are.
    pub(super) fn streaming(&self) -> usize {
        self.cursors().count()
    }

    /// Slot and generation of the next viewer.
    pub(super) fn next(&mut self) -> (usize, u32) {
        self.generation = self.generation.wrapping_add(1);
        (self.viewers.vacant_key(), self.generation)
    }

    pub(super) fn insert(&mut self, viewer: Viewer) {
        self.viewers.insert(viewer);
    }

    pub(super) fn remove(&mut self, slot: usize) -> bool {
        self.viewers.try_remove(slot).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.viewers.clear();
    }

    fn of(&self, door: Door) -> impl Iterator<Item = (usize, &Viewer)> {
        self.viewers.iter().filter(move |(_, viewer)| viewer.stream.door() == door)
    }

    fn of_address(&self, address: Option<IpAddr>) -> usize {
        self.of(Door::Network).filter(|(_, viewer)| viewer.stream.address() == address).count()
    }

    pub(super) fn have_room(&self, door: Door) -> bool {
        let most = match door {
            Door::Local => limits::STATUS_LOCAL_MAX,
            Door::Network => limits::STATUS_NETWORK_MAX,
        };
        self.of(door).count() < most
    }

    /// Which viewer goes for a newcomer at a door that is full: one of the newcomer's own address if that has its share, else
    /// any. The one that has been idle longest goes first; one that is being answered stays, unless its address has more
    /// than its share and the newcomer's has not.
    pub(super) fn evictable(&self, door: Door, newcomer: Option<IpAddr>) -> Option<usize> {
        let has_share = door == Door::Network && self.of_address(newcomer) >= limits::STATUS_ADDRESS_SHARE;
        let mut idle = self.of(door).filter(|(_, viewer)| viewer.connection.is_idle()).collect::<Vec<_>>();
        idle.retain(|(_, viewer)| !has_share || viewer.stream.address() == newcomer);
        let oldest = |viewers: Vec<(usize, &Viewer)>| {
            viewers.into_iter().min_by_key(|(_, viewer)| viewer.active_at).map(|(slot, _)| slot)
        };
        if has_share || !idle.is_empty() || door == Door::Local {
            return oldest(idle);
        }
        let greedy = |viewer: &Viewer| self.of_address(viewer.stream.address()) > limits::STATUS_ADDRESS_SHARE;
        oldest(self.of(door).filter(|(_, viewer)| greedy(viewer)).collect())
    }

    /// Which viewer goes first for an agency: one over TCP, an idle one before others, the oldest before younger ones.
    pub(super) fn first_to_go(&self) -> Option<usize> {
        let rank =
            |viewer: &Viewer| (viewer.stream.door() == Door::Local, !viewer.connection.is_idle(), viewer.active_at);
        self.viewers.iter().min_by_key(|(_, viewer)| rank(viewer)).map(|(slot, _)| slot)
    }
}
