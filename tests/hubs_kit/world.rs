//! Several hubs, the agencies whose connections lead to any of them, and what goes wrong between them.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use loteria::hub::{ConnectionId, Event, Hub, Observer, Policy};
use loteria::lottery::{AgencyId, Lottery, Roster};
use loteria::storage::Keep;
use loteria::timers::Moment;
use loteria::wire::Dialect;

use super::client::{Client, Wish, rivalry};
use super::rows;
use crate::storage_kit::random::Random;

/// What the hubs share.
pub trait Backend {
    type Keeper: Keep;

    /// A hub of the draw among `roster` starts. While that takes longer, the keeper is asked again with [`go_on`](Self::go_on).
    fn start(&mut self, roster: &Roster) -> Self::Keeper;

    /// The lottery as the keeper has found it, once it can be used.
    fn opened(&mut self, keeper: &mut Self::Keeper, roster: &Roster) -> Option<Lottery>;

    /// A hub is gone, with its turns in flight.
    fn die(&mut self, keeper: &mut Self::Keeper);

    /// Time goes on, and something may break.
    fn step(&mut self);

    /// Nothing breaks any more, and all is mended.
    fn heal(&mut self);

    fn now(&self) -> Moment;

    /// How many times in a hundred something goes wrong.
    fn trouble(&self) -> u64;

    /// Whether batches may be rejected for want of space.
    fn fills(&self) -> bool;

    /// The rows of an agency's batches, in order.
    fn stored(&self, agency: AgencyId) -> Vec<Vec<u8>>;

    /// Whether an agency has finished.
    fn has_finished(&self, agency: AgencyId) -> bool;

    /// Whether an agency was excluded.
    fn is_excluded(&self, _agency: AgencyId) -> bool {
        false
    }

    /// How many draws were made.
    fn draws(&self) -> usize;

    /// What else must be so at the end.
    fn check_end(&self) {}
}

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

/// One of the hubs.
enum Place<K: Keep> {
    Starting(K),
    Up(Box<Hub<K>>),
}

/// What a hub has said of agencies that were excluded: each is told once.
#[derive(Debug, Default)]
struct Exclusions(HashSet<AgencyId>);

impl Observer for Exclusions {
    fn observe(&mut self, event: &Event<'_>) {
        if let Event::AgencyExcluded(agency) = event {
            assert!(self.0.insert(*agency), "agency {agency} is excluded twice");
        }
    }
}

pub struct World<B: Backend> {
    random: Random,
    backend: B,
    roster: Roster,
    hubs: Vec<Place<B::Keeper>>,
    clients: Vec<Client>,
    links: Vec<Link>,
    policy: Policy,
    /// The client that leaves for good when a batch of it is acknowledged.
    leaves: Option<usize>,
    /// In how many steps one connection is cut, where something goes wrong once in a hundred times.
    steps_uncut: u64,
}

impl<B: Backend> World<B> {
    /// A world of `agencies` agencies over the backend that is made from the seed.
    pub fn new(seed: u64, backend: impl FnOnce(&mut Random, u32) -> B) -> World<B> {
        let mut random = Random::new(seed);
        let agencies = 1 + u32::try_from(random.below(4)).unwrap();
        let backend = backend(&mut random, agencies);
        let dialects = [Dialect::Native, Dialect::Native, Dialect::Binary, Dialect::Text];
        let client = |agency| Client::new(AgencyId(agency), dialects[random.index(dialects.len())], &mut random);
        let clients = (1..=agencies).map(client).collect();
        let roster = Roster::parse(&agencies.to_string()).unwrap();
        let policy = Policy::default();
        let (hubs, links, leaves, steps_uncut) = (vec![], vec![], None, 1000);
        let mut world = World { random, backend, roster, hubs, clients, links, policy, leaves, steps_uncut };
        let drawn = 1 + world.random.below(3);
        let hubs = crate::environment::number("HUBS_COUNT").unwrap_or(drawn);
        world.hubs = (0..hubs).map(|_| Place::Starting(world.backend.start(&world.roster))).collect();
        world
    }

    /// One of several agencies leaves in the middle of its upload, if it has one, and is not waited for. Others rest meanwhile.
    pub fn run_with_a_loss(mut self) {
        // Dialects that open a connection for each message are lost by silence.
        self.policy.idle_timeout = Duration::from_secs(20);
        self.leaves = (self.clients.len() > 1).then(|| self.random.index(self.clients.len()));
        self.run();
    }

    /// Most agencies have several clients at the same time, with bets of their own under the same numbers.
    pub fn run_with_rivals(mut self) {
        self.steps_uncut = 200;
        for at in 0..self.clients.len() {
            let rivals = self.random.index(4).min(2);
            let agency = self.clients[at].agency;
            let mut clients = Vec::new();
            while rivals > 0 && clients.len() <= rivals {
                clients.push(Client::beside(agency, &clients, &mut self.random));
            }
            if let Some(first) = clients.pop() {
                self.clients[at] = first;
                self.clients.append(&mut clients);
            }
        }
        self.run();
    }

    pub fn run(mut self) {
        let mut step = 0;
        while self.clients.iter().any(Client::is_waiting) {
            step += 1;
            let waiting = |client: &&Client| client.is_waiting();
            let waits = || self.clients.iter().find(waiting).map(|client| client.agency);
            assert!(step < STEPS_MAX, "a client waits for ever: agency {:?}", waits());
            if step >= TROUBLED_STEPS {
                self.backend.heal();
            }
            self.backend.step();
            self.clients_step();
            self.pipes_step();
            for hub in 0..self.hubs.len() {
                self.turn(hub);
            }
            let trouble = if step < TROUBLED_STEPS { self.backend.trouble() } else { 0 };
            if self.random.below(self.steps_uncut) < trouble {
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
        let lost = |at: usize| self.clients[at].is_lost && !self.backend.is_excluded(self.clients[at].agency);
        let waits_for_loss = self.leaves.is_some_and(lost);
        for client in 0..self.clients.len() {
            if !self.clients[client].is_waiting() {
                continue;
            }
            let Some(link) = self.links.iter_mut().find(|link| link.client == Some(client)) else {
                self.connect(client);
                continue;
            };
            let rests = waits_for_loss && self.clients[client].may_rest();
            if self.random.below(2) == 0 && !rests {
                self.clients[client].send(&mut link.to_hub);
            }
            let bytes = self.random.index(link.to_client.len() + 1);
            let received: Vec<u8> = link.to_client.drain(..bytes).collect();
            let wish = self.clients[client].receive(&received);
            if self.clients[client].has_stopped() {
                // What the hub has said besides has to be so, too.
                self.clients[client].receive(&std::mem::take(&mut link.to_client));
            }
            compare(&mut self.clients[client], &self.backend);
            if wish == Wish::Leave || self.clients[client].has_stopped() {
                link.client = None;
            }
            if self.leaves == Some(client) && self.clients[client].is_uploading() {
                self.clients[client].is_lost = true;
                link.client = None;
            }
        }
    }

    fn connect(&mut self, client: usize) {
        let at = self.random.index(self.hubs.len());
        let Place::Up(hub) = &mut self.hubs[at] else { return };
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000 + u16::try_from(client).unwrap()));
        let id = hub.open(peer, self.backend.now()).unwrap();
        self.clients[client].connected();
        self.links.push(Link { hub: at, id, client: Some(client), to_hub: Vec::new(), to_client: Vec::new() });
    }

    /// Bytes reach hubs; connections that their clients have left end, sooner or later.
    fn pipes_step(&mut self) {
        let mut at = 0;
        while at < self.links.len() {
            let link = &mut self.links[at];
            let now = self.backend.now();
            let Place::Up(hub) = &mut self.hubs[link.hub] else { panic!("a hub that starts has no connection") };
            if !hub.is_stalled() && hub.wants_read(link.id) && !link.to_hub.is_empty() {
                let bytes = 1 + self.random.index(link.to_hub.len());
                let sent: Vec<u8> = link.to_hub.drain(..bytes).collect();
                hub.receive(link.id, &sent, now);
            }
            if link.client.is_none() && self.random.below(40) == 0 {
                hub.closed(link.id, now);
                self.links.remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let now = self.backend.now();
        let hub = match &mut self.hubs[at] {
            Place::Up(hub) => hub,
            Place::Starting(keeper) => {
                keeper.go_on(now);
                if let Some(lottery) = self.backend.opened(keeper, &self.roster) {
                    self.open_hub(at, lottery);
                }
                return;
            }
        };
        hub.go_on(now);
        hub.tick(now).unwrap();
        if hub.has_work() {
            hub.run_deferred(now);
        }
        let committed = hub.commit(now).unwrap();
        hub.release(committed, now);
        hub.assert_invariants();
        let mut ended = Vec::new();
        while let Some(id) = hub.take_dirty() {
            let mut bytes = Vec::new();
            while !hub.outgoing(id).is_empty() {
                let chunk = hub.outgoing(id).to_vec();
                hub.sent(id, chunk.len(), now);
                bytes.extend(chunk);
            }
            if let Some(link) = self.links.iter_mut().find(|link| link.hub == at && link.id == id) {
                link.to_client.extend(bytes);
            }
            if hub.is_done(id) {
                hub.closed(id, now);
                ended.push(id);
            }
        }
        for id in ended {
            self.end_link(|link| link.hub == at && link.id == id);
        }
    }

    fn open_hub(&mut self, at: usize, lottery: Lottery) {
        let fresh = self.backend.start(&self.roster);
        let Place::Starting(keeper) = std::mem::replace(&mut self.hubs[at], Place::Starting(fresh)) else { return };
        let mut hub = Hub::new(self.policy.clone(), lottery, keeper, self.backend.now());
        hub.add_observer(Box::new(Exclusions::default()));
        self.hubs[at] = Place::Up(Box::new(hub));
    }

    /// The hub has ended a connection: its client reads what was sent, and connects again.
    fn end_link(&mut self, is_it: impl Fn(&Link) -> bool) {
        while let Some(at) = self.links.iter().position(&is_it) {
            let link = self.links.remove(at);
            if let Some(client) = link.client {
                self.clients[client].receive(&link.to_client);
                compare(&mut self.clients[client], &self.backend);
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
        let Place::Up(hub) = &mut self.hubs[at] else { return };
        self.backend.die(hub.keeper_mut());
        self.links.retain(|link| link.hub != at);
        self.hubs[at] = Place::Starting(self.backend.start(&self.roster));
    }

    /// What was acknowledged is stored.
    fn check_acknowledged(&self) {
        for client in &self.clients {
            let stored = self.backend.stored(client.agency).len();
            assert!(stored >= client.acknowledged, "agency {} has {stored} batches stored", client.agency);
        }
    }

    fn check_end(&self) {
        assert_eq!(self.backend.draws(), 1, "one draw");
        self.backend.check_end();
        let alone = self.clients.iter().filter(|client| !client.has_rivals());
        let gaps = alone.map(|client| client.gaps).sum::<u32>();
        assert!(self.backend.fills() || gaps == 0, "{gaps} connections were ended for a gap, which no client has made");
        for client in &self.clients {
            let agency = client.agency;
            let stored = self.backend.stored(agency);
            let sent: Vec<Vec<u8>> = client.batches.iter().map(|bets| rows(agency, bets)).collect();
            assert_eq!(self.backend.is_excluded(agency), client.is_lost, "agency {agency}");
            if client.has_rivals() {
                let clients: Vec<&Client> = self.clients.iter().filter(|client| client.agency == agency).collect();
                rivalry::check_end(agency, &clients, &stored);
                continue;
            }
            if client.is_lost {
                assert!(stored.iter().all(|rows| sent.contains(rows)), "agency {agency}");
                continue;
            }
            if client.is_numbered() {
                assert_eq!(stored, sent, "agency {agency}");
                assert_eq!(client.winners.as_ref().unwrap(), &client.expected(), "agency {agency}");
                continue;
            }
            let mut copies: HashMap<Vec<u8>, u64> = HashMap::new();
            stored.into_iter().for_each(|rows| *copies.entry(rows).or_default() += 1);
            for (rows, times) in sent.iter().zip(&client.sent_on) {
                let copies = copies.remove(rows).unwrap_or(0);
                assert!((1..=*times).contains(&copies), "agency {agency}: {copies} copies, sent {times} times");
            }
            assert!(copies.is_empty(), "agency {agency}: rows that it did not send");
        }
    }
}

/// What a client was told is so.
fn compare(client: &mut Client, backend: &impl Backend) {
    if client.was_told() {
        client.compare(&backend.stored(client.agency), backend.has_finished(client.agency));
    }
}

/// Runs the seeds that the environment chooses, `count` by default, shared out to `SOAK_THREADS` threads.
pub fn run_seeds(name: &str, count: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe + Sync) {
    let first = crate::environment::number(&format!("{name}_FIRST_SEED")).unwrap_or(0);
    let end = first + crate::environment::number(&format!("{name}_SEEDS")).unwrap_or(count);
    let threads = crate::environment::number("SOAK_THREADS").unwrap_or(1).max(1);
    std::thread::scope(|scope| {
        for at in 0..threads {
            let run = &run;
            scope.spawn(move || {
                for seed in (first + at..end).step_by(usize::try_from(threads).unwrap()) {
                    let outcome = std::panic::catch_unwind(|| run(seed));
                    assert!(outcome.is_ok(), "{name}_FIRST_SEED={seed} {name}_SEEDS=1 repeats it");
                }
            });
        }
    });
}
