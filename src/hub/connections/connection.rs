//! One slot of the slab: a session, its outbox and its deadlines.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::outbox::Outbox;
use crate::hub::policy::Policy;
use crate::limits;
use crate::lottery::AgencyId;
use crate::session::{Inbox, Phase, Session};
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

/// The peer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The connection; it may be gone.
    pub id: ConnectionId,
    /// Its peer's address.
    pub ip: IpAddr,
    /// Its peer's port; 0 where the connection is gone, as the address is unspecified then.
    pub port: u16,
}

/// A frame of which not all has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The dialect that it is read in.
    pub dialect: Option<Dialect>,
    /// Bytes of it that are there.
    pub bytes: usize,
    /// Its length in bytes, where its header is there.
    pub length: Option<usize>,
}

/// Why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Its dialect did not show in time.
    Handshake,
    /// The hub is full, and the connection did not show in time in which dialect the reply should be.
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

/// A connection as the hub keeps it. What counts in a sum over all connections is changed by [`Connections`] only.
///
/// [`Connections`]: super::Connections
#[derive(Debug)]
pub struct Connection {
    pub(in crate::hub) session: Session,
    /// The unfinished frame, and what waits behind it.
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    /// Bytes that the transport keeps for it outside the hub.
    pub(super) held: u32,
    /// Its query waits for the draw.
    pub(super) parked: bool,
    pub(in crate::hub) generation: u32,
    address: Address,
    /// How many of its requests wait for a commit, and so for their replies.
    pub(in crate::hub) pending: u32,
    pub(in crate::hub) trust: Trust,
    pub(in crate::hub) flags: Flags,
    times: Times,
    /// Bytes that its peer has taken since [`Times::sent_at`].
    taken: u32,
}

/// A peer's address in 18 bytes, where a `SocketAddr` takes 32: an IPv4 address is kept as the IPv6 address that stands for it.
#[derive(Clone, Copy, Debug)]
struct Address {
    ip: Ipv6Addr,
    port: u16,
}

impl Address {
    fn of(peer: SocketAddr) -> Address {
        let ip = match peer.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Address { ip, port: peer.port() }
    }
}

/// What is known of the party behind a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust {
    /// It was accepted only to be refused with a reply.
    pub(in crate::hub) refused: bool,
    /// It may be in its handshake: what its socket has may be a step of that, which is dear.
    pub(in crate::hub) handshaking: bool,
    /// A batch or the finish of the agency that it speaks for was committed by it.
    pub(in crate::hub) has_committed: bool,
    /// The agency that it speaks for is new to it: the first request of that agency which is carried out makes a hello.
    pub(in crate::hub) greets: bool,
    /// Requests of it that were refused.
    pub(in crate::hub) refusals: u32,
}

/// Which queues a connection is in, and why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    /// To be closed at once, whatever its peer does.
    pub(in crate::hub) cut: bool,
    /// In the queue of connections to write to.
    pub(in crate::hub) write: bool,
    /// In the queue of connections with undecoded bytes that can be decoded again.
    pub(in crate::hub) deferred: bool,
    /// In the read queue.
    pub(in crate::hub) read: bool,
    /// Its socket may have something to read.
    pub(in crate::hub) readable: bool,
}

/// What its deadlines are counted from.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// The earliest reminder that is in the timers.
    reminder: Option<Moment>,
    received_at: Moment,
    /// When the present phase of decoding began: the connection, the frame, or the closing.
    since: Moment,
    /// When the peer last took a step of what it has to read, or first had something to read.
    sent_at: Moment,
}

// Ten thousand idle connections are mostly this.
const _: () = assert!(size_of::<Connection>() <= 168);

impl Connection {
    pub(super) fn new(generation: u32, peer: SocketAddr, refused: bool, now: Moment) -> Connection {
        Connection {
            session: Session::default(),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            held: 0,
            parked: false,
            generation,
            address: Address::of(peer),
            pending: 0,
            trust: Trust { refused, ..Trust::default() },
            flags: Flags::default(),
            times: Times { reminder: None, received_at: now, since: now, sent_at: now },
            taken: 0,
        }
    }

    /// The address of its peer.
    pub(in crate::hub) fn ip(&self) -> IpAddr {
        self.address.ip.to_canonical()
    }

    /// Its peer, by the connection's `id`.
    pub(in crate::hub) fn peer(&self, id: ConnectionId) -> Peer {
        Peer { id, ip: self.ip(), port: self.address.port }
    }

    /// Whether the first request of `agency` is carried out, which it speaks for: says so once.
    pub(in crate::hub) fn greets(&mut self, agency: AgencyId) -> bool {
        self.session.agency == Some(agency) && std::mem::take(&mut self.trust.greets)
    }

    /// The agency that it has spoken for, in a request that was carried out.
    pub(in crate::hub) fn spoke_for(&self) -> Option<AgencyId> {
        self.session.agency.filter(|_| !self.trust.greets)
    }

    /// Its unfinished frame.
    pub(in crate::hub) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// How much of its unfinished frame is there.
    pub(in crate::hub) fn unfinished(&self) -> Unfinished {
        let dialect = self.session.dialect();
        let has_length = !self.session.server_rules().searches_for_end && self.inbox.need() > limits::HEADER_BYTES_MAX;
        Unfinished { dialect, bytes: self.inbox.len(), length: has_length.then_some(self.inbox.need()) }
    }

    /// What waits for its peer.
    pub(in crate::hub) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether its peer may send more, and is decoded.
    pub(in crate::hub) fn is_open(&self) -> bool {
        !self.session.half_closed && !matches!(self.session.phase, Phase::Closing(_))
    }

    /// Whether its query waits for the draw.
    pub(in crate::hub) fn is_parked(&self) -> bool {
        self.parked
    }

    /// Bytes of buffers held.
    pub(in crate::hub) fn buffered(&self) -> usize {
        self.inbox.capacity() + self.outbox.capacity() + self.held as usize
    }

    /// The earliest reminder that is in the timers.
    pub(in crate::hub) fn reminder(&self) -> Option<Moment> {
        self.times.reminder
    }

    /// The timers have this reminder of it, or none.
    pub(in crate::hub) fn set_reminder(&mut self, reminder: Option<Moment>) {
        self.times.reminder = reminder;
    }

    /// Bytes came.
    pub(in crate::hub) fn received(&mut self, now: Moment) {
        self.times.received_at = now;
    }

    /// The bytes that are kept now, if any, are the start of a new frame. While the dialect is open the time
    /// goes on from the connection's start: a deadline that every byte moved would be none. So it does for one that
    /// is refused, whatever it says.
    pub(in crate::hub) fn frame_began(&mut self, now: Moment) {
        if !self.trust.refused && !matches!(self.session.phase, Phase::Detecting { .. } | Phase::Closing(_)) {
            self.times.since = now;
        }
    }

    /// Whether a connection whose dialect is open was made longer than `age` ago.
    fn opened_before(&self, now: Moment, age: Duration) -> bool {
        self.times.since + age < now
    }

    /// Whether its present frame, which began by `began_by`, may still name an agency.
    pub(in crate::hub) fn may_name_an_agency(&self, began_by: Moment) -> bool {
        let incomplete = self.flags.deferred || self.flags.readable || !self.inbox.is_empty();
        let may_name = match self.session.phase {
            Phase::Detecting { .. } => true,
            Phase::Speaking(Dialect::Echo) | Phase::Closing(_) => false,
            Phase::Speaking(_) | Phase::Paused(_) => incomplete && !self.parked,
        };
        may_name && !self.trust.refused && self.times.since <= began_by
    }

    /// Whether its dialect, if it is known, has words for a hub that is full.
    pub(in crate::hub) fn can_be_told(&self) -> bool {
        self.session.dialect().is_none_or(|dialect| dialect.server_rules().in_flight)
    }

    /// Whether winners are in its outbox of which its peer has taken nothing for a while.
    pub(in crate::hub) fn holds_winners_back(&self, now: Moment) -> bool {
        self.outbox.has_list() && self.times.sent_at + limits::FLUSH_PATIENCE <= now
    }

    /// Whether so much waits for its peer that nothing more of it is decoded, until some of that is read.
    pub(in crate::hub) fn is_held_by_its_reader(&self) -> bool {
        self.outbox.unsent_len() >= limits::OUTBOX_BYTES_HIGH
    }

    /// When bytes last came.
    pub(in crate::hub) fn received_at(&self) -> Moment {
        self.times.received_at
    }

    /// Its outbox, for more: there are bytes for the peer from now on, where there were none.
    pub(super) fn outbox_for_more(&mut self, now: Moment) -> &mut Outbox {
        if self.outbox.is_empty() {
            (self.times.sent_at, self.taken) = (now, 0);
        }
        &mut self.outbox
    }

    /// The peer took `bytes`. Only a step of some size, or the last byte, gives it more time.
    pub(super) fn sent(&mut self, bytes: usize, now: Moment) {
        self.outbox.advance(bytes);
        self.taken = self.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.outbox.is_empty() || self.taken as usize >= limits::WRITE_STEP_BYTES {
            (self.times.sent_at, self.taken) = (now, 0);
        }
    }

    /// The connection is being closed.
    pub(super) fn close(&mut self, now: Moment) {
        self.session.close();
        self.inbox = Inbox::default();
        self.parked = false;
        self.times.since = now;
    }

    /// Everything that ends or decides something by time: when, and what it means then.
    pub(in crate::hub) fn deadline(&self, policy: &Policy) -> Option<(Moment, Due)> {
        let expiry = |from: Moment, after: Duration, expiry| Some((from + after, Due::Expired(expiry)));
        let unfinished = !self.inbox.is_empty();
        let unread = !self.outbox.is_empty();
        let silence = |after: Duration| unfinished.then_some((self.times.received_at + after, Due::Silence));
        let frame = expiry(self.times.since, policy.frame_timeout, Expiry::Frame);
        let handshake = if self.trust.refused {
            expiry(self.times.since, limits::DRAIN_TIMEOUT, Expiry::Refused)
        } else {
            expiry(self.times.since, policy.handshake_timeout, Expiry::Handshake)
        };
        let (absolute, quiet) = match self.session.phase {
            Phase::Speaking(_) if self.trust.refused => (handshake, None),
            Phase::Detecting { silence: Some(_) } => (handshake, silence(limits::DETECT_SILENCE)),
            Phase::Detecting { silence: None } => (handshake, None),
            // It waits for the hub, which has not answered it, or has not decoded, or not read, what may be the frame's end.
            Phase::Speaking(_) if self.pending > 0 || self.flags.deferred || self.flags.readable => (None, None),
            Phase::Speaking(Dialect::Echo) => (frame, silence(limits::ECHO_SILENCE)),
            // The frame waits for the reader, not for its own rest.
            Phase::Speaking(_) if self.is_held_by_its_reader() => (None, None),
            Phase::Speaking(_) if unfinished => (frame, None),
            Phase::Speaking(_) if unread => (None, None),
            Phase::Speaking(_) => {
                (expiry(self.times.received_at.max(self.times.sent_at), policy.idle_timeout, Expiry::Idle), None)
            }
            Phase::Paused(_) => (None, None),
            Phase::Closing(_) if unread => (None, None),
            Phase::Closing(_) => {
                (expiry(self.times.since.max(self.times.sent_at), limits::DRAIN_TIMEOUT, Expiry::Drained), None)
            }
        };
        let write = if unread { expiry(self.times.sent_at, policy.write_timeout, Expiry::Write) } else { None };
        [write, absolute, quiet].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether it should have shown its dialect by now. A refused connection takes no slot from others.
    pub(in crate::hub) fn is_undecided(&self, now: Moment) -> bool {
        let detecting = matches!(self.session.phase, Phase::Detecting { .. });
        detecting && !self.trust.refused && self.opened_before(now, limits::UNDECIDED_GRACE)
    }

    /// Whether it is trusted, or refused: a refused connection takes no slot from others.
    pub(in crate::hub) fn is_known(&self) -> bool {
        self.is_agency() || self.trust.refused
    }

    /// Whether it has a certificate, or brought bets or the finish of the agency that it speaks for.
    pub(in crate::hub) fn is_agency(&self) -> bool {
        self.trust.has_committed || self.session.certified.is_some()
    }
}
