//! Every connection by its slot, and every sum over all of them, which is changed here only.

mod connection;
mod outbox;

use core::net::SocketAddr;
use std::ops::{Index, IndexMut};
use std::rc::Rc;

use slab::Slab;

pub use connection::{Connection, ConnectionId, Due, Expiry, Peer, Unfinished};
pub use outbox::{List, Outbox};

use crate::mutants::{self, Mutant};
use crate::session::Inbox;
use crate::storage::Committed;
use crate::timers::Moment;
use crate::wire::After;

/// The slab of connections.
#[derive(Debug)]
pub(super) struct Connections {
    slab: Slab<Connection>,
    generations: u32,
    buffered_bytes: usize,
    parked: usize,
}

impl Connections {
    /// None, with memory for `reserved`.
    pub(super) fn with_capacity(reserved: usize) -> Connections {
        Connections { slab: Slab::with_capacity(reserved), generations: 0, buffered_bytes: 0, parked: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many slots have memory.
    pub(super) fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// Bytes of all buffers.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// How many queries wait for the draw.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Every connection with its slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.slab.iter()
    }

    /// The slots in use.
    pub(super) fn slots(&self) -> Vec<usize> {
        self.slab.iter().map(|(slot, _)| slot).collect()
    }

    /// The connection in a slot, if there is one.
    pub(super) fn get(&self, slot: usize) -> Option<&Connection> {
        self.slab.get(slot)
    }

    /// The slot of a connection that is still here.
    #[inline]
    pub(super) fn slot(&self, id: ConnectionId) -> Option<usize> {
        let slot = id.slot as usize;
        (self.slab.get(slot)?.generation == id.generation).then_some(slot)
    }

    /// A connection that is still here.
    pub(super) fn by_id(&self, id: ConnectionId) -> Option<&Connection> {
        self.slab.get(id.slot as usize).filter(|connection| connection.generation == id.generation)
    }

    /// As [`by_id`](Self::by_id), to change what counts in no sum.
    pub(super) fn by_id_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slab.get_mut(id.slot as usize).filter(|connection| connection.generation == id.generation)
    }

    /// Names the connection in a slot.
    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        let generation = self.slab[slot].generation;
        ConnectionId { slot: u32::try_from(slot).expect("MAX_CONNECTIONS fits 32 bits"), generation }
    }

    /// A connection came; returns its slot.
    pub(super) fn insert(&mut self, peer: SocketAddr, refused: bool, now: Moment) -> usize {
        self.generations = self.generations.wrapping_add(1);
        self.slab.insert(Connection::new(self.generations, peer, refused, now))
    }

    /// A connection is gone.
    pub(super) fn remove(&mut self, slot: usize) -> Connection {
        let connection = self.slab.remove(slot);
        self.buffered_bytes -= connection.buffered();
        if !mutants::is(Mutant::CountGone) {
            self.parked -= usize::from(connection.is_parked());
        }
        connection
    }

    /// Changes what counts in a sum.
    fn change<T>(&mut self, slot: usize, change: impl FnOnce(&mut Connection) -> T) -> T {
        let connection = &mut self.slab[slot];
        let (buffered, parked) = (connection.buffered(), connection.parked);
        let changed = change(connection);
        self.buffered_bytes = self.buffered_bytes + connection.buffered() - buffered;
        self.parked = self.parked + usize::from(connection.parked) - usize::from(parked);
        changed
    }

    /// Takes the unfinished frame, to decode it.
    pub(super) fn take_inbox(&mut self, slot: usize) -> Inbox {
        self.change(slot, |connection| std::mem::take(&mut connection.inbox))
    }

    /// Keeps what is left of it.
    pub(super) fn put_inbox(&mut self, slot: usize, inbox: Inbox) {
        self.change(slot, |connection| connection.inbox = inbox);
    }

    /// Writes a reply into the outbox by `write`, which says what follows for the connection.
    pub(super) fn reply(
        &mut self,
        slot: usize,
        committed: &Committed,
        now: Moment,
        write: impl FnOnce(&mut Vec<u8>) -> After,
    ) -> After {
        self.change(slot, |connection| write(connection.outbox_for_more(now).reply(committed)))
    }

    /// Sends `list` behind what there is.
    pub(super) fn share(&mut self, slot: usize, list: Rc<List>, committed: &Committed, now: Moment) {
        self.change(slot, |connection| connection.outbox_for_more(now).share(list, committed));
    }

    /// The peer took `bytes` of what it is sent.
    pub(super) fn sent(&mut self, slot: usize, bytes: usize, now: Moment) {
        self.change(slot, |connection| connection.sent(bytes, now));
    }

    /// The transport keeps `bytes` for the connection.
    pub(super) fn hold(&mut self, slot: usize, bytes: usize) {
        self.change(slot, |connection| connection.held = u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Drops what was not sent: the connection is closed without it.
    pub(super) fn cut(&mut self, slot: usize) {
        self.change(slot, |connection| {
            connection.outbox = Outbox::default();
            connection.held = 0;
            connection.flags.cut = true;
        });
    }

    /// Nothing more is decoded; what is queued may still be sent. A parked query waits no longer.
    pub(super) fn close(&mut self, slot: usize, now: Moment) {
        self.change(slot, |connection| connection.close(now));
    }

    /// A query waits for the draw.
    pub(super) fn park(&mut self, slot: usize) {
        self.change(slot, |connection| connection.parked = true);
    }

    /// A query waits no longer; says whether it did.
    pub(super) fn unpark(&mut self, slot: usize) -> bool {
        self.change(slot, |connection| std::mem::take(&mut connection.parked))
    }

    /// Counts again what is kept as a sum.
    pub(super) fn assert_sums(&self) {
        let all = || self.slab.iter().map(|(_, connection)| connection);
        let buffered: usize = all().map(Connection::buffered).sum();
        assert_eq!(self.buffered_bytes, buffered, "bytes of all buffers");
        assert_eq!(self.parked, all().filter(|connection| connection.is_parked()).count(), "parked connections");
    }
}

impl Index<usize> for Connections {
    type Output = Connection;

    fn index(&self, slot: usize) -> &Connection {
        &self.slab[slot]
    }
}

impl IndexMut<usize> for Connections {
    fn index_mut(&mut self, slot: usize) -> &mut Connection {
        &mut self.slab[slot]
    }
}
