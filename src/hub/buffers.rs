//! The memory of all connections together, and the connections that are shed when it is too much.

use super::Hub;
use super::connections::ConnectionId;
use super::events::Closing;
use crate::limits;
use crate::storage::Keep;
use crate::timers::Moment;

impl<K: Keep> Hub<K> {
    /// Bytes of all inboxes and outboxes.
    pub fn buffered_bytes(&self) -> usize {
        self.connections.buffered_bytes()
    }

    /// The transport keeps `bytes` for the connection, outside the hub: they count as its buffers.
    pub fn hold(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(slot) = self.connections.slot(id).filter(|slot| !self.connections[*slot].flags.cut) {
            self.connections.hold(slot, bytes);
        }
    }

    /// Over the limit of all buffers, a connection with large buffers is shed; an honest peer has none. Shared lists of
    /// winners count by themselves, not for the connections that read them. It is enough to look once a turn: what a turn
    /// reads and answers is a small part of the limit.
    pub(super) fn shed_buffers(&mut self, now: Moment) {
        while self.connections.buffered_bytes() + self.parked.lists.bytes.min(limits::LISTS_BYTES_HIGH_OF_AGENCIES)
            > limits::BUFFERS_BYTES_MAX
        {
            let Some(slot) = self.find_holder() else { return };
            self.emit_closing(slot, Closing::BuffersAreFull);
            self.cut(slot, now);
        }
    }

    /// The connection with the largest buffers, no smaller than the mean, of a few slots; the next call examines the
    /// next ones. To examine all slots each time would be as many steps as there are connections, for every piece of a
    /// frame that an attacker sends.
    fn find_holder(&mut self) -> Option<usize> {
        let slots = self.slots();
        let mean = self.connections.buffered_bytes() / self.connections.len().max(1);
        let mut found = None;
        for examined in 1..=slots {
            let slot = self.next_slot(slots);
            let holder = self.connections.get(slot).filter(|connection| !connection.flags.cut);
            found = found.max(holder.map(|connection| (connection.buffered(), slot)));
            if examined >= limits::SLOTS_EXAMINED && found.is_some_and(|(bytes, _)| bytes >= mean) {
                break;
            }
        }
        found.map(|(_, slot)| slot)
    }
}
