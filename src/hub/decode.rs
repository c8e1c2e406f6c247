//! From bytes to requests: what is decoded where it lies, and what is kept for later.

use super::Hub;
use super::events::Closing;
use super::turn::{Ending, Outcome};
use crate::session::{Phase, Progress, Step};
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::Dialect;

impl<K: Keep> Hub<K> {
    /// Decodes what is here: first what was kept, then `input`.
    pub(super) fn decode(&mut self, slot: usize, mut input: &[u8], now: Moment) {
        let detecting = matches!(self.connections[slot].session.phase, Phase::Detecting { .. });
        let mut inbox = self.connections.take_inbox(slot);
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
        if !matches!(self.connections[slot].session.phase, Phase::Closing(_)) {
            self.connections.put_inbox(slot, inbox);
            self.look_for_watch(slot, now);
        }
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
                    self.note_last(slot, Outcome::Ended(Ending::Malformed(malformed)));
                    return Progress::all(bytes);
                }
                Step::Frame { bytes: frame_bytes, request } => {
                    self.apply(slot, request, &rest[..frame_bytes], now);
                    let connection = &mut self.connections[slot];
                    self.turn.untrusted_bytes += if connection.is_agency() { 0 } else { frame_bytes };
                    let pending = connection.pending;
                    if pending >= connection.turn_requests_max(&self.scheduler.budgets)
                        || (pending > 0 && self.turn_is_full())
                    {
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
        if !self.policy.serves(dialect) {
            let echo = dialect == Dialect::Echo;
            self.emit_closing(slot, if echo { Closing::NoDialect } else { Closing::DialectIsOff(dialect) });
            return true;
        }
        connection.trust.refused && !connection.can_be_told()
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
}
