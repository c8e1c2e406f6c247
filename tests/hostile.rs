//! A few hundred hostile peers of every kind, more than the hub has slots, beside five agencies; and parked queries.
//! `make hostile` and `make parked` do the same by the thousand, and measure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]
// Whatever answer is not the expected one ends the test and is printed; naming each would say nothing more.
#![allow(clippy::wildcard_enum_match_arm)]

mod common;

// The peers are those of the bench.
#[path = "../benches/hostile/agency.rs"]
#[allow(dead_code, reason = "the bench measures")]
mod agency;
#[path = "../benches/hostile/attack.rs"]
mod attack;
#[path = "../benches/hostile/certificates.rs"]
mod certificates;
#[path = "../benches/hostile/kinds.rs"]
#[allow(dead_code, reason = "the bench prints")]
mod kinds;
#[path = "../benches/load/process.rs"]
#[allow(dead_code, reason = "the benches read more of it")]
mod process;
#[path = "../benches/hostile/queries.rs"]
mod queries;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use attack::{Attack, Tally};
use certificates::Certificates;
use common::machine::{eventually, peak_memory_bytes, skip};
use common::{course_data, hub};
use kinds::Kind;
use loteria::reactor::allow_connections;

const HOSTILE: usize = 400;
/// How long each stays away after its connection has ended: short, so that much happens in a few seconds.
const AWAY: Duration = Duration::from_secs(1);
/// Fewer than the peers: some are evicted.
const SLOTS: &str = "300";
/// What four hundred of them may make the hub hold; most of it are the longest frames and answers that are not read.
const MEMORY_MAX: usize = 64 * 1024 * 1024;
const QUERIES: usize = 1000;
/// What a parked query may cost the hub, in KiB.
const QUERY_MAX_KIB: usize = 2;

/// Stops the attack however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the system lets this program close sockets without a word.
fn may_vanish() -> bool {
    let socket = attack::socket(0).unwrap();
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpRepair, &1).is_ok()
}

/// Whether the longest frames have come far.
fn weighs(attack: &Attack) -> bool {
    attack.tallies().all(|(kind, tally)| kind != Kind::Huge || tally.sent > tally.peers as u64 * 500_000)
}

#[test]
fn agencies_draw_among_hostile_peers_of_every_kind() {
    if allow_connections(HOSTILE) < HOSTILE {
        return skip(&format!("{HOSTILE} hostile connections need more descriptors (ulimit -Hn)"));
    }
    let data = course_data().unwrap_or_else(|| ".data".into());
    let agencies = agency::load(&data).unwrap();
    let mut start = hub().env("LIMITS_MAX_CONNECTIONS", SLOTS);
    let certificates = Certificates::make();
    if let Err(why) = &certificates {
        skip(&format!("greetings of TLS are mere garbage to a hub without certificates: {why}"));
    }
    let tls = certificates.iter().flat_map(Certificates::environment);
    for (key, value) in agency::ENVIRONMENT.into_iter().chain(tls) {
        start = start.env(key, value);
    }
    let start = start.env("LIMITS_HANDSHAKE_TIMEOUT", "3s").env("LIMITS_FRAME_TIMEOUT", "2s");
    let hub = start.env("LIMITS_WRITE_TIMEOUT", "2s").start();
    let (stop, settled) = (AtomicBool::new(false), AtomicBool::new(false));
    let tallies: Vec<(Kind, Tally)> = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let attacking = scope.spawn(|| {
            let mut attack = Attack::new(hub.address, HOSTILE, None, AWAY).unwrap();
            while !stop.load(Ordering::Relaxed) {
                attack.turn().unwrap();
                settled.fetch_or(attack.is_settled() && weighs(&attack), Ordering::Relaxed);
            }
            attack.tallies().collect()
        });
        eventually("all have come", || settled.load(Ordering::Relaxed) || attacking.is_finished());
        // It compares the winners of each with those of its file.
        agency::play(&agencies, hub.address, 62, Duration::ZERO).unwrap();
        for what in [
            "reason: its place is needed",
            "reason: a frame begun and not ended within FRAME_TIMEOUT",
            "reason: the peer does not read what it is sent, for WRITE_TIMEOUT",
            "reason: the peer ended in the middle of a frame",
            "action: query | result: fail",
            "action: receive_message | result: success",
        ] {
            hub.wait_for(what);
        }
        drop(stopping);
        attacking.join().unwrap()
    });
    for (kind, tally) in tallies {
        assert!(tally.peers > 0 && tally.connections >= tally.peers, "{kind:?}: {tally:?}");
        let is_mute = matches!(kind, Kind::Silent | Kind::Churn);
        assert_eq!(tally.sent == 0, is_mute, "{kind:?}: {tally:?}");
        match kind {
            Kind::Handshake if certificates.is_ok() => assert!(tally.received > tally.peers as u64 * 500, "{tally:?}"),
            Kind::Vanished if may_vanish() => assert!(tally.vanished >= tally.peers, "{tally:?}"),
            _ => {}
        }
    }
    let peak = peak_memory_bytes(hub.child.id());
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    let (status, log) = hub.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!(log.matches("action: sorteo | result: success").count(), 1);
}

#[test]
fn parked_queries_cost_little_and_are_all_answered() {
    let count = queries::allowed(QUERIES);
    if count < QUERIES {
        skip(&format!("{} of {QUERIES} parked queries: there are no more descriptors (ulimit -Hn)", QUERIES - count));
    }
    let start = hub().env("LOTTERY_AGENCIES", "2");
    let hub = start.start();
    let own_kib = || process::Usage::of(&hub.child.id().to_string()).unwrap().own_kib;
    let winner = queries::bet(hub.address).unwrap();
    let before = own_kib();
    let mut parked: Vec<_> = (0..count).map(|index| queries::park(hub.address, index).unwrap()).collect();
    queries::wait_until_read(hub.address).unwrap();
    let grown = usize::try_from(own_kib().saturating_sub(before)).unwrap();
    assert!(grown < count * QUERY_MAX_KIB, "{grown} KiB for {count} queries");
    assert_eq!(hub.count("action: sorteo"), 0);
    queries::draw(hub.address).unwrap();
    for query in &mut parked {
        assert!(query.is_answered(&winner).unwrap());
    }
}
