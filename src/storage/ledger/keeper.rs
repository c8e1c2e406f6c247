//! The ledger: its state, and how it is opened.

use std::collections::{HashMap, VecDeque};

use super::leases::Leases;
use super::link::{Fenced, Link};
use super::network::Network;
use super::options::{LedgerError, LedgerOptions};
use super::staging::Staging;
use super::statements::Sender;
use super::wire::Sent;
use super::work::Work;
use crate::limits;
use crate::lottery::AgencyId;
use crate::mutants::{self, Mutant};
use crate::storage::keep::{EngineView, InstanceView, Known, Learned, Settled, TurnNumber};
use crate::timers::Moment;

/// A turn of the hub's that is not settled.
#[derive(Debug)]
pub(super) struct HubTurn {
    pub number: TurnNumber,
    /// Under which number it was sent; `None`: it is to be sent, for the first time or again.
    pub engine: Option<i64>,
    pub work: Work,
}

/// Why a turn has not happened. Those behind it have not either: their numbers do not follow.
#[derive(Debug)]
pub(super) enum Failure {
    /// Other instances have stored what it did not expect.
    Moved,
    /// It is sent again at once.
    Again,
    /// It is sent again in a while.
    Later,
    /// There is no space: so says the engine.
    Full(String),
}

/// Which connections there are.
#[derive(Debug)]
pub(super) struct Links {
    pub main: Option<Link>,
    /// One that looks for another leader, or for a way around a connection that is dead.
    pub second: Option<Link>,
    /// The host that is, or was last, in use: for messages.
    pub host: usize,
    /// Where to connect to next, and when.
    pub next_host: usize,
    pub connect_at: Moment,
    /// The same for the second one.
    pub next_probe: usize,
    pub probe_at: Moment,
}

/// How the turns go.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The last turn that is committed.
    pub committed: i64,
    /// The last turn that the hub was told is committed: the engine must not forget it.
    pub told: i64,
    /// The number of the next one to be sent.
    pub next: i64,
    /// Something on the wire has failed; nothing is sent until all that was sent is answered.
    pub failed: Option<Failure>,
    /// Turns were taken back because other instances have stored: a look is to be made, or under way.
    pub moved: bool,
    /// So many of the oldest turns are committed, and what they read is not known: a look is to be made, or under way.
    pub confirmed: usize,
    /// Nothing is sent before.
    pub retry_at: Option<Moment>,
    /// The hub has not been told yet that turns are taken back.
    pub untold: bool,
    /// Why the draw is to be held: each reason until it is known to be stored, one after another.
    pub holds: VecDeque<String>,
    /// The engine has refused to hold it: it is asked again then.
    pub hold_at: Option<Moment>,
    /// What the look under way asks.
    pub look: Work,
}

/// What is known of the draw.
#[derive(Debug)]
pub(super) struct Survey {
    pub due: Moment,
    /// It is drawn: the winners are to be read.
    pub drawn: bool,
    /// The hub knows its winners.
    pub told: bool,
    /// The draw is to be tried.
    pub try_draw: bool,
    /// Why the draw is held, as it was last read.
    pub held: Option<String>,
    /// The instances, as they were last read.
    pub instances: Vec<InstanceView>,
    /// When they are to be read again.
    pub instances_due: Moment,
}

impl Survey {
    fn new(now: Moment) -> Survey {
        Survey {
            due: now,
            drawn: false,
            told: false,
            try_draw: false,
            held: None,
            instances: Vec::new(),
            instances_due: now,
        }
    }
}

/// How far the start is.
#[derive(Debug)]
pub(super) enum Opening {
    Under {
        /// So many hosts, one after another, have refused before they have said whether they lead.
        refusals: usize,
    },
    /// The result, for [`Ledger::opened`].
    Done(Box<Result<Learned, LedgerError>>),
    /// The caller has taken the result.
    Told,
}

/// A keeper of turns in a PostgreSQL that several hubs share. It owns no socket and no clock.
///
/// After [`new`](Self::new), [`go_on`](crate::storage::Keep::go_on) is called whenever the network is ready or
/// [`next_wake`](crate::storage::Keep::next_wake) has come, until [`opened`](Self::opened) says that the ledger can be used.
#[derive(Debug)]
pub struct Ledger<N> {
    pub(super) network: N,
    pub(super) options: LedgerOptions,
    pub(super) sender: Sender,
    pub(super) links: Links,
    pub(super) wire: VecDeque<Sent>,
    pub(super) turns: VecDeque<HubTurn>,
    pub(super) staging: Staging,
    pub(super) course: Course,
    pub(super) survey: Survey,
    pub(super) leases: Leases,
    pub(super) opening: Opening,
    /// Every agency as the hub believes that it is after the last turn that it was told of.
    pub(super) told: HashMap<AgencyId, Known>,
    pub(super) settled: VecDeque<Settled>,
    pub(super) last_settled: TurnNumber,
    /// Turns of the hub's that were committed and had written something.
    pub(super) group: u64,
    pub(super) now: Moment,
    /// When the engine last answered what was sent, or began an epoch.
    pub(super) answered_at: Option<Moment>,
    pub(super) trouble: Trouble,
}

/// What is wrong with the engine, as it was last noticed.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub text: Option<String>,
    /// Since when there is some, without a commit in between.
    pub since: Moment,
    /// When it may be logged again.
    pub log_at: Option<Moment>,
}

impl<N: Network> Ledger<N> {
    /// A ledger that has connected to nothing yet.
    pub fn new(options: LedgerOptions, network: N, now: Moment) -> Ledger<N> {
        let opening = options
            .check()
            .map_or_else(|error| Opening::Done(Box::new(Err(error))), |()| Opening::Under { refusals: 0 });
        Ledger {
            network,
            sender: Sender { instance: options.instance, epoch: 0, draw: options.draw },
            links: Links {
                main: None,
                second: None,
                host: 0,
                next_host: 0,
                connect_at: now,
                next_probe: 0,
                probe_at: now,
            },
            wire: VecDeque::new(),
            turns: VecDeque::new(),
            staging: Staging::new(options.winning_number),
            course: Course { next: 1, ..Course::default() },
            survey: Survey::new(now),
            leases: Leases::default(),
            opening,
            told: HashMap::new(),
            settled: VecDeque::new(),
            last_settled: TurnNumber::default(),
            group: 0,
            now,
            answered_at: None,
            trouble: Trouble::default(),
            options,
        }
    }

    /// The network, to wait on before a loop does.
    pub fn network(&mut self) -> &mut N {
        &mut self.network
    }

    /// Whether the ledger can be used; told once. The agencies are all of the draw's, and [`Learned::drawn`] has the winners
    /// where the draw has been made before. Both are as durable as the engine makes them.
    ///
    /// An error has to be mended by a person. While hosts are away, or are standbys, there is no answer: [`trouble`](Self::trouble)
    /// says why.
    pub fn opened(&mut self) -> Option<Result<Learned, LedgerError>> {
        match std::mem::replace(&mut self.opening, Opening::Told) {
            Opening::Done(opened) => Some(*opened),
            under @ Opening::Under { .. } => {
                self.opening = under;
                None
            }
            Opening::Told => None,
        }
    }

    /// Why the engine cannot be used now, in words; `None`: it can.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.text.as_deref()
    }

    /// Whether a connection to a leader stands.
    pub fn is_connected(&self) -> bool {
        self.links.main.as_ref().is_some_and(|link| link.fenced().is_some())
    }

    /// A new connection may be used. What was in doubt is known now.
    pub(super) fn begin_epoch(&mut self, fenced: Fenced) {
        self.sender.epoch = fenced.epoch;
        self.wire.clear();
        self.course.failed = None;
        self.course.retry_at = None;
        let stored = |turn: &HubTurn| turn.engine.is_some_and(|engine| engine <= fenced.turn);
        self.course.confirmed = self.turns.iter().take_while(|turn| stored(turn)).count();
        if mutants::is(Mutant::ResendInDoubt) {
            self.course.confirmed = 0;
        }
        for turn in self.turns.iter_mut().skip(self.course.confirmed) {
            turn.engine = None;
        }
        if fenced.turn < self.course.told && !mutants::is(Mutant::IgnoreForgotten) {
            self.raise_alarm(&format!(
                "turns {} to {} of instance {} were committed and are gone",
                fenced.turn + 1,
                self.course.told,
                uuid(&self.options.instance)
            ));
            self.course.told = fenced.turn;
        }
        self.course.committed = fenced.turn;
        self.course.next = fenced.turn + 1;
        self.leases.begin_epoch();
        self.survey.due = self.now;
        self.survey.instances_due = self.now;
        self.answered_at = Some(self.now);
        // What was wrong may be so still: the first commit shows that it is not.
    }

    /// Why turns are not committed, and since when. Silence counts after a while: what was wrong before it is perhaps mended.
    pub(super) fn why_not(&self) -> Option<(Moment, String)> {
        let wrong = self.trouble.text.as_ref().map(|text| (self.trouble.since, text.clone()));
        let Some(main) = self.links.main.as_ref().filter(|_| !self.wire.is_empty()) else { return wrong };
        let silent = main.heard.until(self.now);
        if silent < limits::ENGINE_SILENCE {
            return wrong;
        }
        let since = wrong.map_or(main.heard, |(since, _)| since);
        Some((since, format!("{} has not answered for {} s", self.options.hosts[main.host], silent.as_secs())))
    }

    /// The engine as it was last heard of, and the other instances.
    pub(super) fn view(&self) -> EngineView {
        let host = self.links.main.as_ref().map_or(self.links.next_host, |link| link.host);
        EngineView {
            draw: self.options.draw,
            connected: self.is_connected(),
            host: self.options.hosts[host].clone(),
            epoch: self.sender.epoch,
            turn: self.course.committed,
            turns_in_flight: self.turns.len(),
            answered_at: self.answered_at,
            held: self.course.holds.front().or(self.survey.held.as_ref()).cloned(),
            instances: self.survey.instances.clone(),
        }
    }

    /// The engine has forgotten what it had confirmed.
    pub(super) fn raise_alarm(&mut self, what: &str) {
        let host = self.links.host;
        log::error!(
            target: crate::logging::CRITICAL,
            "action: engine | result: fail | host: {} | reason: {what}, the draw is held",
            self.options.hosts[host],
        );
        if self.course.holds.len() < limits::ENGINE_HOLDS_MAX {
            self.course.holds.push_back(what.to_owned());
        }
    }

    /// The hub ends, and only it knows why the draw is to be held: a person has to do it.
    pub(super) fn warn_of_holds(&self) {
        for what in &self.course.holds {
            log::error!(
                target: crate::logging::CRITICAL,
                "action: engine | result: fail | host: {} | reason: {what}, and the hub ends before the draw is held: hold it in \
                 loteria.draws",
                self.options.hosts[self.links.host],
            );
        }
    }
}

/// An instance's id as people and PostgreSQL write it.
pub(super) fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
