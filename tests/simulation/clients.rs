//! What clients of every kind have in common: what they may do, and the faults that befall them.

use loteria::wire::{Answer, Dialect};

use crate::model::Model;
use crate::net::{ClientEnd, LinkId, Net};
use crate::reactor::BACKLOG;
use crate::rng::Rng;
use crate::trace;

/// Faults of clients and of the network near them: so many times in a thousand actions.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct Habits {
    /// The connection is reset.
    pub resets: u32,
    /// The client closes before it has its answers.
    pub early_ends: u32,
    /// The client goes away without a word; what it sent still arrives.
    pub vanishes: u32,
    /// It writes no more after its last request, and waits for the answer.
    pub half_closes: u32,
    /// The client is killed and started again.
    pub restarts: u32,
    /// It stays away for minutes.
    pub absences: u32,
    /// The connection takes next to nothing from the hub.
    pub tiny_windows: u32,
    /// Frames that a client should not send: again, with other bets, out of order, damaged.
    pub mischief: u32,
}

/// What a client acts on.
pub struct World<'a> {
    pub net: &'a mut Net,
    pub model: &'a mut Model,
    pub rng: &'a mut Rng,
    /// Milliseconds since the run began.
    pub now: u64,
    /// Whether anybody listens.
    pub listening: bool,
    pub habits: Habits,
}

impl World<'_> {
    /// Whether a fault that happens `times` times in a thousand happens now.
    pub fn happens(&mut self, times: u32) -> bool {
        times > 0 && self.rng.below(1000) < times as usize
    }

    /// Connects, where somebody listens and the kernel's queue has room: else it would drop the SYN.
    pub fn connect(&mut self, dialect: Dialect, agency: Option<u32>) -> Option<LinkId> {
        if !self.listening || self.net.backlog.len() >= BACKLOG {
            return None;
        }
        let room = if self.happens(self.habits.tiny_windows) { self.rng.below(20) } else { 1 << 20 };
        let link = self.net.connect(dialect, agency, room);
        trace::event("connect", &[("link", link as u64), ("agency", agency.map_or(0, u64::from))]);
        trace::note(|| format!("    in {}", dialect.name()));
        Some(link)
    }

    /// The oldest answer that has arrived on `link`.
    pub fn answer(&mut self, link: LinkId) -> Option<Answer> {
        let link = &mut self.net.links[link];
        let (end, _) = link.answers.front()?;
        if link.client != ClientEnd::Open || *end > link.down_arrived {
            return None;
        }
        link.answers.pop_front().map(|(_, answer)| answer)
    }

    /// The client closes its end; what it sent is still under way.
    pub fn close(&mut self, id: LinkId) {
        let link = &mut self.net.links[id];
        if link.client == ClientEnd::Open {
            link.client = ClientEnd::Closed;
            link.fin = true;
            trace::event("client closes", &[("link", id as u64)]);
        }
    }

    /// The client writes no more, and still reads.
    pub fn half_close(&mut self, id: LinkId) {
        self.net.links[id].fin = true;
        trace::event("client half-closes", &[("link", id as u64)]);
    }

    /// One of the faults that cost a connection, if any; says whether the client has lost it.
    pub fn mishap(&mut self, id: LinkId, may_vanish: bool) -> bool {
        if self.happens(self.habits.resets) {
            trace::event("reset", &[("link", id as u64)]);
            let link = &mut self.net.links[id];
            link.client = ClientEnd::Closed;
            link.break_off();
            return true;
        }
        if may_vanish && self.happens(self.habits.early_ends) {
            self.close(id);
            return true;
        }
        if may_vanish && self.happens(self.habits.vanishes) {
            trace::event("client vanishes", &[("link", id as u64)]);
            self.net.links[id].client = ClientEnd::Vanished;
            return true;
        }
        false
    }

    /// A moment up to `longest` milliseconds from now.
    pub fn soon(&mut self, longest: usize) -> u64 {
        self.now + self.rng.range(1, longest) as u64
    }
}
