//! Everything that happens because time has passed.

use super::connection::{ConnectionId, Due, Expiry};
use super::presence::Absence;
use super::turn::{Entry, Outcome};
use super::{Connection, Hub, OnAgencyLoss};
use crate::limits;
use crate::lottery::{AgencyId, Standing};
use crate::mutants::{self, Mutant};
use crate::session::Phase;
use crate::storage::{CommitError, Disk};
use crate::timers::Moment;
use crate::wire::Dialect;

/// What counts of a connection that speaks for its agency no longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) dialect: Option<Dialect>,
    /// The agency was known to be behind it.
    pub(super) known: bool,
    pub(super) heard_at: Moment,
}

impl Departure {
    pub(super) fn of(connection: &Connection) -> Departure {
        let dialect = connection.session.dialect();
        Departure { dialect, known: connection.is_agency(), heard_at: connection.received_at() }
    }
}

/// What the hub wants to be reminded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reminder {
    /// A connection's earliest deadline.
    Connection(ConnectionId),
    /// The grace of a lost agency.
    LostAgency(AgencyId),
    /// The line that names the agencies that the draw waits for.
    Pending,
    /// The seal that closes the books of an idle store.
    Seal,
    /// Winners that wait for peers to read theirs.
    Flush,
}

impl<D: Disk> Hub<D> {
    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// Does what is due by `now`, or a slice of it, and the rest when it is called again. Bytes that came before `now`
    /// have to be received first, so that nobody is timed out for the hub's own pauses.
    ///
    /// # Errors
    /// The disk failed while the books were closed.
    pub fn tick(&mut self, now: Moment) -> Result<(), CommitError> {
        for _ in 0..limits::DUE_PER_TURN {
            let Some((at, reminder)) = self.timers.take_due(now) else { return Ok(()) };
            match reminder {
                Reminder::Connection(id) => self.connection_due(id, at, now),
                Reminder::LostAgency(agency) => self.look_for(agency, now),
                Reminder::Pending => self.log_pending(now),
                Reminder::Seal => self.seal_if_idle(now)?,
                Reminder::Flush => self.cut_slow_winners(now),
            }
        }
        Ok(())
    }

    /// Asks to be reminded of a connection's earliest deadline, unless an earlier reminder stands.
    pub(super) fn schedule(&mut self, slot: usize) {
        let Some((at, _)) = self.connections[slot].deadline(&self.policy) else { return };
        let connection = &mut self.connections[slot];
        if connection.reminder.is_none_or(|reminder| at < reminder) {
            connection.reminder = Some(at);
            let id = self.id(slot);
            self.timers.remind(Reminder::Connection(id), at);
        }
    }

    fn connection_due(&mut self, id: ConnectionId, at: Moment, now: Moment) {
        let Some(slot) = self.slot(id) else { return };
        if self.connections[slot].reminder != Some(at) {
            return;
        }
        self.connections[slot].reminder = None;
        match self.connections[slot].deadline(&self.policy) {
            Some((at, Due::Silence)) if at <= now => self.settle_by_silence(slot, now),
            Some((at, Due::Expired(expiry))) if at <= now => self.expire(slot, expiry, now),
            Some(_) | None => {}
        }
        self.schedule(slot);
    }

    fn expire(&mut self, slot: usize, expiry: Expiry, now: Moment) {
        let peer = self.connections[slot].peer;
        let reason = match expiry {
            Expiry::Handshake => "no dialect within HANDSHAKE_TIMEOUT",
            Expiry::Refused => "the hub is full",
            Expiry::Frame => "a frame begun and not ended within FRAME_TIMEOUT",
            Expiry::Idle => "nothing received for IDLE_TIMEOUT",
            Expiry::Write => "the peer does not read what it is sent, for WRITE_TIMEOUT",
            Expiry::Drained => {
                self.cut(slot, now);
                return;
            }
        };
        log::info!("action: close_connection | result: success | ip: {peer} | reason: {reason}");
        if expiry == Expiry::Write {
            self.cut(slot, now);
        } else {
            self.end(slot, now);
        }
    }

    /// Ends a connection without sending what is left.
    pub(super) fn cut(&mut self, slot: usize, now: Moment) {
        let connection = &mut self.connections[slot];
        let before = connection.buffered();
        connection.outbox = super::outbox::Outbox::default();
        connection.held = 0;
        self.buffered_bytes = self.buffered_bytes - before + connection.buffered();
        self.connections[slot].cut = true;
        self.end(slot, now);
    }

    /// Whether the connection is to be closed without waiting for its peer.
    pub fn is_cut(&self, id: ConnectionId) -> bool {
        self.slot(id).is_some_and(|slot| self.connections[slot].cut)
    }

    /// A connection speaks for `agency` no longer; was that lost?
    pub(super) fn leave(&mut self, agency: AgencyId, left: Departure, now: Moment) {
        // Dialects that open a connection per message, or may, are lost by silence only.
        let reconnects = left.dialect.is_some_and(|dialect| dialect.conduct().reconnects);
        let lost_from = if reconnects { left.heard_at + self.policy.idle_timeout } else { now };
        let Some(since) = self.presence.left(agency, left.known, lost_from) else { return };
        self.unnumbered.left(agency, &self.lottery);
        let Ok(state) = self.lottery.agency(agency) else { return };
        if state.standing != Standing::Betting || state.bets == 0 {
            return;
        }
        self.lose(agency, since.max(now));
    }

    /// Agencies with bets and no finish, none of which can be connected yet.
    pub(super) fn miss_agencies_of_an_earlier_run(&mut self, now: Moment) {
        let begun = |id: &AgencyId| self.lottery.agency(*id).is_ok_and(|state| state.bets > 0);
        let lost: Vec<AgencyId> = self.lottery.pending().filter(begun).collect();
        for agency in lost {
            self.lose(agency, now);
        }
    }

    fn lose(&mut self, agency: AgencyId, since: Moment) {
        if self.policy.on_agency_loss == OnAgencyLoss::Wait || self.lottery.drawn() {
            return;
        }
        if self.presence.lose(agency, since, since + self.policy.loss_grace) {
            self.timers.remind(Reminder::LostAgency(agency), since);
        }
    }

    /// A reminder of an agency: it may count as lost now, or its grace may have passed, so that the draw goes on
    /// without it.
    fn look_for(&mut self, agency: AgencyId, now: Moment) {
        if !self.presence.is_due(agency, now) {
            return;
        }
        if self.lottery.agency(agency).is_ok_and(|state| state.bets == 0) {
            // What it had begun with was taken back after it had left.
            return self.presence.forget(agency);
        }
        if let Some(ended) = self.presence.grace_ended(agency, now)
            && self.may_be_back(ended)
        {
            let again = now + limits::RETURN_RETRY;
            self.presence.remind_again(agency, again);
            return self.timers.remind(Reminder::LostAgency(agency), again);
        }
        let again = match self.presence.look(agency, now) {
            Absence::None if mutants::is(Mutant::IgnoreReturn) => None,
            Absence::None => return,
            Absence::Quiet(at) => Some(at),
            Absence::Lost(at) => {
                log::warn!("action: agency_lost | result: in_progress | agency: {agency}");
                Some(at)
            }
            Absence::GivenUp => None,
        };
        if let Some(at) = again {
            return self.timers.remind(Reminder::LostAgency(agency), at);
        }
        if self.lottery.exclude(agency) == Ok(true) {
            self.store.stage_exclusion(agency);
            self.turn.push(Entry { id: None, outcome: Outcome::Excluded { agency } });
        }
    }

    /// Whether a connection that may be a lost agency's was there when its grace ended: one whose first frame has begun
    /// to come, or may have, and does not name its agency yet. Time-outs end that.
    fn may_be_back(&self, grace_ended: Moment) -> bool {
        let began_by = grace_ended + limits::RETURN_LATENESS;
        self.connections.iter().any(|(_, connection)| connection.may_name_an_agency(began_by))
    }

    pub(super) fn remind_of_pending(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.pending_due, true) {
            self.timers.remind(Reminder::Pending, now + limits::PENDING_LOG_PERIOD);
        }
    }

    /// Every so often: whom the parked queries wait for.
    fn log_pending(&mut self, now: Moment) {
        self.pending_due = false;
        if self.lottery.drawn() || self.parked_count == 0 {
            return;
        }
        let mut pending: Vec<String> = self.lottery.pending().take(21).map(|id| id.to_string()).collect();
        if pending.len() > 20 {
            pending[20] = "…".to_owned();
        }
        log::info!("action: sorteo | result: in_progress | agencias_pendientes: {}", pending.join(","));
        self.remind_of_pending(now);
    }

    pub(super) fn remind_to_seal(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.seal_due, true) {
            self.timers.remind(Reminder::Seal, now + limits::SEAL_AFTER);
        }
    }

    fn seal_if_idle(&mut self, now: Moment) -> Result<(), CommitError> {
        let idle_at = self.written_at + limits::SEAL_AFTER;
        if now < idle_at || !self.turn.is_empty() {
            let at = if now < idle_at { idle_at } else { now + limits::SEAL_AFTER };
            self.timers.remind(Reminder::Seal, at);
            return Ok(());
        }
        self.seal_due = false;
        self.store.seal()
    }

    /// Whether a connection is being closed.
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.slot(id).is_none_or(|slot| matches!(self.connections[slot].session.phase, Phase::Closing(_)))
    }
}
