//! An agency with several clients of the project's own at once, each with bets of its own: the hub's numbers put
//! them in some order, and none may be lost or stored twice. When all are confirmed, somebody finishes.

use loteria::wire::Dialect;

use crate::clients::World;
use crate::lockstep::{self, Lockstep};
use crate::real::{self, Real};

/// The agency.
#[derive(Debug)]
pub struct Counters {
    clients: Vec<Real>,
    last: Lockstep,
}

impl Counters {
    pub fn new(agency: u32, manners: &[real::Manner], world: &mut World<'_>) -> Counters {
        let manner =
            lockstep::Manner { items: Vec::new(), window: 1, per_message: false, late: false, begins: world.now };
        let clients = manners.iter().map(|manner| Real::at_a_counter(agency, manner, world)).collect();
        Counters { clients, last: Lockstep::new(Some(agency), Dialect::Binary, manner) }
    }

    pub fn is_done(&self) -> bool {
        self.clients.iter().all(Real::is_done) && self.last.is_done()
    }

    /// When somebody wants to act, whatever happens.
    pub fn wake(&self) -> Option<u64> {
        let busy = self.clients.iter().filter(|client| !client.is_done());
        busy.filter_map(Real::wake).min().or_else(|| self.last.wake())
    }

    /// Everybody goes on, wherever they are.
    pub fn hurry(&mut self, now: u64) {
        self.clients.iter_mut().for_each(|client| client.hurry(now));
        self.last.hurry(now);
    }

    /// Where they stand, in words.
    pub fn describe(&self) -> String {
        let clients: Vec<String> = self.clients.iter().map(Real::describe).collect();
        format!("{}; {}", clients.join("; "), self.last.describe())
    }

    /// One of them takes a turn; says whether anything came of it.
    pub fn act(&mut self, world: &mut World<'_>) -> bool {
        let busy: Vec<usize> = (0..self.clients.len()).filter(|index| !self.clients[*index].is_done()).collect();
        if busy.is_empty() {
            return self.last.act(world);
        }
        let first = world.rng.below(busy.len());
        let mut in_turn = busy[first..].iter().chain(&busy[..first]);
        in_turn.any(|index| self.clients[*index].act(world))
    }
}
