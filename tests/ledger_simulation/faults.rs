//! What goes wrong meanwhile: one thing with the nodes at a time, and others with connections at any time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::engine_model::{Cluster, Random};

/// What is to be done about a fault, and when.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    FailOver {
        old: usize,
        was_paused: bool,
    },
    Rejoin(usize),
    GoOn(usize),
    Unstall,
    /// The leader goes that no standby follows any more, with what only it has.
    LoseAhead(usize),
    Space,
    Writable(usize),
}

pub struct Trouble {
    random: Random,
    remedy: Option<(u64, Remedy)>,
}

impl Trouble {
    pub fn new(seed: u64) -> Trouble {
        Trouble { random: Random::new(seed), remedy: None }
    }

    /// Something may go wrong now, or be mended.
    pub fn maybe(&mut self, cluster: &Rc<RefCell<Cluster>>, counts: &mut BTreeMap<&'static str, u32>) {
        let cluster = &mut *cluster.borrow_mut();
        self.mend(cluster, false);
        if let Some((_, Remedy::LoseAhead(leader))) = self.remedy {
            self.show_ahead(cluster, leader);
        }
        let mut count = |what| *counts.entry(what).or_default() += 1;
        if self.remedy.is_none() && self.random.chance(8) {
            self.break_node(cluster, &mut count);
        }
        if !self.random.chance(15) {
            return;
        }
        let links = cluster.links();
        if links.is_empty() {
            return;
        }
        let link = links[self.random.index(links.len())];
        match self.random.below(6) {
            0 => {
                count("terminated");
                cluster.terminate(link);
            }
            1 => {
                count("cut");
                cluster.reset(link);
            }
            2 => {
                count("late bytes");
                cluster.hold(link);
            }
            3 => {
                let few = 1 + self.random.index(2000);
                cluster.deliver(link, few);
            }
            4 => {
                if cluster.cancel_wait(link) {
                    count("cancelled");
                }
            }
            _ => cluster.fail_next(link, ["40001", "40P01", "55P03", "53100"][self.random.index(4)]),
        }
    }

    fn break_node(&mut self, cluster: &mut Cluster, count: &mut impl FnMut(&'static str)) {
        let Some(leader) = cluster.leader() else { return };
        let after = cluster.now() + self.random.below(4_000_000);
        let remedy = match self.random.below(8) {
            0 => {
                count("failover");
                if self.random.chance(500) {
                    cluster.kill(leader)
                } else {
                    cluster.lose(leader)
                }
                Remedy::FailOver { old: leader, was_paused: false }
            }
            1 => {
                count("restart");
                cluster.restart(leader);
                return;
            }
            2 => {
                count("pause");
                cluster.pause(leader);
                if self.random.chance(500) {
                    Remedy::GoOn(leader)
                } else {
                    Remedy::FailOver { old: leader, was_paused: true }
                }
            }
            3 => {
                cluster.stall((leader + 1) % 3, true);
                if self.random.chance(500) {
                    count("no standby");
                    cluster.stall((leader + 2) % 3, true);
                }
                Remedy::Unstall
            }
            4 => {
                cluster.set_full(true);
                Remedy::Space
            }
            5 => {
                cluster.set_read_only(leader, true);
                Remedy::Writable(leader)
            }
            6 => {
                count("lost ahead");
                (1..3).for_each(|step| cluster.stall((leader + step) % 3, true));
                Remedy::LoseAhead(leader)
            }
            _ => {
                count("standby lost");
                let standby = (leader + 1) % 3;
                cluster.kill(standby);
                Remedy::Rejoin(standby)
            }
        };
        self.remedy = Some((after, remedy));
    }

    /// Lets others see what the leader alone has: after a restart, or when waits for a standby were cancelled.
    fn show_ahead(&mut self, cluster: &mut Cluster, leader: usize) {
        if self.random.chance(20) {
            cluster.restart(leader);
        }
        if self.random.chance(50) {
            for link in cluster.links() {
                cluster.cancel_wait(link);
            }
        }
    }

    fn mend(&mut self, cluster: &mut Cluster, at_once: bool) {
        let Some((at, remedy)) = self.remedy.filter(|(at, _)| at_once || *at <= cluster.now()) else { return };
        self.remedy = None;
        match remedy {
            Remedy::FailOver { old, was_paused } => {
                cluster.fail_over();
                let next = if was_paused { Remedy::GoOn(old) } else { Remedy::Rejoin(old) };
                self.remedy = Some((at + self.random.below(5_000_000), next));
            }
            Remedy::GoOn(node) => {
                cluster.go_on_node(node);
                if cluster.leader() != Some(node) {
                    self.remedy = Some((at + self.random.below(3_000_000), Remedy::Rejoin(node)));
                }
            }
            Remedy::Rejoin(node) => cluster.rejoin(node),
            Remedy::LoseAhead(leader) => {
                cluster.kill(leader);
                cluster.fail_over();
                (0..3).for_each(|node| cluster.stall(node, false));
                self.remedy = Some((at + self.random.below(1_000_000), Remedy::Rejoin(leader)));
            }
            Remedy::Unstall => (0..3).for_each(|node| cluster.stall(node, false)),
            Remedy::Space => cluster.set_full(false),
            Remedy::Writable(node) => cluster.set_read_only(node, false),
        }
    }

    /// Nothing goes wrong any more, and all is mended.
    pub fn heal(&mut self, cluster: &Rc<RefCell<Cluster>>) {
        let cluster = &mut *cluster.borrow_mut();
        while self.remedy.is_some() {
            self.mend(cluster, true);
        }
        for link in cluster.links() {
            cluster.unhold(link);
        }
    }
}
