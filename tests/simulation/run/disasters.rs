//! What goes wrong with a run's hub and its machine, the end of all that, and the look back after it.

use std::time::Duration;

use loteria::limits;
use loteria::storage::{File, OpenError, Options, Store};

use super::{Agency, Defect, Pause, Run};
use crate::clients::Habits;
use crate::late::Lateness;
use crate::net::ClientEnd;
use crate::plan::{Chunks, Disasters};
use crate::reactor::{Pace, Polled};
use crate::storage_kit::disk::Faults;
use crate::{trace, untrusted};

impl Run {
    /// The disk has so many bytes left.
    pub(super) fn limit_space(&mut self, free: u64) {
        trace::event("space", &[("free", free)]);
        self.disk.set_space(Some(self.disk.used() + free));
        self.tight = true;
        self.model.may_be_full = true;
    }

    pub(super) fn disaster(&mut self) {
        let Disasters { kills, power_cuts, stops, sync_errors, full, stalls, pauses, client_pauses, untrusted: visits } =
            self.disasters;
        let mut happens = |often: Option<usize>| often.is_some_and(|often| self.rng.once_in(often));
        let kill = happens(kills) || happens(power_cuts);
        let (stop, stall, visit, fill) = (happens(stops), happens(stalls), happens(visits), happens(full));
        let (pause, client_pause) = (happens(pauses), happens(client_pauses));
        if happens(sync_errors) {
            self.disk.fail_sync(Some(self.rng.below(4) as u64));
        }
        if fill {
            // Space goes, to the last byte or nearly, or comes back.
            let most = self.rng.pick(&[1, 300, 3000, 1 << 40]);
            let free = self.rng.below(most) as u64;
            self.limit_space(free);
        }
        if stall {
            self.now += self.rng.pick(&[200, 5_000, 40_000, 400_000]);
            trace::event("stall", &[("now", self.now)]);
        }
        if pause {
            self.pause();
        }
        if client_pause {
            let (agency, until) =
                (self.rng.below(self.agencies.len()), self.now + self.rng.pick(&[4_000, 70_000, 400_000]));
            trace::event("client stopped", &[("agency", agency as u64), ("until", until)]);
            self.stopped_until[agency] = until;
        }
        if visit {
            untrusted::visit(&mut self.world());
        }
        if kill && self.reactor.is_some() {
            self.pause = None;
            if self.rng.once_in(2) {
                self.gone();
            } else {
                self.disk.crash_at_call(Some(self.rng.below(8) as u64));
            }
        } else if stop {
            self.stop();
        }
    }

    /// SIGSTOP, while the hub waits in its poll.
    fn pause(&mut self) {
        let Some(reactor) = self.reactor.as_ref().filter(|reactor| self.pause.is_none() && !reactor.is_busy()) else {
            return;
        };
        let before = self.moment();
        let asked = reactor.hub.next_deadline().map_or(limits::POLL_MAX, |at| before.until(at).min(limits::POLL_MAX));
        self.time.account(Duration::from_millis(self.now), Duration::MAX);
        let until = self.now + self.rng.pick(&[200, 4_000, 12_000, 40_000, 400_000]);
        trace::event("pause", &[("until", until)]);
        self.pause = Some(Pause { before, began: self.now, asked, until });
    }

    /// SIGCONT. The poll tells what has come meanwhile, or that it was interrupted.
    pub(super) fn go_on(&mut self, pause: Pause) -> Polled {
        let expected = if self.defect == Defect::CountPauses { Duration::MAX } else { pause.asked };
        self.time.account(Duration::from_millis(self.now), expected);
        let excess = Duration::from_millis(self.now - pause.began).saturating_sub(pause.asked);
        self.stood_still += excess.saturating_sub(limits::STALL);
        self.net.arrived_in_pause(pause.before);
        let interrupted = self.rng.once_in(2);
        trace::event("continue", &[("now", self.now), ("interrupted", u64::from(interrupted))]);
        let before = if self.defect == Defect::JudgeAfterPoll { self.moment() } else { pause.before };
        Polled { before, interrupted }
    }

    /// SIGTERM: the hub ends in order, whatever its clients are about.
    pub(super) fn stop(&mut self) {
        let now = self.moment();
        self.model.now = self.model_time();
        self.pause = None;
        let Some(mut reactor) = self.reactor.take() else { return };
        trace::event("stop", &[("now", self.now)]);
        self.model.stopping = true;
        reactor.hub.shut_down(now);
        let mut ended = reactor.end_turn(&mut self.net, now, &mut self.model);
        while ended.is_ok() && !reactor.hub.is_settled() {
            ended = reactor.end_turn(&mut self.net, now, &mut self.model);
        }
        if ended.is_ok() {
            for _ in 0..self.rng.below(4) {
                for index in 0..self.net.live.len() {
                    let bytes = self.chunk();
                    self.net.links[self.net.live[index]].deliver_down(bytes);
                }
                reactor.flush(&mut self.net, now, &mut self.model);
            }
            reactor.close_all(&mut self.net, now);
            assert_eq!(reactor.hub.connections(), 0, "connections are left behind");
            ended = reactor.hub.close_store();
        }
        let orderly = ended.is_ok();
        self.ended(ended);
        if orderly {
            self.gone();
        }
    }

    /// From here on nothing goes wrong, and what went wrong is put right.
    pub(super) fn heal(&mut self) {
        trace::event("heal", &[("now", self.now)]);
        self.habits = Habits::default();
        self.disasters = Disasters::default();
        self.disk.set_faults(Faults::default());
        self.disk.set_space(None);
        self.tight = false;
        self.disk.fail_sync(None);
        self.disk.crash_at_call(None);
        self.plan.chunks = Chunks::Whole;
        self.plan.pace = Pace::default();
        self.lateness.set(Lateness::default());
        if let Some(reactor) = &mut self.reactor {
            reactor.set_pace(self.plan.pace);
        }
        self.plan.moves = 8;
        self.stopped_until.fill(0);
        if let Some(pause) = &mut self.pause {
            pause.until = self.now;
        }
        for agency in &mut self.agencies {
            match agency {
                Agency::Lockstep(agency) => agency.hurry(self.now),
                Agency::Native(agency) => agency.hurry(self.now),
                Agency::Real(agency) => agency.hurry(self.now),
                Agency::Counters(agency) => agency.hurry(self.now),
            }
        }
        for index in 0..self.net.live.len() {
            let link = &mut self.net.links[self.net.live[index]];
            link.room = 1 << 20;
            link.edge_write = true;
            if link.client != ClientEnd::Open || link.untrusted {
                link.break_off();
            }
        }
    }

    /// After the end: a start finds everything, and a flipped bit does not pass.
    pub(super) fn look_back(&mut self) {
        self.start();
        assert!(self.reactor.is_some(), "the hub does not start on a sound disk");
        self.stop();
        let bits = self.disk.peek(File::Rows, <[u8]>::len) * 8;
        if bits == 0 || !self.rng.once_in(4) {
            return;
        }
        let bit = self.rng.below(bits);
        self.disk.tamper(File::Rows, |rows| rows.get_mut(bit / 8).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8)));
        let before = [File::Rows, File::Journal].map(|file| self.disk.cache(file));
        let options = Options { agencies: self.plan.agencies.len(), ..Options::default() };
        let opened = Store::open(self.disk.mount(), options);
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "a flipped bit passes: {opened:?}");
        let after = [File::Rows, File::Journal].map(|file| self.disk.cache(file));
        assert!(before == after, "damaged files were modified");
    }
}
