//! Whose agencies' connections are there: claims, departures, and what becomes of an agency that is lost.

use super::connections::{Connection, ConnectionId};
use super::deadlines::Reminder;
use super::events::{Event, Peer};
use super::presence::{Absence, Presence};
use super::turn::{Entry, Outcome};
use super::unnumbered::Unnumbered;
use super::{Hub, OnAgencyLoss};
use crate::limits;
use crate::lottery::{AgencyId, Lottery, Refusal, Standing};
use crate::mutants::{self, Mutant};
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::{Dialect, Rejection, Speaker};

/// Which agencies are connected, and which no connection has claimed.
#[derive(Debug)]
pub(super) struct Liveness {
    pub(super) presence: Presence,
    unnumbered: Unnumbered,
}

impl Liveness {
    /// Without connections. An unnumbered connection gets an agency of `pool`; an empty pool is all agencies.
    pub(super) fn new(pool: &[AgencyId], lottery: &Lottery) -> Liveness {
        let presence = Presence::default();
        Liveness { unnumbered: Unnumbered::new(pool, lottery, &presence), presence }
    }

    /// Counts the agencies again that no connection or bet has claimed: bets may be gone.
    pub(super) fn count_unclaimed(&mut self, lottery: &Lottery) {
        self.unnumbered.count_again(lottery, &self.presence);
    }

    /// Counts again what is kept as sums. `agencies` has the present agency of every connection that speaks for one, and
    /// whether it is known.
    pub(super) fn assert_counts(&self, lottery: &Lottery, agencies: impl Iterator<Item = (AgencyId, bool)>) {
        self.unnumbered.assert_counts(lottery, &self.presence);
        self.presence.assert_counts(agencies);
    }
}

/// What counts of a connection that speaks for its agency no longer.
#[derive(Clone, Copy, Debug)]
struct Departure {
    dialect: Option<Dialect>,
    /// The agency was known to be behind it.
    known: bool,
    received_at: Moment,
}

impl Departure {
    fn of(connection: &Connection) -> Departure {
        let dialect = connection.session.dialect();
        Departure { dialect, known: connection.is_agency(), received_at: connection.received_at() }
    }
}

impl<K: Keep> Hub<K> {
    /// Which agency a request speaks for, if it may.
    pub(super) fn speaker(&mut self, slot: usize, speaker: Speaker) -> Result<AgencyId, Rejection> {
        let agency = match (speaker, self.connections[slot].session.agency) {
            (Speaker::Named(agency), _) => agency,
            (Speaker::Connection, Some(agency)) => agency,
            (Speaker::Connection, None) => self.free_agency(slot).ok_or(Refusal::UnknownAgency)?,
        };
        self.claim(slot, agency)?;
        Ok(agency)
    }

    /// The first agency that an unnumbered connection may be: neither a connection nor a stored bet has
    /// claimed it.
    fn free_agency(&self, slot: usize) -> Option<AgencyId> {
        self.connections[slot].session.certified.or_else(|| self.liveness.unnumbered.first())
    }

    /// The connection speaks for `agency` from here on.
    pub(super) fn claim(&mut self, slot: usize, agency: AgencyId) -> Result<(), Rejection> {
        let session = &mut self.connections[slot].session;
        if session.agency == Some(agency) {
            return Ok(());
        }
        if session.certified.is_some_and(|certified| certified != agency) {
            self.tell(&Event::WrongCertificate { peer: self.peer_in(slot), agency });
            return Err(Rejection::Credentials);
        }
        if !self.lottery.roster().contains(agency) {
            return Err(Refusal::UnknownAgency.into());
        }
        if let Some(before) = session.agency.replace(agency) {
            self.speaks_for_another(slot, before);
        }
        self.liveness.unnumbered.claimed(agency);
        let known = self.connections[slot].is_agency();
        if self.liveness.presence.speaks_again(self.connections.id(slot), agency) {
            if known {
                self.liveness.presence.known(agency);
            }
        } else if self.liveness.presence.joined(agency, known) {
            self.tell(&Event::AgencyReturned(agency));
        }
        Ok(())
    }

    /// The connection spoke for `before` until now. That agency is here as long as the connection is open.
    fn speaks_for_another(&mut self, slot: usize, before: AgencyId) {
        let left = Departure::of(&self.connections[slot]);
        self.connections[slot].trust.has_committed = false;
        if mutants::is(Mutant::ForgetEarlierAgency) {
            return self.leave(before, left, left.received_at);
        }
        let id = self.connections.id(slot);
        if let Some(earliest) = self.liveness.presence.stays(id, before, left.known) {
            self.leave(earliest, Departure { known: false, ..left }, left.received_at);
        }
    }

    /// Notes that an agency is known now to be behind the connection, as `note` has it.
    pub(super) fn know(&mut self, slot: usize, note: impl FnOnce(&mut Connection)) {
        let connection = &mut self.connections[slot];
        let known = connection.is_agency();
        note(connection);
        if let Some(agency) = connection.session.agency
            && !known
            && connection.is_agency()
        {
            self.liveness.presence.known(agency);
        }
    }

    /// Notes that bets or the finish of `agency` which came by this connection are on the disk. A repeated finish does not
    /// count: any peer can send one.
    pub(super) fn know_by_commit(&mut self, slot: usize, agency: AgencyId) {
        if self.connections[slot].session.agency == Some(agency) {
            self.know(slot, |connection| connection.trust.has_committed = true);
        }
    }

    /// Whether an agency is known to be behind the connection: it has a certificate, or a batch or the finish of it is stored.
    /// Other connections wait for trusted ones.
    pub fn is_agency(&self, id: ConnectionId) -> bool {
        self.connections.by_id(id).is_some_and(Connection::is_agency)
    }

    /// A connection is gone, and with it the agencies that it spoke for.
    pub(super) fn departed(&mut self, id: ConnectionId, connection: &Connection, now: Moment) {
        let left = Departure::of(connection);
        for agency in self.liveness.presence.take_earlier(id) {
            self.leave(agency, Departure { known: false, ..left }, now);
        }
        if let Some(agency) = connection.session.agency {
            self.leave(agency, left, now);
        }
    }

    /// A connection speaks for `agency` no longer; was that lost?
    fn leave(&mut self, agency: AgencyId, left: Departure, now: Moment) {
        // Dialects that open a connection per message, or may, are lost by silence only.
        let reconnects = left.dialect.is_some_and(|dialect| dialect.server_rules().reconnects);
        let lost_from = if reconnects { left.received_at + self.policy.idle_timeout } else { now };
        let Some(since) = self.liveness.presence.left(agency, left.known, lost_from) else { return };
        self.liveness.unnumbered.left(agency, &self.lottery);
        let Ok(state) = self.lottery.agency(agency) else { return };
        if state.standing == Standing::Betting && state.bets > 0 {
            self.lose(agency, since.max(now));
        }
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
        if self.liveness.presence.lose(agency, since, since + self.policy.loss_grace) {
            self.reminders.timers.remind(Reminder::LostAgency(agency), since);
        }
    }

    /// A reminder of an agency: it may count as lost now, or its grace may have passed, so that the draw goes on
    /// without it.
    pub(super) fn look_for(&mut self, agency: AgencyId, now: Moment) {
        if !self.liveness.presence.is_due(agency, now) {
            return;
        }
        if self.lottery.agency(agency).is_ok_and(|state| state.bets == 0) {
            // What it had begun with was taken back after it had left.
            return self.liveness.presence.forget(agency);
        }
        if let Some(ended) = self.liveness.presence.grace_ended(agency, now)
            && self.may_be_back(ended)
        {
            let again = now + limits::RETURN_RETRY;
            self.liveness.presence.remind_again(agency, again);
            return self.reminders.timers.remind(Reminder::LostAgency(agency), again);
        }
        let again = match self.liveness.presence.look(agency, now) {
            Absence::None if mutants::is(Mutant::IgnoreReturn) => None,
            Absence::None => return,
            Absence::Quiet(at) => Some(at),
            Absence::Lost(at) => {
                self.tell(&Event::AgencyLost(agency));
                Some(at)
            }
            Absence::GivenUp => None,
        };
        if let Some(at) = again {
            return self.reminders.timers.remind(Reminder::LostAgency(agency), at);
        }
        if self.lottery.exclude(agency) == Ok(true) {
            self.keeping.keeper.stage_exclusion(agency);
            self.turn.entries.push(Entry { id: None, outcome: Outcome::Excluded { agency } });
        }
    }

    /// Whether a connection that may be a lost agency's was there when its grace ended: one whose first frame has begun
    /// to come, or may have, and does not name its agency yet. Time-outs end that.
    fn may_be_back(&self, grace_ended: Moment) -> bool {
        let began_by = grace_ended + limits::RETURN_LATENESS;
        self.connections.iter().any(|(_, connection)| connection.may_name_an_agency(began_by))
    }

    /// The peer of the connection in a slot.
    pub(super) fn peer_in(&self, slot: usize) -> Peer {
        Peer { id: self.connections.id(slot), ip: self.connections[slot].peer }
    }
}
