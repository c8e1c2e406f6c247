//! A hundred thousand queries that wait for one draw.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use loteria::hub::{ConnectionId, Hub, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Lottery, Roster};
use loteria::storage::{Options, Store};
use loteria::timers::Moment;
use loteria::wire::{Answer, Dialect, Expecting};

use crate::bets::{Batches, Kind, WINNING_NUMBER};
use crate::late::Late;
use crate::reactor::Keeper;
use crate::rng::Rng;
use crate::storage_kit::disk::SimDisk;

const PARKED: usize = 100_000;
/// What a parked connection may cost, in bytes of the process.
const BYTES_EACH_MAX: usize = 1024;
const DIALECT: Dialect = Dialect::Binary;
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);

/// Bytes of memory that the process holds; `None` where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn turn(hub: &mut Hub<Keeper>, now: Moment) {
    hub.run_deferred(now);
    hub.tick(now).unwrap();
    let committed = hub.commit(now).unwrap();
    hub.release(committed, now);
}

/// A frame that `put` writes for `agency`.
fn frame(put: impl FnOnce(Dialect, AgencyId, &mut Vec<u8>), agency: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(DIALECT, AgencyId(agency), &mut bytes);
    bytes
}

#[test]
fn a_hundred_thousand_parked_queries_cost_little_and_are_answered_in_slices() {
    let now = Moment::default();
    let (store, _) = Store::open(SimDisk::new(0).mount(), Options::default()).unwrap();
    let lottery = Lottery::new(Roster::parse("2").unwrap(), WINNING_NUMBER);
    let policy = Policy { connections_max: PARKED + 1, ..Policy::default() };
    let mut hub = Hub::new(policy, lottery, Late::prompt(store, WINNING_NUMBER), now);

    let before = resident_bytes();
    let ids: Vec<ConnectionId> = (0..PARKED).map(|_| hub.open(PEER, now).unwrap()).collect();
    let mut batches = Batches::default();
    let batch = batches.make(&mut Rng::new(7), Some(1), Kind::Good, 30);
    let mut bets = Vec::new();
    batches.put(batch, DIALECT, 1, 0, 0, &mut bets);
    hub.receive(ids[0], &bets, now);
    hub.receive(ids[0], &frame(Dialect::put_finish, 1), now);
    turn(&mut hub, now);
    hub.sent(ids[0], hub.outgoing(ids[0]).len(), now);
    let query = frame(Dialect::put_query, 1);
    for some in ids.chunks(1000) {
        some.iter().for_each(|id| hub.receive(*id, &query, now));
        turn(&mut hub, now);
    }
    assert_eq!((hub.parked(), hub.buffered_bytes()), (PARKED, 0), "a parked query holds no buffer");
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        let each = after.saturating_sub(before) / PARKED;
        println!("{each} bytes of the process for each parked connection");
        assert!(each <= BYTES_EACH_MAX, "{each} bytes each");
    }

    // The last agency finishes: the draw.
    let last = hub.open(PEER, now).unwrap();
    hub.receive(last, &frame(Dialect::put_finish, 2), now);
    let winners: Vec<String> = batches.all[batch].winners().map(str::to_owned).collect();
    assert!(!winners.is_empty());
    let (mut turns, mut answered) = (0, 0);
    while hub.has_work() || turns == 0 {
        turn(&mut hub, now);
        turns += 1;
        let mut slice = 0;
        while let Some(id) = hub.take_dirty() {
            let answer = DIALECT.read_answer(hub.outgoing(id), Expecting::Winners).unwrap();
            if id != last {
                assert!(matches!(answer, Some((_, Answer::Winners { documents, .. })) if documents == winners));
                slice += 1;
            }
            hub.sent(id, hub.outgoing(id).len(), now);
        }
        assert!(slice <= limits::FLUSH_PER_TURN, "{slice} answers in one turn");
        answered += slice;
    }
    assert_eq!((answered, hub.parked(), hub.buffered_bytes()), (PARKED, 0, 0));
    assert_eq!(turns, PARKED.div_ceil(limits::FLUSH_PER_TURN), "every slice is full");
    hub.assert_invariants();
}
