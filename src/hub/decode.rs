//! From bytes to requests: what is decoded where it lies, and what is kept for later.

use super::Hub;
use super::turn::Outcome;
use crate::session::{Phase, Progress, Step};
use crate::storage::Disk;
use crate::timers::Moment;
use crate::wire::Dialect;

impl<D: Disk> Hub<D> {
    /// Decodes what is here: first what was kept, then `input`.
    pub(super) fn decode(&mut self, slot: usize, mut input: &[u8], now: Moment) {
        let before = self.connections[slot].buffered();
        let detecting = matches!(self.connections[slot].session.phase, Phase::Detecting { .. });
        let mut inbox = std::mem::take(&mut self.connections[slot].session.inbox);
        let mut kept_only = input.is_empty();
        loop {
            let session = &self.connections[slot].session;
            if inbox.is_empty() {
                let progress = self.apply_frames(slot, input, 0, now);
                inbox.keep(input, progress);
                self.connections[slot].frame_began(now);
                break;
            }
            if !std::mem::take(&mut kept_only) {
                inbox.top_up(&mut input, session.searches_for_end() || !session.is_reading());
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
        let connection = &mut self.connections[slot];
        if !matches!(connection.session.phase, Phase::Closing(_)) {
            connection.session.inbox = inbox;
        }
        self.buffered_bytes = self.buffered_bytes + self.connections[slot].buffered() - before;
        self.shed_buffers(now);
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
                    self.connections[slot].session.wait();
                    self.note(slot, Outcome::Malformed(malformed));
                    return Progress::all(bytes);
                }
                Step::Frame { bytes: frame_bytes, request } => {
                    self.apply(slot, request, &rest[..frame_bytes], now);
                    let connection = &mut self.connections[slot];
                    self.untrusted_bytes += if connection.is_agency() { 0 } else { frame_bytes };
                    let owed = connection.owed;
                    if owed >= connection.turn_requests_max(&self.scheduler.budgets)
                        || (owed > 0 && self.turn_is_full())
                    {
                        self.connections[slot].session.wait();
                    }
                    consumed += frame_bytes;
                    scanned = 0;
                }
            }
        }
        Progress::all(bytes)
    }

    /// Whether a connection has shown a dialect that is not to be heard: no dialect at all, where echo is off, one
    /// that is switched off, or one without words for a hub that is full.
    fn is_out_of_place(&self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        let Phase::Speaking(dialect) = connection.session.phase else { return false };
        if !self.policy.hears(dialect) {
            let (peer, name) = (connection.peer, dialect.name());
            if dialect == Dialect::Echo {
                log::warn!("action: close_connection | result: success | ip: {peer} | reason: no known dialect");
            } else {
                log::warn!(
                    "action: close_connection | result: success | ip: {peer} | reason: {name} is not one of DIALECTS"
                );
            }
            return true;
        }
        connection.refused && !connection.can_be_told()
    }

    /// The bytes that are here are all that will come for now.
    pub(super) fn settle_by_silence(&mut self, slot: usize, now: Moment) {
        if self.connections[slot].session.decide_by_silence() {
            self.decode(slot, &[], now);
        }
        let session = &mut self.connections[slot].session;
        if session.phase == Phase::Speaking(Dialect::Echo) && !session.inbox.is_empty() {
            let inbox = std::mem::take(&mut session.inbox);
            self.buffered_bytes -= inbox.capacity();
            self.echo(slot, inbox.bytes());
        }
    }
}
