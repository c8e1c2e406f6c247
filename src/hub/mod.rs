//! The hub without its sockets: sessions, lottery and store, driven by inputs and the time.
//!
//! The reactor tells it what happened (a connection, bytes, a half-close, an end, the time) and does what it
//! says (write these bytes, close that connection, call again at this moment). The same calls with the same
//! arguments always have the same effects, which is what lets a simulation drive the whole hub.
//!
//! A turn is any number of inputs, one [`commit`](Hub::commit) and one [`release`](Hub::release): requests
//! are applied as they come, everything stored is made durable at once, and only then is anything answered.

mod admission;
mod buffers;
mod connection;
mod deadlines;
mod decode;
mod deferred;
mod invariants;
mod outbox;
mod policy;
mod presence;
mod queue;
mod release;
mod requests;
mod scheduler;
mod turn;
mod unnumbered;
mod watermark;
mod winners;

use core::net::IpAddr;

use slab::Slab;

use admission::Admission;
use connection::Connection;
pub use connection::ConnectionId;
use deadlines::Departure;
pub use deadlines::Reminder;
use deferred::Deferred;
pub use policy::{EarlyQuery, OnAgencyLoss, Policy};
use presence::Presence;
use queue::{Class, ClassQueue};
use scheduler::Scheduler;
pub use scheduler::{Budgets, ReadGrant};
pub use turn::CommittedTurn;
use turn::{Entry, Outcome};
use unnumbered::Unnumbered;
pub use watermark::InputWatermark;
use winners::Lists;

use crate::limits;
use crate::lottery::{AgencyId, Lottery, Standing};
use crate::mutants::{self, Mutant};
use crate::session::Phase;
use crate::storage::{CommitError, Disk, Store};
use crate::timers::{Moment, Timers};

/// The hub has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many connections as MAX_CONNECTIONS allows")]
pub struct TooManyConnections;

/// The whole state of a hub.
#[derive(Debug)]
pub struct Hub<D: Disk> {
    policy: Policy,
    lottery: Lottery,
    store: Store<D>,
    connections: Slab<Connection>,
    generations: u32,
    turn: Vec<Entry>,
    /// How many requests of the turn are untrusted connections'.
    untrusted_requests: u32,
    /// Bytes of their frames that were decoded in it, whenever they came.
    untrusted_bytes: usize,
    presence: Presence,
    unnumbered: Unnumbered,
    admission: Admission,
    timers: Timers<Reminder>,
    /// When there are more, some are of connections that are gone.
    reminders_max: usize,
    /// Queries that wait for the draw, in the order in which they came; some may be gone by then.
    parked: Vec<ConnectionId>,
    /// Those of them that the draw has not answered yet.
    unflushed: ClassQueue,
    parked_count: usize,
    /// Connections to write to.
    dirty: ClassQueue,
    deferred: Deferred,
    scheduler: Scheduler,
    buffered_bytes: usize,
    lists: Lists,
    /// Queries wait for lists to be read.
    flush_paused: bool,
    full_until: Option<Moment>,
    /// The last group of records that was seen, and when it was written.
    group: u64,
    written_at: Moment,
    seal_due: bool,
    pending_due: bool,
    draw_logged: bool,
}

impl<D: Disk> Hub<D> {
    /// A hub with what its store remembers. `lottery` holds that already.
    pub fn new(policy: Policy, lottery: Lottery, store: Store<D>, now: Moment) -> Hub<D> {
        let reserved = policy.connections_max.min(limits::CONNECTIONS_RESERVED);
        let group = store.group();
        let presence = Presence::default();
        let mut hub = Hub {
            unnumbered: Unnumbered::new(&policy.unnumbered_agencies, &lottery, &presence),
            presence,
            policy,
            draw_logged: lottery.drawn(),
            lottery,
            store,
            connections: Slab::with_capacity(reserved),
            generations: 0,
            turn: Vec::new(),
            untrusted_requests: 0,
            untrusted_bytes: 0,
            admission: Admission::default(),
            timers: Timers::with_capacity(reserved),
            reminders_max: limits::LEFTOVERS_MIN,
            parked: Vec::new(),
            unflushed: ClassQueue::default(),
            parked_count: 0,
            dirty: ClassQueue::default(),
            deferred: Deferred::default(),
            scheduler: Scheduler::new(now),
            buffered_bytes: 0,
            lists: Lists::default(),
            flush_paused: false,
            full_until: None,
            group,
            written_at: now,
            seal_due: false,
            pending_due: false,
        };
        hub.miss_agencies_of_an_earlier_run(now);
        hub
    }

    /// The lottery, to look at.
    pub fn lottery(&self) -> &Lottery {
        &self.lottery
    }

    /// The store, to look at.
    pub fn store(&self) -> &Store<D> {
        &self.store
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many there can be, those included that are only told that there are too many.
    pub fn connections_max(&self) -> usize {
        self.policy.connections_max + limits::REFUSALS_MAX
    }

    /// How many queries wait for the draw.
    pub fn parked(&self) -> usize {
        self.parked_count
    }

    /// How many places in the queue for the draw are kept, those of connections included that are gone.
    pub fn places(&self) -> usize {
        self.parked.len()
    }

    /// How many reminders are kept, those of connections included that are gone.
    pub fn reminders(&self) -> usize {
        self.timers.len()
    }

    /// Whether each commit waits for the disk, so that it is worth sharing between many requests.
    pub fn commits_wait(&self) -> bool {
        self.store.syncs()
    }

    /// How many requests of the connection wait for the turn's commit.
    pub fn requests_in_hand(&self, id: ConnectionId) -> u32 {
        self.slot(id).map_or(0, |slot| self.connections[slot].owed)
    }

    /// A certificate says that the connection may speak for `agency` only.
    pub fn certify(&mut self, id: ConnectionId, agency: AgencyId) {
        if let Some(slot) = self.slot(id) {
            self.know(slot, |connection| connection.session.certified = Some(agency));
        }
    }

    /// The transport is of no use any more: nothing further is decoded, and the connection is closed.
    pub fn hang_up(&mut self, id: ConnectionId, now: Moment) {
        if let Some(slot) = self.slot(id) {
            self.end(slot, now);
        }
    }

    /// Bytes came from a peer.
    pub fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Moment) {
        let Some(slot) = self.slot(id) else { return };
        if let Phase::Closing(_) = self.connections[slot].session.phase {
            return;
        }
        self.connections[slot].received(now);
        self.decode(slot, bytes, now);
        self.schedule(slot);
    }

    /// A peer will send no more; what it has sent still counts. A client that ends its side and waits for its winners
    /// does so right behind its query; one that ends it later, while its query is parked, has closed: on the wire the two
    /// look alike.
    pub fn half_close(&mut self, id: ConnectionId, now: Moment) {
        let Some(slot) = self.slot(id) else { return };
        self.connections[slot].session.half_closed = true;
        // What came by the watermark was read: an end that waited longer to be read has come later than that.
        let read_by = self.scheduler.watermark.at();
        if self.connections[slot].parked && self.connections[slot].received_at() + limits::HALF_CLOSE_GRACE < read_by {
            let peer = self.connections[slot].peer;
            log::info!(
                "action: close_connection | result: success | ip: {peer} | reason: the peer has closed, and waits for the draw no longer"
            );
            return self.cut(slot, now);
        }
        self.settle_by_silence(slot, now);
        self.end_if_nothing_is_left(slot, now);
        self.schedule(slot);
    }

    /// A connection is gone, by its peer's doing or the reactor's. Its slot is free for another.
    pub fn closed(&mut self, id: ConnectionId, now: Moment) {
        let Some(slot) = self.slot(id) else { return };
        let connection = self.connections.remove(slot);
        self.admission.left(&connection);
        self.buffered_bytes -= connection.buffered();
        if !mutants::is(Mutant::CountGone) {
            self.parked_count -= usize::from(connection.parked);
        }
        let left = Departure::of(&connection);
        for agency in self.presence.take_earlier(id) {
            self.leave(agency, Departure { known: false, ..left }, now);
        }
        if let Some(agency) = connection.session.agency {
            self.leave(agency, left, now);
        }
        self.clear_leftovers();
    }

    /// How many bytes of the connection are wanted now, at most: none while its own answers pile up, and few
    /// while its reply is held.
    pub fn read_room(&self, id: ConnectionId) -> usize {
        let Some(slot) = self.slot(id) else { return 0 };
        let connection = &self.connections[slot];
        match connection.session.phase {
            Phase::Detecting { .. } | Phase::Speaking(_) if connection.is_held_by_its_reader() => 0,
            Phase::Detecting { .. } | Phase::Speaking(_) => usize::MAX,
            Phase::Waiting(_) => limits::PARKED_INBOX_BYTES.saturating_sub(connection.session.inbox.len()),
            Phase::Closing(_) => usize::MAX,
        }
    }

    /// Whether the connection should be read from.
    pub fn wants_read(&self, id: ConnectionId) -> bool {
        self.read_room(id) > 0
    }

    /// Everything that the peer has not taken yet.
    #[doc(hidden)]
    pub fn unsent(&self, id: ConnectionId) -> Vec<u8> {
        self.slot(id).map_or_else(Vec::new, |slot| self.connections[slot].outbox.unsent_bytes())
    }

    /// What the peer should be sent next: not always all that there is.
    pub fn outgoing(&self, id: ConnectionId) -> &[u8] {
        self.slot(id).map_or(&[], |slot| self.connections[slot].outbox.unsent())
    }

    /// The peer took the first `bytes` of [`outgoing`](Self::outgoing).
    pub fn sent(&mut self, id: ConnectionId, bytes: usize, now: Moment) {
        let Some(slot) = self.slot(id) else { return };
        let connection = &mut self.connections[slot];
        let before = connection.buffered();
        let held = connection.is_held_by_its_reader();
        let had_list = connection.outbox.has_list();
        connection.sent(bytes, now);
        let goes_on = held && !connection.is_held_by_its_reader();
        self.buffered_bytes = self.buffered_bytes - before + connection.buffered();
        if self.flush_paused && had_list && !self.connections[slot].outbox.has_list() {
            // Its memory may be what others wait for.
            self.lists.drop_unused();
        }
        if goes_on {
            self.queue_read(slot);
            self.defer(slot);
        }
        self.schedule(slot);
    }

    /// Whether the connection has said all it will say, so that its side can be shut.
    pub fn is_done(&self, id: ConnectionId) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        let connection = &self.connections[slot];
        matches!(connection.session.phase, Phase::Closing(_)) && connection.outbox.is_empty()
    }

    /// Takes one connection that has something to send, or is done; agencies first.
    pub fn take_dirty(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.dirty.pop()?;
            if let Some(slot) = self.slot(id) {
                self.connections[slot].dirty = false;
                return Some(id);
            }
        }
    }

    /// Whether there is work that waits for no input: call [`run_deferred`](Self::run_deferred) and commit again, soon.
    pub fn has_work(&self) -> bool {
        !self.deferred.is_empty() || (!self.unflushed.is_empty() && !self.flush_is_full())
    }

    /// Makes everything that the turn in hand stored durable, and begins the next one. What comes back is what
    /// [`release`](Self::release) answers.
    ///
    /// # Errors
    /// The disk failed: nothing may be acknowledged any more, and the hub must stop.
    pub fn commit(&mut self, now: Moment) -> Result<CommittedTurn, CommitError> {
        self.draw_if_due();
        let proof = match self.store.commit() {
            Ok(proof) => proof,
            Err(CommitError::Full(error)) => {
                self.take_back_batches(&error, now);
                self.draw_if_due();
                // Finishes and the draw go into journal space reserved for them: this does not find it full.
                self.store.commit()?
            }
            Err(fatal @ CommitError::Fatal(_)) => return Err(fatal),
        };
        self.lottery.commit();
        Ok(CommittedTurn { entries: std::mem::take(&mut self.turn), proof })
    }

    /// Looks whether the store's files are still those that it writes.
    ///
    /// # Errors
    /// They are not: nothing may be acknowledged any more, and the hub must stop.
    pub fn check_store(&mut self) -> Result<(), CommitError> {
        self.store.check_files()
    }

    /// Closes the store's books: the hub is about to stop.
    ///
    /// # Errors
    /// As the disk says.
    pub fn close_store(&mut self) -> Result<(), CommitError> {
        self.store.close()
    }

    /// Ends every conversation with the next commit: nothing more is decoded; what is queued may still be sent.
    pub fn shut_down(&mut self, now: Moment) {
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.connections[slot].parked = false;
            if self.connections[slot].session.conduct().in_flight {
                self.connections[slot].session.wait();
                self.note(slot, Outcome::ShuttingDown);
            } else {
                self.end(slot, now);
            }
        }
        self.parked_count = 0;
    }

    /// Every connection, by id and peer.
    pub fn peers(&self) -> impl Iterator<Item = (ConnectionId, IpAddr)> {
        self.connections.iter().map(|(slot, connection)| (self.id(slot), connection.peer))
    }

    /// The peer of a connection.
    pub fn peer(&self, id: ConnectionId) -> Option<IpAddr> {
        self.slot(id).map(|slot| self.connections[slot].peer)
    }

    /// After a half-close: nothing held, nothing to decode, nothing to send, so nothing to stay for. Whole frames may
    /// be left in the inbox of a connection with deferred work, or whose peer does not read.
    fn end_if_nothing_is_left(&mut self, slot: usize, now: Moment) {
        let connection = &self.connections[slot];
        let waits = matches!(connection.session.phase, Phase::Waiting(_));
        let undecoded = connection.deferred || connection.is_held_by_its_reader();
        let goes_on = undecoded && !mutants::is(Mutant::DropHeldBack);
        if connection.session.half_closed && !waits && !goes_on && connection.owed == 0 {
            if !connection.session.inbox.is_empty() {
                log::warn!(
                    "action: receive_message | result: in_progress | ip: {} | reason: the peer ended in the middle of a frame",
                    connection.peer
                );
            }
            self.end(slot, now);
        }
    }

    /// Stops decoding a connection; it is closed once its outbox is empty.
    fn end(&mut self, slot: usize, now: Moment) {
        let connection = &mut self.connections[slot];
        let before = connection.buffered();
        connection.closing(now);
        // Whoever is told no more waits for the draw no more.
        self.parked_count -= usize::from(std::mem::take(&mut connection.parked));
        self.buffered_bytes = self.buffered_bytes - before + connection.buffered();
        self.mark_dirty(slot);
        self.schedule(slot);
    }

    /// Drops what connections that are gone have left in queues, once that is most of them: peers that come and
    /// go must not make the hub grow.
    fn clear_leftovers(&mut self) {
        if self.parked.len() > 2 * self.parked_count + limits::LEFTOVERS_MIN {
            let mut parked = std::mem::take(&mut self.parked);
            parked.retain(|id| self.is_parked(*id));
            parked.shrink_to(2 * parked.len());
            self.parked = parked;
        }
        if self.unflushed.len() > 2 * self.parked_count + limits::LEFTOVERS_MIN {
            let mut unflushed = std::mem::take(&mut self.unflushed);
            unflushed.retain(|id| self.is_parked(id));
            self.unflushed = unflushed;
        }
        if self.deferred.len() > 2 * self.connections.len() + limits::LEFTOVERS_MIN {
            let mut deferred = std::mem::take(&mut self.deferred);
            deferred.retain(|id| self.slot(id).is_some());
            self.deferred = deferred;
        }
        if self.timers.len() > self.reminders_max {
            let mut timers = std::mem::take(&mut self.timers);
            timers.retain(|at, reminder| match reminder {
                Reminder::Connection(id) => {
                    self.slot(id).is_some_and(|slot| self.connections[slot].reminder == Some(at))
                }
                Reminder::LostAgency(_) | Reminder::Pending | Reminder::Seal | Reminder::Flush => true,
            });
            self.reminders_max = 2 * timers.len() + limits::LEFTOVERS_MIN;
            self.timers = timers;
        }
    }

    fn draw_if_due(&mut self) {
        if self.lottery.due() {
            self.lottery.draw();
            if !mutants::is(Mutant::ForgetDrawRecord) {
                self.store.stage_draw(self.lottery.winning_number());
            }
        }
    }

    fn note(&mut self, slot: usize, outcome: Outcome) {
        self.connections[slot].owed += 1;
        self.untrusted_requests += u32::from(!self.connections[slot].is_agency());
        self.turn.push(Entry { id: Some(self.id(slot)), outcome });
    }

    fn slot(&self, id: ConnectionId) -> Option<usize> {
        let slot = id.slot as usize;
        (self.connections.get(slot)?.generation == id.generation).then_some(slot)
    }

    fn id(&self, slot: usize) -> ConnectionId {
        let generation = self.connections[slot].generation;
        ConnectionId { slot: u32::try_from(slot).expect("MAX_CONNECTIONS fits 32 bits"), generation }
    }

    fn mark_dirty(&mut self, slot: usize) {
        if !self.connections[slot].dirty {
            self.connections[slot].dirty = true;
            let id = self.id(slot);
            self.dirty.push(id, Class::of(self.connections[slot].is_agency()));
        }
    }

    fn is_excluded(&self, agency: AgencyId) -> bool {
        self.lottery.agency(agency).is_ok_and(|state| state.standing == Standing::Excluded)
    }

    fn is_betting(&self, agency: AgencyId) -> bool {
        self.lottery.agency(agency).is_ok_and(|state| state.standing == Standing::Betting)
    }
}
