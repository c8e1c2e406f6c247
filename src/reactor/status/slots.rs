//! The viewers, and which of them goes for a newcomer.

use std::collections::HashMap;
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
    /// Viewers of events.
    streaming: usize,
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

    /// How many viewers of events there are. The loop asks in each turn, so that it is counted as they come and go.
    pub(super) fn streaming(&self) -> usize {
        self.streaming
    }

    /// A viewer has become one of events.
    pub(super) fn streams(&mut self) {
        self.streaming += 1;
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
        debug_assert_eq!(self.streaming, self.cursors().count(), "viewers of events");
        let removed = self.viewers.try_remove(slot);
        self.streaming -= usize::from(removed.as_ref().is_some_and(|viewer| viewer.cursor.is_some()));
        removed.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.viewers.clear();
        self.streaming = 0;
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

    /// Where the answers that viewers have not read are more than there may be: the one that has read the longest.
    pub(super) fn slowest_where_too_much_is_unread(&self) -> Option<usize> {
        let unread =
            || self.viewers.iter().filter_map(|(slot, viewer)| Some((slot, viewer.connection.unread_answer()?)));
        let all: usize = unread().map(|(_, (body, _))| body.len()).sum();
        if all <= limits::STATUS_ANSWERS_BYTES_MAX {
            return None;
        }
        // Viewers share answers, which are in memory once.
        let bodies: HashMap<*const u8, usize> = unread().map(|(_, (body, _))| (body.as_ptr(), body.len())).collect();
        let is_too_much = bodies.values().sum::<usize>() > limits::STATUS_ANSWERS_BYTES_MAX;
        let slowest = || unread().min_by_key(|(_, (_, until))| *until).map(|(slot, _)| slot);
        is_too_much.then(slowest).flatten()
    }

    /// Which viewer goes first for an agency: one over TCP, an idle one before others, the oldest before younger ones.
    /// `kept` stays.
    pub(super) fn first_to_go(&self, kept: Option<usize>) -> Option<usize> {
        let rank =
            |viewer: &Viewer| (viewer.stream.door() == Door::Local, !viewer.connection.is_idle(), viewer.active_at);
        let others = self.viewers.iter().filter(|(slot, _)| Some(*slot) != kept);
        others.min_by_key(|(_, viewer)| rank(viewer)).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use mio::net::{TcpStream, UnixStream};

    use super::super::doors::Stream;
    use super::*;
    use crate::status::http::{JSON, Response};
    use crate::timers::Moment;

    /// A viewer that was answered `at` this second, and has read nothing.
    fn viewer(body: &Rc<[u8]>, at: u64) -> Viewer {
        let (stream, _) = UnixStream::pair().unwrap();
        answered(Stream::Local(stream), body, at)
    }

    fn answered(stream: Stream, body: &Rc<[u8]>, at: u64) -> Viewer {
        let now = Moment::after_origin(Duration::from_secs(at));
        let mut viewer = Viewer::new(stream, 0, now);
        viewer.connection.receive(b"GET /trace.json HTTP/1.1\r\nHost: localhost\r\n\r\n", now);
        assert!(viewer.connection.read_request(&[], now));
        viewer.connection.answer(Response::new(200, JSON, Rc::clone(body)), now);
        viewer
    }

    #[test]
    fn unread_answers_are_bounded_and_a_shared_one_counts_once() {
        let quarter: Rc<[u8]> = vec![0; limits::STATUS_ANSWERS_BYTES_MAX / 4].into();
        let mut slots = Slots::default();
        (0..50).for_each(|at| slots.insert(viewer(&quarter, 10 + at)));
        assert_eq!(slots.slowest_where_too_much_is_unread(), None);
        (0..3).for_each(|at| slots.insert(viewer(&Rc::from(&*quarter), 7 - at)));
        assert_eq!(slots.slowest_where_too_much_is_unread(), None);
        slots.insert(viewer(&Rc::from(&*quarter), 8));
        assert_eq!(slots.slowest_where_too_much_is_unread(), Some(52), "the one whose answer is the oldest");
        assert!(slots.remove(52));
        assert_eq!(slots.slowest_where_too_much_is_unread(), None);
    }

    #[test]
    fn a_busy_viewer_goes_for_another_address_only_where_its_own_has_more_than_its_share() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let stream = |address| Stream::Network(TcpStream::connect(to).unwrap(), address);
        let [greedy, other, third] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut slots = Slots::default();
        let of = |slots: &Slots, address| slots.evictable(Door::Network, Some(address));
        for at in 0..limits::STATUS_ADDRESS_SHARE {
            slots.insert(answered(stream(greedy), &Rc::from([0]), 100 - at as u64));
        }
        assert_eq!(of(&slots, other), None, "it has its share, and none is idle");
        slots.insert(answered(stream(greedy), &Rc::from([0]), 1));
        assert_eq!(of(&slots, greedy), None, "it has its share already");
        assert_eq!(of(&slots, other), Some(limits::STATUS_ADDRESS_SHARE), "the oldest");
        let idle = slots.next().0;
        slots.insert(Viewer::new(stream(other), 0, Moment::after_origin(Duration::from_secs(200))));
        assert_eq!(of(&slots, third), Some(idle), "an idle one goes first, whosever it is");
        assert_eq!(of(&slots, greedy), None, "not for an address that has its share");
    }
}
