//! The connections: which host, when to look for another one, and what comes on them.

use super::keeper::{Ledger, Opening};
use super::link::Link;
use super::network::Network;
use super::options::LedgerError;
use super::stage::{LinkError, Stage};
use super::wire::{self, Came};
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::storage::keep::Settled;
use crate::timers::Moment;

impl<N: Network> Ledger<N> {
    /// Does what can be done now.
    pub(super) fn drive(&mut self, now: Moment) {
        self.now = now;
        self.network.poll();
        self.connect_if_due();
        self.drive_main();
        self.drive_second();
        self.probe_if_silent();
        self.send();
    }

    fn connect_if_due(&mut self) {
        if self.links.main.is_some() || self.is_refused() || self.now < self.links.connect_at {
            return;
        }
        let host = self.links.next_host;
        match Link::begin(&mut self.network, host, &self.options, self.now) {
            Ok(link) => self.links.main = Some(link),
            Err(error) => self.note_lost(host, &error.into(), Stage::Authentication),
        }
    }

    fn drive_main(&mut self) {
        let Some(mut link) = self.links.main.take() else { return };
        let host = link.host;
        self.links.host = host;
        let mut served = self.serve(&mut link);
        if served.is_ok() && self.is_late(&link) {
            served = Err(LinkError::Lost("it does not answer".to_owned()));
        }
        match served {
            Ok(()) => self.links.main = Some(link),
            Err(error) => {
                let stage = link.stage;
                link.close(&mut self.network);
                self.note_lost(host, &error, stage);
            }
        }
    }

    /// Whether the start takes longer than that of a host that works. From the fence on there is no such time: a commit may
    /// wait for a standby as long as that takes.
    fn is_late(&self, link: &Link) -> bool {
        let starts = matches!(link.stage, Stage::Authentication | Stage::Checks | Stage::Format | Stage::Needs);
        starts && link.began.until(self.now) >= limits::ENGINE_START_PATIENCE
    }

    /// Reads from a connection and takes what has come. It goes on to its fence, and then begins a new epoch.
    fn serve(&mut self, link: &mut Link) -> Result<(), LinkError> {
        // What came before the end is still to be taken.
        let read = link.read(&mut self.network, self.now);
        while let Some(message) = link.message()? {
            if link.stage == Stage::Open {
                match wire::take(&mut self.wire, &message)? {
                    Came::Nothing => {}
                    Came::Answer(sent) => {
                        self.answered_at = Some(self.now);
                        self.settle(*sent)?;
                    }
                    Came::Notification => {
                        self.survey.due = self.now;
                        if mutants::is(Mutant::FlushOnNotification) {
                            self.flush_on_notification();
                        }
                    }
                }
                continue;
            }
            link.start(&message, &self.options)?;
            link.go_ahead()?;
            if let Some(fenced) = link.fenced() {
                self.note_open(link, fenced);
            }
        }
        read?;
        link.flush(&mut self.network)
    }

    fn note_open(&mut self, link: &Link, fenced: super::link::Fenced) {
        self.links.host = link.host;
        let host = &self.options.hosts[link.host];
        log::info!("action: engine | result: success | host: {host} | epoch: {} | turn: {}", fenced.epoch, fenced.turn);
        self.begin_epoch(fenced);
    }

    /// The main connection is lost, while something is written to it.
    pub(super) fn lose_main(&mut self, error: &LinkError) {
        if let Some(link) = self.links.main.take() {
            let (host, stage) = (link.host, link.stage);
            link.close(&mut self.network);
            self.note_lost(host, error, stage);
        }
    }

    /// There is no main connection any more, which had come to `stage`. What was in flight on it is in doubt until the next one's
    /// fence.
    fn note_lost(&mut self, host: usize, error: &LinkError, stage: Stage) {
        if mutants::is(Mutant::RejectInDoubt) {
            self.reject_in_doubt();
        }
        self.wire.clear();
        self.course.failed = None;
        if let Some(refusal) = self.refusal_of_start(host, error, stage) {
            self.opening = Opening::Done(Box::new(Err(refusal)));
            return;
        }
        let hosts = self.options.hosts.len();
        let is_refused = matches!(error, LinkError::Mend(_) | LinkError::Refused(_));
        let pause = if is_refused && !self.is_opening() { limits::ENGINE_RETRY } else { limits::ENGINE_HOST_PAUSE };
        // The leader that was: its server may have restarted. Else the next one.
        self.links.next_host = if stage == Stage::Open { host } else { (host + 1) % hosts };
        self.links.connect_at = self.now + pause;
        let is_standby = matches!(error, LinkError::Standby);
        let reason = self.reason_of(host, error);
        if self.is_opening() && (is_standby || is_refused) {
            // A start asks the hosts in any order, so that a standby alone is no failure. What the start waits for, it says.
            self.note_trouble(host, &reason);
        } else if !is_standby || self.trouble.text.is_none() {
            // What is wrong is that there is no leader, whichever standby was asked last.
            self.log_trouble(Some(host), &reason);
        }
        self.links.main = self.links.second.take();
        if let Some(link) = &mut self.links.main
            && let Err(error) = link.go_ahead()
        {
            self.lose_main(&error);
        }
    }

    /// What an error says, without its host: what a person has to mend begins with that, and so does a trouble.
    fn reason_of(&self, host: usize, error: &LinkError) -> String {
        let reason = error.to_string();
        let host = format!("{}: ", self.options.hosts[host]);
        reason.strip_prefix(&host).unwrap_or(&reason).to_owned()
    }

    /// What ends a start: a person has to mend it. A host that refuses before it has said whether it leads may be a standby that
    /// does not have yet what the leader has; so that ends a start only when all hosts have, one after another.
    fn refusal_of_start(&mut self, host: usize, error: &LinkError, stage: Stage) -> Option<LedgerError> {
        let Opening::Under { refusals } = &mut self.opening else { return None };
        let refusal = match error {
            LinkError::Mend(error) => error.clone(),
            LinkError::Refused(reason) => {
                let host = self.options.hosts[host].clone();
                LedgerError::Encryption { host, reason: reason.clone() }
            }
            LinkError::Lost(_) | LinkError::Standby => {
                *refusals = 0;
                return None;
            }
        };
        *refusals += 1;
        let leads = stage != Stage::Authentication;
        (leads || *refusals >= self.options.hosts.len()).then_some(refusal)
    }

    /// What a mutant does about turns of which it is not known whether they are committed.
    fn reject_in_doubt(&mut self) {
        let is_sent = self.turns.iter().any(|turn| turn.engine.is_some() && !turn.work.batches.is_empty());
        let is_busy = self.course.untold || self.course.moved || self.course.confirmed > 0;
        if let Some(oldest) = self.turns.front().filter(|_| is_sent && !is_busy) {
            let error = std::io::ErrorKind::StorageFull.into();
            self.settled.push_back(Settled::TakenBack { turn: oldest.number, error });
            self.course.untold = true;
        }
    }

    fn drive_second(&mut self) {
        let Some(mut link) = self.links.second.take() else { return };
        match self.serve(&mut link) {
            Ok(()) if link.stage == Stage::Open => self.take_over(link),
            Ok(()) if self.is_late(&link) || self.is_in_vain(&link) => link.close(&mut self.network),
            Ok(()) => self.links.second = Some(link),
            Err(_) => link.close(&mut self.network),
        }
    }

    /// Whether another host takes so long to commit a fence that the next one is to be asked. A leader that was paused and goes
    /// on says that it is one, and no standby follows it any more.
    fn is_in_vain(&self, link: &Link) -> bool {
        let elsewhere = self.links.main.as_ref().is_some_and(|main| main.host != link.host);
        elsewhere && link.began.until(self.now) >= limits::ENGINE_SILENCE_LONG
    }

    /// The second connection becomes the main one: it has begun a new epoch, so that its host leads. That it says so is not
    /// enough to leave a connection for.
    fn take_over(&mut self, link: Link) {
        if let Some(main) = self.links.main.take() {
            let host = main.host;
            main.close(&mut self.network);
            if host != link.host {
                let reason = "it was silent, and another host is the leader";
                log::warn!(
                    "action: engine | result: in_progress | host: {} | reason: {reason}",
                    self.options.hosts[host]
                );
            }
        }
        self.links.main = Some(link);
    }

    /// Silence does not end a connection. But another host may be the leader by now, or the network has died without a word.
    fn probe_if_silent(&mut self) {
        let Some(silent_at) = self.silent_at() else {
            if let Some(link) = self.links.second.take() {
                link.close(&mut self.network);
            }
            return;
        };
        let Some(main) = &self.links.main else { return };
        if self.now < silent_at || self.links.second.is_some() || self.now < self.links.probe_at {
            return;
        }
        self.links.probe_at = self.now + limits::ENGINE_RETRY;
        let hosts = self.options.hosts.len();
        let main_too = main.heard.until(self.now) >= limits::ENGINE_SILENCE_LONG;
        let candidates = (1..=hosts).map(|step| (self.links.next_probe + step) % hosts);
        let Some(host) = candidates.into_iter().find(|host| main_too || *host != main.host) else { return };
        self.links.next_probe = host;
        self.links.second = Link::begin(&mut self.network, host, &self.options, self.now).ok();
    }

    /// When to begin to look for another host; `None`: nothing is waited for.
    fn silent_at(&self) -> Option<Moment> {
        let main = self.links.main.as_ref()?;
        let fences = matches!(main.stage, Stage::Draw | Stage::Prepare | Stage::Listen | Stage::Fence);
        let waits = fences || main.stage == Stage::Open && !self.wire.is_empty();
        waits.then_some(main.heard + limits::ENGINE_SILENCE)
    }

    /// When there is something to do by itself.
    pub(super) fn wake(&self) -> Option<Moment> {
        let main = self.links.main.as_ref();
        let begun = [main, self.links.second.as_ref()].into_iter().flatten();
        let vain = self.links.second.as_ref().map(|link| link.began + limits::ENGINE_SILENCE_LONG);
        let late = begun.filter(|link| link.fenced().is_none()).map(|link| link.began + limits::ENGINE_START_PATIENCE);
        let connect = (main.is_none() && !self.is_refused()).then_some(self.links.connect_at);
        let silent = self.silent_at().filter(|_| self.links.second.is_none()).map(|at| at.max(self.links.probe_at));
        let send = self.is_connected().then(|| self.send_at()).flatten();
        late.chain(vain).filter(|at| *at > self.now).chain(connect).chain(silent).chain(send).min()
    }

    /// Whether the start has failed, and a person is needed.
    fn is_refused(&self) -> bool {
        matches!(&self.opening, Opening::Done(opened) if opened.is_err())
    }
}
