//! What happens to a connection: bytes, which are decoded where they lie or kept for later; ends, and the hub's own end.

use super::Hub;
use super::connections::{Connection, ConnectionId};
use super::events::{Closing, Event};
use super::turn::{Ending, Outcome};
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::session::{Phase, Progress, Step};
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::Dialect;

impl<K: Keep> Hub<K> {
    /// A certificate says that the connection may speak for `agency` only.
    pub fn certify(&mut self, id: ConnectionId, agency: AgencyId) {
        if let Some(slot) = self.connections.slot(id) {
            self.know(slot, |connection| connection.session.certified = Some(agency));
        }
    }

    /// The transport is of no use any more: nothing further is decoded, and the connection is closed.
    pub fn hang_up(&mut self, id: ConnectionId, now: Moment) {
        if let Some(slot) = self.connections.slot(id) {
            self.end(slot, now);
        }
    }

    /// Bytes came from a peer.
    pub fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        if let Phase::Closing(_) = self.connections[slot].session.phase {
            return;
        }
        self.connections[slot].received(now);
        self.decode(slot, bytes, now);
        self.schedule(slot);
    }

    /// Decodes the inbox, then `input`.
    pub(super) fn decode(&mut self, slot: usize, mut input: &[u8], now: Moment) {
        let detecting = matches!(self.connections[slot].session.phase, Phase::Detecting { .. });
        let mut inbox = self.connections.take_inbox(slot);
        let mut kept_only = input.is_empty();
        loop {
            let session = &self.connections[slot].session;
            if inbox.is_empty() {
                let progress = self.apply_frames(slot, input, 0, now);
                if progress.consumed < input.len() {
                    inbox.keep(input, progress);
                }
                self.connections[slot].frame_began(now);
                break;
            }
            if !std::mem::take(&mut kept_only) {
                inbox.top_up(&mut input, session.server_rules().searches_for_end || !session.is_reading());
            }
            let progress = self.apply_frames(slot, inbox.bytes(), inbox.scanned(), now);
            inbox.consume(progress);
            if progress.consumed > 0 || detecting {
                self.connections[slot].frame_began(now);
            }
            if input.is_empty() {
                break;
            }
        }
        if !inbox.is_empty() && !matches!(self.connections[slot].session.phase, Phase::Closing(_)) {
            self.connections.put_inbox(slot, inbox);
            if self.connections[slot].is_parked() {
                self.look_for_watch(slot, now);
            }
        }
    }

    /// Applies every whole frame of `bytes`, of which `scanned` have been looked at before.
    fn apply_frames(&mut self, slot: usize, bytes: &[u8], mut scanned: usize, now: Moment) -> Progress {
        let mut consumed = 0;
        while consumed < bytes.len() {
            let rest = &bytes[consumed..];
            let session = &mut self.connections[slot].session;
            let step = session.step(rest, scanned, self.policy.frame_bytes_max);
            if self.is_out_of_place(slot) {
                self.end(slot, now);
                return Progress::all(bytes);
            }
            match step {
                Step::NeedMore { need, scanned } => return Progress { consumed, need, scanned },
                Step::Paused => {
                    let closing = matches!(self.connections[slot].session.phase, Phase::Closing(_));
                    let held = Progress { consumed, need: rest.len() + 1, scanned: 0 };
                    return if closing { Progress::all(bytes) } else { held };
                }
                Step::Malformed(malformed) => {
                    self.note_last(slot, Outcome::Ended(Ending::Malformed(malformed)));
                    return Progress::all(bytes);
                }
                Step::Frame { bytes: frame_bytes, request } => {
                    self.apply(slot, request, &rest[..frame_bytes], now);
                    let (budgets, connection) = (&self.scheduler.budgets, &self.connections[slot]);
                    let (untrusted_bytes, requests_max) = if connection.is_agency() {
                        (0, budgets.connection_requests)
                    } else {
                        (frame_bytes, budgets.untrusted_requests)
                    };
                    self.turn.untrusted_bytes += untrusted_bytes;
                    let pending = connection.pending;
                    if pending >= requests_max || (pending > 0 && self.turn_is_full()) {
                        self.connections[slot].session.pause();
                    }
                    consumed += frame_bytes;
                    scanned = 0;
                }
            }
        }
        Progress::all(bytes)
    }

    /// Whether a connection has shown a dialect that is not served: no dialect at all, where echo is off, one
    /// that is switched off, or one without words for a hub that is full.
    fn is_out_of_place(&mut self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        let Phase::Speaking(dialect) = connection.session.phase else { return false };
        let cannot_be_told = connection.trust.refused && !connection.can_be_told();
        let (is_served, why) = if dialect == Dialect::Echo {
            (self.policy.echo, Closing::NoDialect)
        } else {
            (self.policy.dialects.contains(&dialect), Closing::DialectIsOff(dialect))
        };
        if !is_served {
            self.emit_closing(slot, why);
        }
        !is_served || cannot_be_told
    }

    /// The bytes that are here are all that will come for now.
    pub(super) fn settle_by_silence(&mut self, slot: usize, now: Moment) {
        if self.connections[slot].session.decide_by_silence() {
            self.decode(slot, &[], now);
        }
        let connection = &self.connections[slot];
        if connection.session.phase == Phase::Speaking(Dialect::Echo) && !connection.inbox().is_empty() {
            let inbox = self.connections.take_inbox(slot);
            self.echo(slot, inbox.bytes());
        }
    }

    /// A peer will send no more; what it has sent still counts. A client that ends its side and waits for its winners
    /// does so right behind its query; one that ends it later, while its query is parked, has closed: on the wire the two
    /// look alike.
    pub fn half_close(&mut self, id: ConnectionId, now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        self.connections[slot].session.half_closed = true;
        // What came by the watermark was read: an end that waited longer to be read has come later than that.
        let read_by = self.scheduler.watermark.at();
        let connection = &self.connections[slot];
        if connection.is_parked() && connection.received_at() + limits::HALF_CLOSE_GRACE < read_by {
            self.emit_closing(slot, Closing::PeerHasClosed);
            return self.cut(slot, now);
        }
        self.settle_by_silence(slot, now);
        self.end_if_nothing_is_left(slot, now);
        self.schedule(slot);
    }

    /// A connection is gone, by its peer's doing or the reactor's. Its slot is free for another.
    pub fn closed(&mut self, id: ConnectionId, now: Moment) {
        let Some(slot) = self.connections.slot(id) else { return };
        let connection = self.connections.remove(slot);
        self.admission.left(&connection);
        let (peer, dialect, agency) = (connection.peer(id), connection.session.dialect(), connection.spoke_for());
        self.emit(&Event::ConnectionEnded { peer, dialect, agency });
        self.departed(id, &connection, now);
        self.clear_leftovers();
    }

    /// Ends every conversation with the next commit: nothing more is decoded; what is queued may still be sent.
    pub fn shut_down(&mut self, now: Moment) {
        for slot in self.connections.slots() {
            self.connections.unpark(slot);
            let connection = &self.connections[slot];
            // One that waits for a turn in flight gets its reply, and is closed behind it.
            if connection.session.server_rules().in_flight || connection.pending > 0 {
                self.note_last(slot, Outcome::Ended(Ending::ShuttingDown));
            } else {
                self.end(slot, now);
            }
        }
    }

    /// Ends the connections that wait for a turn in flight and can go on at another hub, exactly where they were: their
    /// dialect numbers batches.
    pub fn part_with_resumable(&mut self, now: Moment) {
        for slot in self.connections.slots() {
            let connection = &self.connections[slot];
            if connection.pending > 0 && connection.session.server_rules().in_flight && !connection.flags.cut {
                self.emit_closing(slot, Closing::StoreIsAway);
                self.cut(slot, now);
            }
        }
    }

    /// Ends a half-closed connection that waits for no reply and has nothing left to decode. Whole frames may be left in the
    /// inbox of a connection with deferred work, or whose peer does not read.
    pub(super) fn end_if_nothing_is_left(&mut self, slot: usize, now: Moment) {
        let connection = &self.connections[slot];
        let waits = matches!(connection.session.phase, Phase::Paused(_));
        let undecoded = connection.flags.deferred || connection.is_held_by_its_reader();
        let goes_on = undecoded && !mutants::is(Mutant::DropHeldBack);
        if connection.session.half_closed && !waits && !goes_on && connection.pending == 0 {
            if !connection.inbox().is_empty() {
                self.emit(&Event::CutShort { peer: self.peer_in(slot) });
            }
            self.end(slot, now);
        }
    }

    /// Stops decoding a connection; it is closed once its outbox is empty.
    pub(super) fn end(&mut self, slot: usize, now: Moment) {
        self.connections.close(slot, now);
        self.queue_write(slot);
    }

    /// Ends a connection without sending what is left.
    pub(super) fn cut(&mut self, slot: usize, now: Moment) {
        self.connections.cut(slot);
        self.end(slot, now);
    }

    /// Drops what connections that are gone have left in queues, once that is most of them: peers that come and
    /// go must not make the hub grow.
    fn clear_leftovers(&mut self) {
        let connections = &self.connections;
        let is_parked = |id| connections.by_id(id).is_some_and(Connection::is_parked);
        self.parked.clear_leftovers(connections.parked(), is_parked);
        self.scheduler.deferred.clear_leftovers(connections.len(), |id| connections.slot(id).is_some());
        let stands = |id, at| connections.by_id(id).is_some_and(|connection| connection.reminder() == Some(at));
        self.reminders.clear_leftovers(stands);
    }
}
