//! Connections that speak for an agency no longer, and what becomes of an agency that is lost.

use super::connections::{Connection, ConnectionId};
use super::events::Event;
use super::presence::{Absence, Doing, Earlier};
use super::reminders::Reminder;
use super::turn::{Entry, Outcome};
use super::{Hub, OnAgencyLoss};
use crate::limits;
use crate::lottery::{AgencyId, Standing};
use crate::mutants::{self, Mutant};
use crate::storage::Keep;
use crate::timers::Moment;
use crate::wire::Dialect;

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
    /// The connection spoke for `before` until now. That agency is here as long as the connection is open.
    pub(super) fn speaks_for_another(&mut self, slot: usize, before: AgencyId) {
        let left = Departure::of(&self.connections[slot]);
        let trust = &mut self.connections[slot].trust;
        trust.has_committed = false;
        let earlier = Earlier { agency: before, greets: trust.greets };
        if mutants::is(Mutant::ForgetEarlierAgency) {
            return self.leave(before, left, left.received_at);
        }
        let id = self.connections.id(slot);
        if let Some(earliest) = self.liveness.presence.stays(id, earlier, left.known) {
            self.leave(earliest, Departure { known: false, ..left }, left.received_at);
        }
    }

    /// A connection is gone, and with it the agencies that it spoke for.
    pub(super) fn departed(&mut self, id: ConnectionId, connection: &Connection, now: Moment) {
        let left = Departure::of(connection);
        for earlier in self.liveness.presence.take_earlier(id) {
            self.leave(earlier.agency, Departure { known: false, ..left }, now);
        }
        if let Some(agency) = connection.session.agency {
            self.leave(agency, left, now);
        }
    }

    /// A connection speaks for `agency` no longer. Where it was the agency's last one, the agency may be lost.
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

    /// Agencies with bets and no finish, without a connection and not lost yet: those of an earlier run, and those whose
    /// finish was taken back after their connection had ended.
    pub(super) fn lose_absent_agencies(&mut self, now: Moment) {
        let presence = &self.liveness.presence;
        let begun = |id: &AgencyId| self.lottery.agency(*id).is_ok_and(|state| state.bets > 0);
        let absent = |id: &AgencyId| begun(id) && !presence.is_here(*id) && !presence.is_lost(*id);
        let lost: Vec<AgencyId> = self.lottery.pending().filter(absent).collect();
        for agency in lost {
            self.lose(agency, now);
        }
    }

    /// Whether other hubs store in the same draw. Then no hub knows by itself which agencies are lost.
    pub(super) fn shares_the_draw(&self) -> bool {
        !self.keeping.keeper.draws_here()
    }

    /// What `agency` did last, of which so many bets are stored.
    pub(super) fn doing(&self, agency: AgencyId, bets: u64) -> Doing {
        let doing = self.liveness.presence.doing(agency, bets);
        if self.shares_the_draw() && doing != Doing::Connected { Doing::NotHere } else { doing }
    }

    /// The agencies that are at this hub, or may open their next connection still, and have not finished.
    pub(super) fn agencies_here(&self, now: Moment) -> Vec<AgencyId> {
        let presence = &self.liveness.presence;
        self.lottery.pending().filter(|agency| presence.is_here_or_stays(*agency, now)).collect()
    }

    fn lose(&mut self, agency: AgencyId, since: Moment) {
        if self.lottery.drawn() {
            return;
        }
        if self.shares_the_draw() {
            return self.liveness.presence.stays_until(agency, since);
        }
        let given_up = match self.policy.on_agency_loss {
            OnAgencyLoss::Wait => None,
            OnAgencyLoss::Exclude => Some(since + self.policy.loss_grace),
        };
        if self.liveness.presence.lose(agency, since, given_up) {
            self.reminders.timers.remind(Reminder::LostAgency(agency), since);
        }
    }

    /// A reminder of an agency: it may count as lost now, or its grace may have passed, so that the draw
    /// no longer waits for it.
    pub(super) fn look_for(&mut self, agency: AgencyId, now: Moment) {
        if !self.liveness.presence.is_due(agency, now) {
            return;
        }
        if self.lottery.agency(agency).is_ok_and(|state| state.bets == 0) {
            // What it had begun with was taken back after it had left.
            return self.liveness.presence.forget(agency);
        }
        if let Some(ended) = self.liveness.presence.grace_ended(agency, now)
            && (self.may_be_back(ended) || !self.has_committed_bets(agency))
        {
            let again = now + limits::RETURN_RETRY;
            self.liveness.presence.remind_again(agency, again);
            return self.reminders.timers.remind(Reminder::LostAgency(agency), again);
        }
        let again = match self.liveness.presence.look(agency, now) {
            Absence::None if mutants::is(Mutant::IgnoreReturn) => None,
            Absence::None | Absence::Lasting => return,
            Absence::Quiet(at) => Some(at),
            Absence::Lost(at) => {
                self.emit(&Event::AgencyLost(agency));
                let Some(at) = at else { return };
                Some(at)
            }
            Absence::GivenUp => None,
        };
        if let Some(at) = again {
            return self.reminders.timers.remind(Reminder::LostAgency(agency), at);
        }
        if self.lottery.exclude(agency) == Ok(true) {
            self.keeping.keeper.stage_exclusion(agency);
            self.turn.entries.push(Entry { id: None, claimed: None, outcome: Outcome::Excluded { agency } });
        }
    }

    /// Whether bets of it are stored: those in flight may be taken back, and it would not have begun.
    fn has_committed_bets(&self, agency: AgencyId) -> bool {
        self.lottery.agency(agency).is_ok_and(|state| state.committed().bets > 0)
    }

    /// Whether a connection that may be a lost agency's was there when its grace ended: one whose first frame has begun
    /// to come, or may have, and does not name its agency yet. Time-outs end that.
    fn may_be_back(&self, grace_ended: Moment) -> bool {
        let began_by = grace_ended + limits::RETURN_LATENESS;
        self.connections.iter().any(|(_, connection)| connection.may_name_an_agency(began_by))
    }
}
