//! Several hubs over one truth, simulated: agencies whose connections lead to any of them, are cut and moved, hubs that die
//! with turns in doubt. Whatever happens, each acknowledged batch is stored once, there is one draw, and every agency gets its
//! winners from whichever hub it asks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers of a simulation")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::{ConnectionId, Hub, Policy};
use loteria::lottery::{Agency, AgencyId, Lottery, Roster};
use loteria::timers::Moment;
use loteria::wire::Dialect;

mod hubs_kit;
mod storage_kit;

use hubs_kit::central::{Central, Shared, WINNING_NUMBER};
use hubs_kit::client::{Client, Wish};
use storage_kit::random::Random;

/// Steps after which nothing goes wrong any more.
const TROUBLED_STEPS: u64 = 3_000;
/// Steps by which every run has ended.
const STEPS_MAX: u64 = 60_000;

/// A connection between a client and a hub. Both may have left it.
struct Link {
    hub: usize,
    id: ConnectionId,
    /// `None`: the client has gone, and the hub does not know yet.
    client: Option<usize>,
    to_hub: Vec<u8>,
    to_client: Vec<u8>,
}

struct World {
    random: Random,
    now: Moment,
    central: Rc<RefCell<Central>>,
    hubs: Vec<Hub<Shared>>,
    clients: Vec<Client>,
    links: Vec<Link>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let agencies = 1 + random.below(4) as u32;
        let trouble = random.below(6);
        let central = Rc::new(RefCell::new(Central::new(agencies, trouble, random.below(2) == 0)));
        let dialects = [Dialect::Native, Dialect::Native, Dialect::Binary, Dialect::Text];
        let client = |agency| Client::new(AgencyId(agency), dialects[random.index(dialects.len())], &mut random);
        let clients = (1..=agencies).map(client).collect();
        let mut world = World {
            random,
            now: Moment::after_origin(Duration::from_secs(1)),
            central,
            hubs: vec![],
            clients,
            links: vec![],
        };
        let hubs = 1 + world.random.below(3);
        world.hubs = (0..hubs).map(|_| world.hub()).collect();
        world
    }

    /// A hub that starts now.
    fn hub(&mut self) -> Hub<Shared> {
        let central = self.central.borrow();
        let roster = Roster::parse(&central.agencies.len().to_string()).unwrap();
        let mut lottery = Lottery::new(roster, WINNING_NUMBER);
        for agency in central.agencies.keys() {
            let known = central.known(*agency).unwrap();
            let mut state = Agency::default();
            (state.standing, state.batches, state.bets) = (known.standing, known.batches, known.bets);
            lottery.restore(*agency, state).unwrap();
        }
        drop(central);
        let keeper = Shared::new(Rc::clone(&self.central), Random::new(self.random.next()));
        Hub::new(Policy::default(), lottery, keeper, self.now)
    }

    fn run(mut self) {
        let mut step = 0;
        while self.clients.iter().any(|client| client.winners.is_none()) {
            step += 1;
            let waiting = |client: &&Client| client.winners.is_none();
            let waits = || self.clients.iter().find(waiting).map(|client| client.agency);
            assert!(step < STEPS_MAX, "a client waits for ever: agency {:?}", waits());
            self.now = self.now + Duration::from_micros(500);
            if step == TROUBLED_STEPS {
                self.central.borrow_mut().trouble = 0;
            }
            self.clients_step();
            self.pipes_step();
            for hub in 0..self.hubs.len() {
                self.turn(hub);
            }
            let trouble = self.central.borrow().trouble;
            if self.random.below(1000) < trouble {
                self.cut_some();
            }
            if self.random.below(2000) < trouble {
                self.kill_some();
            }
            self.check_acknowledged();
        }
        self.check_end();
    }

    fn clients_step(&mut self) {
        for client in 0..self.clients.len() {
            if self.clients[client].winners.is_some() {
                continue;
            }
            let Some(link) = self.links.iter_mut().find(|link| link.client == Some(client)) else {
                self.connect(client);
                continue;
            };
            if self.random.below(2) == 0 {
                self.clients[client].send(&mut link.to_hub);
            }
            let bytes = self.random.index(link.to_client.len() + 1);
            let received: Vec<u8> = link.to_client.drain(..bytes).collect();
            if self.clients[client].receive(&received) == Wish::Leave {
                link.client = None;
            }
        }
    }

    fn connect(&mut self, client: usize) {
        let hub = self.random.index(self.hubs.len());
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000 + client as u16));
        let id = self.hubs[hub].open(peer, self.now).unwrap();
        self.clients[client].connected();
        self.links.push(Link { hub, id, client: Some(client), to_hub: Vec::new(), to_client: Vec::new() });
    }

    /// Bytes reach hubs; connections that their clients have left end, sooner or later.
    fn pipes_step(&mut self) {
        let mut at = 0;
        while at < self.links.len() {
            let link = &mut self.links[at];
            let hub = &mut self.hubs[link.hub];
            if !hub.is_stalled() && hub.wants_read(link.id) && !link.to_hub.is_empty() {
                let bytes = 1 + self.random.index(link.to_hub.len());
                let sent: Vec<u8> = link.to_hub.drain(..bytes).collect();
                hub.receive(link.id, &sent, self.now);
            }
            if link.client.is_none() && self.random.below(40) == 0 {
                hub.closed(link.id, self.now);
                self.links.remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let hub = &mut self.hubs[at];
        hub.tick(self.now).unwrap();
        if hub.has_work() {
            hub.run_deferred(self.now);
        }
        let committed = hub.commit(self.now).unwrap();
        hub.release(committed, self.now);
        hub.assert_invariants();
        let mut ended = Vec::new();
        while let Some(id) = hub.take_dirty() {
            let mut bytes = Vec::new();
            while !hub.outgoing(id).is_empty() {
                let chunk = hub.outgoing(id).to_vec();
                hub.sent(id, chunk.len(), self.now);
                bytes.extend(chunk);
            }
            if let Some(link) = self.links.iter_mut().find(|link| link.hub == at && link.id == id) {
                link.to_client.extend(bytes);
            }
            if hub.is_done(id) {
                hub.closed(id, self.now);
                ended.push(id);
            }
        }
        for id in ended {
            self.end_link(|link| link.hub == at && link.id == id);
        }
    }

    /// The hub has ended a connection: its client reads what was sent, and connects again.
    fn end_link(&mut self, is_it: impl Fn(&Link) -> bool) {
        while let Some(at) = self.links.iter().position(&is_it) {
            let link = self.links.remove(at);
            if let Some(client) = link.client {
                self.clients[client].receive(&link.to_client);
            }
        }
    }

    /// A client leaves its connection, which its hub does not know yet: what was sent may still arrive.
    fn cut_some(&mut self) {
        let at = self.random.index(self.links.len().max(1));
        if let Some(link) = self.links.get_mut(at) {
            link.client = None;
        }
    }

    fn kill_some(&mut self) {
        let at = self.random.index(self.hubs.len());
        self.hubs[at].keeper_mut().die();
        self.links.retain(|link| link.hub != at);
        self.hubs[at] = self.hub();
    }

    /// What was acknowledged is stored.
    fn check_acknowledged(&self) {
        let central = self.central.borrow();
        for client in &self.clients {
            let stored = central.agencies[&client.agency].batches.len();
            assert!(stored >= client.acknowledged, "agency {} has {stored} batches stored", client.agency);
        }
    }

    fn check_end(&self) {
        let central = self.central.borrow();
        assert!(central.drawn);
        let gaps = self.clients.iter().map(|client| client.gaps).sum::<u32>();
        assert!(central.fills || gaps == 0, "{gaps} connections were ended for a gap, which no client has made");
        for client in &self.clients {
            let stored = &central.agencies[&client.agency].batches;
            if client.is_numbered() {
                let stored: Vec<_> = stored.iter().map(|batch| batch.bets.clone()).collect();
                assert_eq!(stored, client.batches, "agency {}", client.agency);
                assert_eq!(client.winners.as_ref().unwrap(), &client.expected(), "agency {}", client.agency);
                continue;
            }
            let mut copies: HashMap<_, u64> = HashMap::new();
            for batch in stored {
                *copies.entry(format!("{:?}", batch.bets)).or_default() += 1;
            }
            for (batch, sent) in client.batches.iter().zip(&client.sent_on) {
                let copies = copies.remove(&format!("{batch:?}")).unwrap_or(0);
                assert!((1..=*sent).contains(&copies), "agency {}: {copies} copies, sent {sent} times", client.agency);
            }
            assert!(copies.is_empty(), "agency {}: rows that it did not send", client.agency);
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let first = number("HUBS_FIRST_SEED", 0);
    first..first + number("HUBS_SEEDS", 2_000)
}

#[test]
fn several_hubs_store_each_acknowledged_batch_once_and_draw_once() {
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(run.is_ok(), "HUBS_FIRST_SEED={seed} HUBS_SEEDS=1 repeats it");
    }
}
