//! One slot of the slab: a session, its outbox and its deadlines.

use core::net::IpAddr;
use std::time::Duration;

use super::outbox::Outbox;
use super::policy::Policy;
use super::scheduler::Budgets;
use crate::limits;
use crate::session::{Phase, Session};
use crate::timers::Moment;
use crate::wire::Dialect;

/// Names a connection: its slot, and which of the slot's tenants it is, so that an event that comes too
/// late never reaches the next tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The slot in the slab.
    pub slot: u32,
    /// Counts the connections ever opened.
    pub generation: u32,
}

/// Why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Its dialect did not show in time.
    Handshake,
    /// The hub is full, and it did not say in time in which dialect it wants to be told.
    Refused,
    /// A frame was begun and not ended in time.
    Frame,
    /// Nothing was received for too long.
    Idle,
    /// The peer does not read what it is sent.
    Write,
    /// It was given time to take the last reply.
    Drained,
}

/// What a deadline that has come means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The silence says what the bytes are.
    Silence,
    /// The connection has to go.
    Expired(Expiry),
}

/// A connection as the hub keeps it.
#[derive(Debug)]
pub struct Connection {
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    pub(super) generation: u32,
    pub(super) peer: IpAddr,
    /// Its query waits for the draw.
    pub(super) parked: bool,
    /// How many outcomes of this turn it waits for.
    pub(super) owed: u32,
    /// It is here only to be told that the hub is full.
    pub(super) refused: bool,
    /// A batch or the finish of the agency that it speaks for was committed by it.
    pub(super) has_committed: bool,
    /// Requests of it that were refused.
    pub(super) refusals: u32,
    /// Bytes that the transport keeps for it outside the hub.
    pub(super) held: u32,
    /// To be closed at once, whatever its peer does.
    pub(super) cut: bool,
    /// In the list of connections to write to.
    pub(super) dirty: bool,
    /// In the list of connections with undecoded bytes that can be decoded again.
    pub(super) deferred: bool,
    /// Its socket may have something to read.
    pub(super) readable: bool,
    /// In the read queue.
    pub(super) queued: bool,
    /// What its socket has may be a step of a handshake, which is dear.
    pub(super) handshaking: bool,
    /// The earliest reminder that is in the timers.
    pub(super) reminder: Option<Moment>,
    received_at: Moment,
    /// When the present phase of decoding began: the connection, the frame, or the closing.
    since: Moment,
    /// When the peer last took a step of what it has to read, or first had something to read.
    sent_at: Moment,
    /// Bytes that it has taken since.
    taken: u32,
}

// Ten thousand idle connections are mostly this.
const _: () = assert!(size_of::<Connection>() <= 168);

impl Connection {
    pub(super) fn new(generation: u32, peer: IpAddr, refused: bool, now: Moment) -> Connection {
        Connection {
            session: Session::default(),
            outbox: Outbox::default(),
            generation,
            peer,
            parked: false,
            owed: 0,
            refused,
            has_committed: false,
            refusals: 0,
            held: 0,
            cut: false,
            dirty: false,
            deferred: false,
            readable: false,
            queued: false,
            handshaking: false,
            reminder: None,
            received_at: now,
            since: now,
            sent_at: now,
            taken: 0,
        }
    }

    /// Bytes of buffers held.
    pub(super) fn buffered(&self) -> usize {
        self.session.inbox.capacity() + self.outbox.capacity() + self.held as usize
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Moment) {
        self.received_at = now;
    }

    /// The bytes that are kept now, if any, are the start of a new frame. While the dialect is open the time
    /// goes on from the connection's start: a deadline that every byte moved would be none. So it does for one that
    /// is refused, whatever it says.
    pub(super) fn frame_began(&mut self, now: Moment) {
        if !self.refused && !matches!(self.session.phase, Phase::Detecting { .. } | Phase::Closing(_)) {
            self.since = now;
        }
    }

    /// Whether a connection whose dialect is open was made longer than `age` ago.
    pub(super) fn opened_before(&self, now: Moment, age: Duration) -> bool {
        self.since + age < now
    }

    /// Whether its present frame, which began by `began_by`, may still name an agency.
    pub(super) fn may_name_an_agency(&self, began_by: Moment) -> bool {
        let incomplete = self.deferred || self.readable || !self.session.inbox.is_empty();
        let may_name = match self.session.phase {
            Phase::Detecting { .. } => true,
            Phase::Speaking(Dialect::Echo) | Phase::Closing(_) => false,
            Phase::Speaking(_) | Phase::Waiting(_) => incomplete && !self.parked,
        };
        may_name && !self.refused && self.since <= began_by
    }

    /// Whether its dialect, if it is known, has words for a hub that is full.
    pub(super) fn can_be_told(&self) -> bool {
        self.session.dialect().is_none_or(|dialect| dialect.conduct().in_flight)
    }

    /// Whether winners are in its outbox of which its peer has taken nothing for a while.
    pub(super) fn holds_winners_back(&self, now: Moment) -> bool {
        self.outbox.has_list() && self.sent_at + limits::FLUSH_PATIENCE <= now
    }

    /// Whether so much waits for its peer that nothing more of it is decoded, until some of that is read.
    pub(super) fn is_held_by_its_reader(&self) -> bool {
        self.outbox.unsent_len() >= limits::OUTBOX_BYTES_HIGH
    }

    /// How many requests of it one turn takes.
    pub(super) fn turn_requests_max(&self, budgets: &Budgets) -> u32 {
        if self.is_agency() { budgets.connection_requests } else { budgets.untrusted_requests }
    }

    /// When bytes last came.
    pub(super) fn received_at(&self) -> Moment {
        self.received_at
    }

    /// There are bytes for the peer where there were none.
    pub(super) fn owes_bytes(&mut self, now: Moment) {
        self.sent_at = now;
        self.taken = 0;
    }

    /// The peer took `bytes`. Only a step of some size, or the last byte, gives it more time.
    pub(super) fn sent(&mut self, bytes: usize, now: Moment) {
        self.outbox.advance(bytes);
        self.taken = self.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.outbox.is_empty() || self.taken as usize >= limits::WRITE_STEP_BYTES {
            self.owes_bytes(now);
        }
    }

    /// The connection is being closed.
    pub(super) fn closing(&mut self, now: Moment) {
        self.session.close();
        self.since = now;
    }

    /// Everything that ends or decides something by time: when, and what it means then.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<(Moment, Due)> {
        let expiry = |from: Moment, after: Duration, expiry| Some((from + after, Due::Expired(expiry)));
        let unfinished = !self.session.inbox.is_empty();
        let unread = !self.outbox.is_empty();
        let silence = |after: Duration| unfinished.then_some((self.received_at + after, Due::Silence));
        let frame = expiry(self.since, policy.frame_timeout, Expiry::Frame);
        let handshake = if self.refused {
            expiry(self.since, limits::DRAIN_TIMEOUT, Expiry::Refused)
        } else {
            expiry(self.since, policy.handshake_timeout, Expiry::Handshake)
        };
        let (absolute, quiet) = match self.session.phase {
            Phase::Speaking(_) if self.refused => (handshake, None),
            Phase::Detecting { silence: Some(_) } => (handshake, silence(limits::DETECT_SILENCE)),
            Phase::Detecting { silence: None } => (handshake, None),
            // It waits for the hub, which has not answered it, or has not decoded, or not read, what may be the frame's end.
            Phase::Speaking(_) if self.owed > 0 || self.deferred || self.readable => (None, None),
            Phase::Speaking(Dialect::Echo) => (frame, silence(limits::ECHO_SILENCE)),
            // The frame waits for the reader, not for its own rest.
            Phase::Speaking(_) if self.is_held_by_its_reader() => (None, None),
            Phase::Speaking(_) if unfinished => (frame, None),
            Phase::Speaking(_) if unread => (None, None),
            Phase::Speaking(_) => (expiry(self.received_at.max(self.sent_at), policy.idle_timeout, Expiry::Idle), None),
            Phase::Waiting(_) => (None, None),
            Phase::Closing(_) if unread => (None, None),
            Phase::Closing(_) => (expiry(self.since.max(self.sent_at), limits::DRAIN_TIMEOUT, Expiry::Drained), None),
        };
        let write = if unread { expiry(self.sent_at, policy.write_timeout, Expiry::Write) } else { None };
        [write, absolute, quiet].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
