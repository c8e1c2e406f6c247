//! The reactor, without a system: the same calls in the same order as `src/reactor`, on connections that are
//! made up. What the hub releases is looked at before it is sent.

mod checks;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use loteria::hub::{Budgets, ConnectionId, Hub};
use loteria::limits;
use loteria::lottery::AgencyId;
use loteria::storage::CommitError;
use loteria::timers::Moment;

use crate::late::Late;
use crate::net::{ClientEnd, HubEnd, Link, LinkId, Net};
use crate::rng::Rng;
use crate::trace;

/// So many connections wait to be accepted, at most.
pub const BACKLOG: usize = 64;

/// By how much an event may come later than it could.
const LATENESS_MAX: Duration = Duration::from_millis(100);

/// Sees what the hub does, before its peers do.
pub trait Witness {
    /// Whether the machine has stopped in the midst of the turn.
    fn machine_has_stopped(&self) -> bool;
    /// A turn was committed; nothing of it has been released.
    fn committed(&mut self, hub: &Hub<Keeper>, net: &Net);
    /// The replies of a turn were released: `bytes` more for `link`.
    fn released(&mut self, hub: &Hub<Keeper>, net: &mut Net, link: LinkId, bytes: &[u8]);
    /// All replies of a turn were released.
    fn turn_ended(&mut self, hub: &Hub<Keeper>, net: &Net);
}

#[derive(Debug)]
struct Socket {
    link: LinkId,
    generation: u32,
    readable: bool,
    /// Turns for which it could have been read, and was not.
    waits: usize,
    /// How many it may be.
    patience: usize,
    read_closed: bool,
    failed: bool,
    at_end: bool,
    shut: bool,
    discarded: usize,
}

enum ReadOutcome {
    Bytes(usize),
    Nothing,
    End,
    Lost,
}

/// How much the hub takes in hand at once, and how much it is told.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The shared read buffer, in bytes.
    pub read_bytes: usize,
    /// What a connection may have read in a turn, in bytes.
    pub budget: usize,
    /// What a turn may take.
    pub budgets: Budgets,
    /// Of a hundred events, how many come later.
    pub late_percent: u32,
    /// Of a hundred turns, how many have events that tell nothing.
    pub spurious_percent: u32,
    /// Of a hundred reads, how many are the turn's last.
    pub short_turn_percent: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        let most = 1 << 20;
        Pace {
            read_bytes: 4096,
            budget: most,
            budgets: Budgets::default(),
            late_percent: 0,
            spurious_percent: 0,
            short_turn_percent: 0,
        }
    }
}

/// What a poll told.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    /// When it began.
    pub before: Moment,
    /// It told nothing: the hub was stopped while it waited.
    pub interrupted: bool,
}

/// Where the hub keeps its turns.
pub type Keeper = Late;

/// A hub that runs.
pub struct Reactor {
    pub hub: Hub<Keeper>,
    sockets: Vec<Option<Socket>>,
    writable: Vec<ConnectionId>,
    scratch: Vec<u8>,
    pace: Pace,
    last_turn: Moment,
}

impl Reactor {
    pub fn new(mut hub: Hub<Keeper>, pace: Pace, now: Moment) -> Reactor {
        hub.watermark().set_backlog(BACKLOG);
        hub.set_budgets(pace.budgets);
        Reactor {
            hub,
            sockets: Vec::new(),
            writable: Vec::new(),
            scratch: vec![0; pace.read_bytes],
            pace,
            last_turn: now,
        }
    }

    /// Goes on at another pace.
    pub fn set_pace(&mut self, pace: Pace) {
        self.hub.set_budgets(pace.budgets);
        self.scratch = vec![0; pace.read_bytes];
        self.pace = pace;
    }

    /// Whether a turn would do anything without an event.
    pub fn is_busy(&self) -> bool {
        self.hub.has_reads() || !self.writable.is_empty() || self.hub.has_work() || !self.hub.is_settled()
    }

    /// One turn of the loop, after a poll.
    pub fn turn(
        &mut self,
        net: &mut Net,
        rng: &mut Rng,
        polled: Polled,
        now: Moment,
        witness: &mut impl Witness,
    ) -> Result<(), CommitError> {
        self.hub.polled(polled.before);
        if !polled.interrupted {
            self.note_events(net, rng, now);
        }
        self.accept(net, now);
        if !rng.once_in(4) {
            self.write_ready(net, now, witness);
        }
        let is_whole = self.read_all(net, rng, now);
        self.check_watermark(net, now);
        self.check_fairness(net, is_whole);
        let judged = self.hub.watermark().at();
        self.hub.tick(judged)?;
        self.end_turn(net, now, witness)
    }

    /// Commits, then sends what the commit released.
    pub fn end_turn(&mut self, net: &mut Net, now: Moment, witness: &mut impl Witness) -> Result<(), CommitError> {
        let committed = self.hub.commit(now)?;
        if witness.machine_has_stopped() {
            return Err(CommitError::Fatal(std::io::Error::other("the machine has stopped")));
        }
        witness.committed(&self.hub, net);
        self.hub.release(committed, now);
        self.write_all(net, now, witness);
        witness.turn_ended(&self.hub, net);
        Ok(())
    }

    /// While the hub stops: sends what its peers take.
    pub fn flush(&mut self, net: &mut Net, now: Moment, witness: &mut impl Witness) {
        let open: Vec<ConnectionId> = self.hub.peers().map(|(id, _)| id).collect();
        self.writable.extend(open);
        self.write_all(net, now, witness);
    }

    /// Closes every connection.
    pub fn close_all(&mut self, net: &mut Net, now: Moment) {
        let open: Vec<ConnectionId> = self.hub.peers().map(|(id, _)| id).collect();
        open.into_iter().for_each(|id| self.close(net, id, now));
    }

    fn note_events(&mut self, net: &mut Net, rng: &mut Rng, now: Moment) {
        let spurious = rng.percent(self.pace.spurious_percent);
        // What comes a little later could have come later; what waits while time passes is told.
        let prompt = self.last_turn.until(now) > LATENESS_MAX;
        self.last_turn = now;
        for index in 0..net.live.len() {
            let link = &mut net.links[net.live[index]];
            let HubEnd::Open(id) = link.hub else { continue };
            let told = link.edge_read || link.edge_write;
            // First bytes are told at once: a pause behind them could mean something.
            let late = told && !prompt && link.up_read >= 12 && rng.percent(self.pace.late_percent);
            if late {
                link.unread_since = link.unread_since.map(|_| now);
                link.room_since = link.room_since.map(|_| now);
            }
            if late || !(told || spurious) {
                continue;
            }
            let read = std::mem::take(&mut link.edge_read) || (spurious && rng.once_in(2));
            let write = std::mem::take(&mut link.edge_write) || (spurious && rng.once_in(2));
            let (ended, failed) = (link.fin_arrived || link.reset, link.reset);
            let Some(socket) = socket_of(&mut self.sockets, id) else { continue };
            if read {
                socket.readable = true;
                socket.read_closed |= ended;
                socket.failed |= failed;
                self.hub.readable(id);
                if failed && !self.hub.wants_read(id) {
                    self.close(net, id, now);
                    continue;
                }
            }
            if write {
                self.writable.push(id);
            }
        }
    }

    fn accept(&mut self, net: &mut Net, now: Moment) {
        for _ in 0..self.hub.accepts() {
            let Some(link) = net.backlog.pop_front() else { return self.hub.watermark().none_to_accept() };
            self.hub.watermark().accepted();
            let Some(id) = self.admit(net, link, now) else {
                trace::event("hub has too many connections", &[("link", link as u64)]);
                close_end(net, link);
                continue;
            };
            let end = &mut net.links[link];
            end.hub = HubEnd::Open(id);
            if let Some(agency) = end.certified {
                self.hub.certify(id, AgencyId(agency));
            }
            let slot = id.slot as usize;
            if slot >= self.sockets.len() {
                self.sockets.resize_with(slot + 1, || None);
            }
            self.sockets[slot] = Some(Socket {
                link,
                generation: id.generation,
                readable: true,
                waits: 0,
                patience: 0,
                read_closed: false,
                failed: false,
                at_end: false,
                shut: false,
                discarded: 0,
            });
            trace::event("hub accepts", &[("link", link as u64), ("slot", u64::from(id.slot))]);
            // An end that came before is told like one that comes now.
            net.links[link].edge_read = true;
            self.hub.readable(id);
        }
    }

    fn admit(&mut self, net: &mut Net, link: LinkId, now: Moment) -> Option<ConnectionId> {
        let peer = peer_of(&net.links[link]);
        if let Ok(id) = self.hub.open(peer, now) {
            return Some(id);
        }
        if let Some(id) = self.hub.evict(Some(peer.ip())) {
            self.close(net, id, now);
            if let Ok(id) = self.hub.open(peer, now) {
                return Some(id);
            }
        }
        net.links[link].refused = true;
        self.hub.refuse(peer, now)
    }

    /// Says whether the turn was whole: it has read all that the hub granted.
    fn read_all(&mut self, net: &mut Net, rng: &mut Rng, now: Moment) -> bool {
        self.hub.begin_reads(now);
        let mut is_whole = true;
        loop {
            if rng.percent(self.pace.short_turn_percent) {
                is_whole = false;
                break;
            }
            let Some(grant) = self.hub.next_read(true) else { break };
            let bytes = self.read(net, grant.id, grant.bytes.min(self.pace.budget), now);
            let more = socket_of(&mut self.sockets, grant.id).is_some_and(|socket| socket.readable);
            self.hub.read(grant, bytes, more);
        }
        self.hub.end_reads(now);
        is_whole
    }

    fn read(&mut self, net: &mut Net, id: ConnectionId, budget: usize, now: Moment) -> usize {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return 0 };
        (socket.waits, socket.patience) = (0, 0);
        let mut left = budget;
        while socket.readable && left > 0 {
            let room = self.hub.read_room(id).min(left).min(self.scratch.len());
            if room == 0 {
                break;
            }
            match socket.read(net, &mut self.scratch[..room]) {
                ReadOutcome::Bytes(bytes) => {
                    left -= bytes;
                    if self.hub.is_closing(id) && socket.discard(bytes) {
                        self.close(net, id, now);
                        return budget - left;
                    }
                    self.hub.receive(id, &self.scratch[..bytes], now);
                    socket.readable |= self.hub.commits_wait();
                }
                ReadOutcome::Nothing => {}
                ReadOutcome::End => self.hub.half_close(id, now),
                ReadOutcome::Lost => {
                    self.close(net, id, now);
                    return budget - left;
                }
            }
        }
        let lost = socket.failed && socket.readable;
        self.close_if_done(net, id, now);
        if lost && !self.hub.wants_read(id) {
            self.close(net, id, now);
        }
        budget - left
    }

    fn write_all(&mut self, net: &mut Net, now: Moment, witness: &mut impl Witness) {
        self.write_ready(net, now, witness);
        while let Some(id) = self.hub.take_dirty() {
            self.write(net, id, now, witness);
        }
    }

    fn write_ready(&mut self, net: &mut Net, now: Moment, witness: &mut impl Witness) {
        for id in std::mem::take(&mut self.writable) {
            self.write(net, id, now, witness);
        }
        self.hub.watermark().writes_tried();
    }

    fn write(&mut self, net: &mut Net, id: ConnectionId, now: Moment, witness: &mut impl Witness) {
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        let link = socket.link;
        net.links[link].room_since = None;
        let outgoing = self.hub.unsent(id);
        let known = net.links[link].tapped.saturating_sub(net.links[link].down.len());
        if known < outgoing.len() {
            witness.released(&self.hub, net, link, &outgoing[known..]);
            net.links[link].tapped += outgoing.len() - known;
        }
        loop {
            let outgoing = self.hub.outgoing(id);
            if outgoing.is_empty() {
                break;
            }
            match socket.write(net, outgoing) {
                Ok(0) => break,
                Ok(bytes) => self.hub.sent(id, bytes, now),
                Err(()) => return self.close(net, id, now),
            }
        }
        self.close_if_done(net, id, now);
    }

    fn close_if_done(&mut self, net: &mut Net, id: ConnectionId, now: Moment) {
        if !self.hub.is_done(id) {
            return;
        }
        let Some(socket) = socket_of(&mut self.sockets, id) else { return };
        if !std::mem::replace(&mut socket.shut, true) {
            net.links[socket.link].hub_fin = true;
            net.links[socket.link].ended_in_order = socket.at_end;
        }
        if socket.at_end || self.hub.is_cut(id) {
            self.close(net, id, now);
        }
    }

    pub fn close(&mut self, net: &mut Net, id: ConnectionId, now: Moment) {
        let Some(socket) = self.sockets.get_mut(id.slot as usize) else { return };
        let Some(Socket { link, .. }) = socket.take_if(|socket| socket.generation == id.generation) else { return };
        trace::event("hub closes", &[("link", link as u64)]);
        self.hub.closed(id, now);
        close_end(net, link);
    }
}

/// Each agency has an address of its own; untrusted peers share one.
fn peer_of(link: &Link) -> SocketAddr {
    let host = link.agency.filter(|_| !link.untrusted).unwrap_or(0);
    SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + host), 40_000))
}

/// The hub's end of a link is closed. Bytes that nobody read make that a reset, which can destroy what is on its way.
fn close_end(net: &mut Net, link: LinkId) {
    let link = &mut net.links[link];
    link.hub = HubEnd::Closed;
    link.hub_fin = true;
    if link.up_read < link.up.len() && !link.reset {
        link.reset = true;
        link.over = true;
    }
}

impl Socket {
    fn read(&mut self, net: &mut Net, buffer: &mut [u8]) -> ReadOutcome {
        let link = &mut net.links[self.link];
        let there = link.up_arrived - link.up_read;
        if link.reset {
            return ReadOutcome::Lost;
        }
        // What a read leaves is read again before what comes later counts as read.
        link.unread_since = None;
        if there == 0 {
            self.readable = false;
            self.at_end |= link.fin_arrived;
            return if link.fin_arrived { ReadOutcome::End } else { ReadOutcome::Nothing };
        }
        let bytes = there.min(buffer.len());
        buffer[..bytes].copy_from_slice(&link.up[link.up_read..link.up_read + bytes]);
        link.up_read += bytes;
        self.readable = bytes == buffer.len() || self.read_closed;
        trace::event("hub reads", &[("link", self.link as u64), ("bytes", bytes as u64)]);
        ReadOutcome::Bytes(bytes)
    }

    fn write(&mut self, net: &mut Net, bytes: &[u8]) -> Result<usize, ()> {
        let link = &mut net.links[self.link];
        if link.reset || self.shut {
            return Err(());
        }
        if link.client == ClientEnd::Closed && link.fin_arrived {
            link.break_off();
        }
        let taken = bytes.len().min(link.room);
        link.room -= taken;
        link.down.extend_from_slice(&bytes[..taken]);
        if taken > 0 {
            trace::event("hub writes", &[("link", self.link as u64), ("bytes", taken as u64)]);
            trace::bytes(&bytes[..taken]);
        }
        Ok(taken)
    }

    fn discard(&mut self, bytes: usize) -> bool {
        self.discarded += bytes;
        self.discarded > limits::DISCARD_BYTES_MAX
    }
}

fn socket_of(sockets: &mut [Option<Socket>], id: ConnectionId) -> Option<&mut Socket> {
    sockets.get_mut(id.slot as usize)?.as_mut().filter(|socket| socket.generation == id.generation)
}
