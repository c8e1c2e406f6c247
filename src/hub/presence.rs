//! Which agencies are here, and since when the others are gone.

use std::collections::{HashMap, HashSet, VecDeque};

use super::connections::ConnectionId;
use crate::limits;
use crate::lottery::AgencyId;
use crate::timers::Moment;

/// Connections per agency, and the agencies that were lost between their first bet and their finish.
#[derive(Debug, Default)]
pub(super) struct Presence {
    here: HashMap<AgencyId, Here>,
    lost: HashMap<AgencyId, Lost>,
    /// The agencies that a reminder will ask about, and when.
    reminded: HashMap<AgencyId, Moment>,
    /// The agencies that have been here.
    seen: HashSet<AgencyId>,
    /// The agencies that a connection spoke for before its present one. It still counts as a connection of theirs.
    earlier: HashMap<ConnectionId, VecDeque<Earlier>>,
}

/// An agency that a connection spoke for, before its present one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earlier {
    pub(super) agency: AgencyId,
    /// No request of the agency that came by this connection was carried out yet.
    pub(super) greets: bool,
}

/// An agency that the draw waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub agency: AgencyId,
    /// What it did last.
    pub doing: Doing,
    /// How many bets of it are stored.
    pub bets: u64,
}

/// What an agency did last that has not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has not been here, and has no bets.
    NeverSeen,
    /// It is connected. Without bets it has only said hello, or asked.
    Connected,
    /// It has no connection, and has been gone too short a time to be lost; or it has no bets, so that it cannot be lost.
    Gone,
    /// It has no connection here, and may have one at another hub of the draw.
    NotHere,
    /// It is lost.
    Lost,
}

impl Doing {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Doing::NeverSeen => "never seen",
            Doing::Connected => "connected",
            Doing::Gone => "gone",
            Doing::NotHere => "not connected here",
            Doing::Lost => "lost",
        }
    }
}

/// An agency whose last connection is gone.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// From when on it counts as lost: where clients connect for each message, after a silence.
    since: Moment,
    /// When it is given up; `None`: the draw waits for it.
    deadline: Option<Moment>,
    /// The log has said that it is lost.
    reported: bool,
}

/// What has become of an agency that a reminder asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// It is not lost, or no longer.
    None,
    /// Nothing yet; ask again then.
    Quiet(Moment),
    /// It is lost, and will not be given up.
    Lasting,
    /// It counts as lost from now on; ask again then, where it will be given up.
    Lost(Option<Moment>),
    /// Its grace has passed.
    GivenUp,
}

/// An agency that some connection speaks for.
#[derive(Debug, Default)]
struct Here {
    connections: u32,
    /// Those of them that are trusted: others only claim to be the agency's.
    known: u32,
    /// From when on it counts as lost, by those of its connections that are gone.
    lost_from: Moment,
    /// The same, by those that were gone before the first of the present ones came.
    lost_from_before: Moment,
}

impl Presence {
    /// A connection speaks for `agency` now; `known`: the agency is known to be behind it. Says whether the log has
    /// called the agency lost.
    pub(super) fn joined(&mut self, agency: AgencyId, known: bool) -> bool {
        let here = self.here.entry(agency).or_default();
        here.connections += 1;
        here.known += u32::from(known);
        let Some(lost) = self.lost.remove(&agency) else { return false };
        // A peer that only names the agency, and goes, does not make it lost earlier.
        here.lost_from_before = here.lost_from_before.max(lost.since);
        lost.reported
    }

    /// Connection `id` speaks for `agency` now, which it may have spoken for before: then it is here already.
    pub(super) fn speaks_again(&mut self, id: ConnectionId, agency: AgencyId) -> Option<Earlier> {
        let earlier = self.earlier.get_mut(&id)?;
        let at = earlier.iter().position(|other| other.agency == agency)?;
        let again = earlier.remove(at);
        if earlier.is_empty() {
            self.earlier.remove(&id);
        }
        again
    }

    /// Connection `id` speaks for another than `left.agency` now; `known`: that agency was known to be behind it. It stays
    /// here, as long as the connection is open. Of many agencies of one connection the earliest is returned: it leaves.
    pub(super) fn stays(&mut self, id: ConnectionId, left: Earlier, known: bool) -> Option<AgencyId> {
        self.here.get_mut(&left.agency).expect("an agency that stays has joined").known -= u32::from(known);
        let earlier = self.earlier.entry(id).or_default();
        earlier.push_back(left);
        if earlier.len() <= limits::AGENCIES_PER_CONNECTION {
            return None;
        }
        earlier.pop_front().map(|earliest| earliest.agency)
    }

    /// Connection `id` is gone: the agencies that it spoke for before its last one.
    pub(super) fn take_earlier(&mut self, id: ConnectionId) -> VecDeque<Earlier> {
        self.earlier.remove(&id).unwrap_or_default()
    }

    /// `agency` is known now to be behind a connection that speaks for it.
    pub(super) fn known(&mut self, agency: AgencyId) {
        self.here.get_mut(&agency).expect("an agency that is known has joined").known += 1;
    }

    /// A connection of `agency` ended. By this connection alone the agency counts as lost from `lost_from` on; `known`: the
    /// agency was known to be behind it. Returns, after the last connection, from when on it counts as lost by all of them.
    pub(super) fn left(&mut self, agency: AgencyId, known: bool, lost_from: Moment) -> Option<Moment> {
        let here = self.here.get_mut(&agency).expect("an agency that leaves has joined");
        here.connections -= 1;
        here.known -= u32::from(known);
        here.lost_from = here.lost_from.max(lost_from);
        if known {
            // How the agency went about it before says nothing any more.
            here.lost_from_before = Moment::default();
        }
        let lost_from = here.lost_from.max(here.lost_from_before);
        if here.connections > 0 {
            return None;
        }
        self.here.remove(&agency);
        Some(lost_from)
    }

    /// Whether any connection speaks for `agency`.
    pub(super) fn is_here(&self, agency: AgencyId) -> bool {
        self.here.contains_key(&agency)
    }

    /// `agency` is gone from this hub, and may be at another one. Until then it counts as here.
    pub(super) fn stays_until(&mut self, agency: AgencyId, until: Moment) {
        self.lost.insert(agency, Lost { since: until, deadline: None, reported: false });
    }

    /// Whether `agency` is here, or counts as such.
    pub(super) fn is_here_or_stays(&self, agency: AgencyId, now: Moment) -> bool {
        self.is_here(agency) || self.lost.get(&agency).is_some_and(|lost| now < lost.since)
    }

    /// Whether `agency` is lost, or will be after a silence.
    pub(super) fn is_lost(&self, agency: AgencyId) -> bool {
        self.lost.contains_key(&agency)
    }

    /// Since when `agency` has counted as lost, where the log has said so.
    pub(super) fn lost_since(&self, agency: AgencyId) -> Option<Moment> {
        self.lost.get(&agency).filter(|lost| lost.reported).map(|lost| lost.since)
    }

    /// A request of `agency` was carried out.
    pub(super) fn saw(&mut self, agency: AgencyId) {
        self.seen.insert(agency);
    }

    /// What `agency` did last, of which so many bets are stored.
    pub(super) fn doing(&self, agency: AgencyId, bets: u64) -> Doing {
        if self.is_here(agency) {
            Doing::Connected
        } else if self.lost.get(&agency).is_some_and(|lost| lost.reported) {
            Doing::Lost
        } else if bets > 0 || self.seen.contains(&agency) {
            Doing::Gone
        } else {
            Doing::NeverSeen
        }
    }

    /// How many connections speak for `agency`.
    pub(super) fn connections(&self, agency: AgencyId) -> usize {
        self.here.get(&agency).map_or(0, |here| here.connections as usize)
    }

    /// Behind how many connections `agency` is known to be.
    pub(super) fn known_connections(&self, agency: AgencyId) -> usize {
        self.here.get(&agency).map_or(0, |here| here.known as usize)
    }

    /// When the grace of `agency` ended, if it has ended by `now`.
    pub(super) fn grace_ended(&self, agency: AgencyId, now: Moment) -> Option<Moment> {
        self.lost.get(&agency).filter(|lost| lost.reported)?.deadline.filter(|deadline| now >= *deadline)
    }

    /// The next reminder of `agency` comes at `at`.
    pub(super) fn remind_again(&mut self, agency: AgencyId, at: Moment) {
        self.reminded.insert(agency, at);
    }

    /// `agency` is gone: it counts as lost from `since` on, and is given up at `deadline`, if ever. Says whether a reminder
    /// is wanted, at `since`: not where one will come up before, however often the agency comes and goes.
    pub(super) fn lose(&mut self, agency: AgencyId, since: Moment, deadline: Option<Moment>) -> bool {
        self.lost.insert(agency, Lost { since, deadline, reported: false });
        if self.reminded.get(&agency).is_some_and(|at| *at <= since) {
            return false;
        }
        self.reminded.insert(agency, since);
        true
    }

    /// Whether the reminder that has come up still counts: an earlier one may have replaced it.
    pub(super) fn is_due(&self, agency: AgencyId, now: Moment) -> bool {
        self.reminded.get(&agency).is_some_and(|at| *at <= now)
    }

    /// `agency` is not lost: drops what is kept of its absence.
    pub(super) fn forget(&mut self, agency: AgencyId) {
        self.reminded.remove(&agency);
        self.lost.remove(&agency);
    }

    /// A reminder of `agency` has come up: what has become of it? One that is to be asked about again has its
    /// reminder still.
    pub(super) fn look(&mut self, agency: AgencyId, now: Moment) -> Absence {
        let absence = match self.lost.get_mut(&agency) {
            None => Absence::None,
            Some(Lost { reported: true, deadline: None, .. }) => Absence::Lasting,
            Some(Lost { reported: true, deadline: Some(at), .. }) if now >= *at => Absence::GivenUp,
            Some(Lost { reported: true, deadline: Some(at), .. }) => Absence::Quiet(*at),
            Some(lost) if now >= lost.since => {
                lost.reported = true;
                Absence::Lost(lost.deadline)
            }
            Some(lost) => Absence::Quiet(lost.since),
        };
        match absence {
            Absence::None | Absence::GivenUp => self.forget(agency),
            Absence::Lasting | Absence::Lost(None) => drop(self.reminded.remove(&agency)),
            Absence::Quiet(at) | Absence::Lost(Some(at)) => drop(self.reminded.insert(agency, at)),
        }
        absence
    }

    /// Counts again: `agencies` has the present agency of every connection that speaks for one, and whether it is known.
    pub(super) fn assert_counts(&self, agencies: impl Iterator<Item = (AgencyId, bool)>) {
        let mut counted: HashMap<AgencyId, (u32, u32)> = HashMap::new();
        for (agency, known) in agencies {
            let count = counted.entry(agency).or_default();
            *count = (count.0 + 1, count.1 + u32::from(known));
        }
        for earlier in self.earlier.values().flatten() {
            counted.entry(earlier.agency).or_default().0 += 1;
        }
        let here = self.here.iter().map(|(id, here)| (*id, (here.connections, here.known)));
        let here: HashMap<AgencyId, (u32, u32)> = here.collect();
        assert_eq!(here, counted, "connections of each agency");
    }
}
