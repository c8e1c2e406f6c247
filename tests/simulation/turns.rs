//! Single turns of the hub, written out: what the simulation found, kept small enough to read.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use loteria::hub::{ConnectionId, Event, Hub, Observer, OnAgencyLoss, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Lottery, Roster, Standing};
use loteria::storage::{Options, Store};
use loteria::timers::Moment;
use loteria::wire::{Answer, Cause, Dialect, Expecting};

use crate::bets::{Batches, Kind, WINNING_NUMBER};
use crate::late::Late;
use crate::reactor::Keeper;
use crate::rng::Rng;
use crate::storage_kit::disk::SimDisk;

/// A hub without a network.
struct Desk {
    hub: Hub<Keeper>,
    disk: SimDisk,
    batches: Batches,
    now: Moment,
}

impl Desk {
    fn new(roster: &str, policy: Policy, options: Options) -> Desk {
        let disk = SimDisk::new(0);
        let (store, _) = Store::open(disk.mount(), options).unwrap();
        let lottery = Lottery::new(Roster::parse(roster).unwrap(), WINNING_NUMBER);
        let now = Moment::default();
        Desk {
            hub: Hub::new(policy, lottery, Late::prompt(store, WINNING_NUMBER), now),
            disk,
            batches: Batches::default(),
            now,
        }
    }

    /// A hub for so many agencies, as it comes.
    fn of(agencies: &str) -> Desk {
        Desk::new(agencies, Policy::default(), Options::default())
    }

    fn connect(&mut self) -> ConnectionId {
        self.hub.open(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now).unwrap()
    }

    /// A native connection of `agency` that has been welcomed.
    fn native(&mut self, agency: u32) -> ConnectionId {
        let id = self.connect();
        let mut hello = Vec::new();
        Dialect::Native.put_hello(AgencyId(agency), &mut hello);
        self.hub.receive(id, &hello, self.now);
        self.turn();
        assert!(matches!(self.answers(id, Expecting::Welcome)[..], [Answer::Welcome { .. }]));
        id
    }

    /// The frame of a batch of two bets.
    fn batch(&mut self, dialect: Dialect, agency: u32, kind: Kind, sequence: u64) -> Vec<u8> {
        let mut frame = Vec::new();
        let batch = self.batches.make(&mut Rng::new(1), Some(agency), kind, 2);
        self.batches.put(batch, dialect, agency, sequence, 0, &mut frame);
        frame
    }

    fn finish(dialect: Dialect, agency: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        dialect.put_finish(AgencyId(agency), &mut frame);
        frame
    }

    fn query(dialect: Dialect, agency: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        dialect.put_query(AgencyId(agency), &mut frame);
        frame
    }

    fn turn(&mut self) {
        self.hub.run_deferred(self.now);
        self.hub.tick(self.now).unwrap();
        let committed = self.hub.commit(self.now).unwrap();
        self.hub.release(committed, self.now);
        self.hub.assert_invariants();
    }

    /// Everything that the hub says to a connection now.
    fn answers(&mut self, id: ConnectionId, expecting: Expecting) -> Vec<Answer> {
        let bytes = self.hub.outgoing(id).to_vec();
        self.hub.sent(id, bytes.len(), self.now);
        let (mut answers, mut rest) = (Vec::new(), &bytes[..]);
        while let Ok(Some((used, answer))) = Dialect::Native.read_answer(rest, expecting) {
            rest = &rest[used..];
            answers.push(answer);
        }
        assert!(rest.is_empty(), "no answer of native: {rest:02x?}");
        answers
    }

    /// Sends `frames` in one piece; what the hub says at the end of the turn.
    fn say(&mut self, id: ConnectionId, frames: &[Vec<u8>]) -> Vec<Answer> {
        self.hub.receive(id, &frames.concat(), self.now);
        self.turn();
        self.answers(id, Expecting::Stored)
    }

    fn standing(&self, agency: u32) -> Standing {
        self.hub.lottery().agency(AgencyId(agency)).unwrap().standing
    }
}

fn is_reject(answer: &Answer, number: u64, why: Cause) -> bool {
    matches!(answer, Answer::Rejected { sequence, cause, .. } if *sequence == Some(number) && *cause == why)
}

fn is_gap(answer: &Answer) -> bool {
    matches!(answer, Answer::Error { cause: Cause::Stream, .. })
}

const NATIVE: Dialect = Dialect::Native;

#[test]
fn a_query_behind_a_late_batch_is_answered() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    desk.say(id, &[Desk::finish(NATIVE, 1)]);
    let late = desk.batch(NATIVE, 1, Kind::Late, 0);
    let answers = desk.say(id, &[late, Desk::query(NATIVE, 1)]);
    assert!(is_reject(&answers[0], 0, Cause::Late), "{answers:?}");
    assert!(matches!(answers[1..], [Answer::Winners { .. }]), "{answers:?}");
}

#[test]
fn a_numbered_batch_of_no_bets_is_rejected_and_its_number_comes_again() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let mut empty = Vec::new();
    NATIVE.put_batch(AgencyId(1), 0, 0, &[], &mut empty);
    let [first, behind] = [0, 1].map(|number| desk.batch(NATIVE, 1, Kind::Good, number));
    let answers = desk.say(id, &[empty, behind.clone(), first, behind]);
    assert!(is_reject(&answers[0], 0, Cause::Permanent), "{answers:?}");
    assert!(matches!(answers[1..], [Answer::StoredBelow { next: 2 }]), "{answers:?}");
}

#[test]
fn a_finish_before_a_rejected_batch_has_come_again_does_not_count_and_is_told_so() {
    for ending in [Desk::finish(NATIVE, 1), Desk::query(NATIVE, 1)] {
        let mut desk = Desk::of("1");
        let id = desk.native(1);
        let bad = desk.batch(NATIVE, 1, Kind::Bad, 0);
        let behind = desk.batch(NATIVE, 1, Kind::Good, 1);
        let answers = desk.say(id, &[bad, behind, ending]);
        assert!(is_reject(&answers[0], 0, Cause::Permanent), "{answers:?}");
        assert!(answers.len() == 2 && is_gap(&answers[1]), "{answers:?}");
        assert!(desk.hub.is_done(id), "the connection is closed");
        assert_eq!(desk.standing(1), Standing::Betting);
    }
}

#[test]
fn a_full_disk_rejects_a_batch_and_what_is_behind_it_does_not_count() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    desk.disk.set_space(Some(desk.disk.used()));
    let [first, second] = [0, 1].map(|number| desk.batch(NATIVE, 1, Kind::Good, number));
    let answers = desk.say(id, &[first, second, Desk::finish(NATIVE, 1), Desk::query(NATIVE, 1)]);
    assert!(is_reject(&answers[0], 0, Cause::StorageFull), "{answers:?}");
    assert!(answers.len() == 2 && is_gap(&answers[1]), "nothing follows the answer that closes: {answers:?}");
    assert_eq!((desk.standing(1), desk.hub.parked()), (Standing::Betting, 0));
    desk.hub.shut_down(desk.now);
    desk.turn();
    assert_eq!(desk.answers(id, Expecting::Stored), []);
}

#[test]
fn what_is_behind_a_conflict_does_not_count_before_its_number_has_come_again() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let stored = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.say(id, std::slice::from_ref(&stored));
    // The bets of an old connection, whose numbers are one too high for what is stored.
    let other = desk.batch(NATIVE, 1, Kind::Conflict, 0);
    let behind = desk.batch(NATIVE, 1, Kind::Good, 1);
    let answers = desk.say(id, &[other.clone(), behind.clone()]);
    assert!(is_reject(&answers[0], 0, Cause::Conflict), "{answers:?}");
    assert!(answers.len() == 2 && is_gap(&answers[1]), "{answers:?}");
    let id = desk.native(1);
    let answers = desk.say(id, &[other, stored, behind]);
    assert!(is_reject(&answers[0], 0, Cause::Conflict), "{answers:?}");
    assert_eq!(answers[1..], [Answer::StoredBelow { next: 2 }]);
}

#[test]
fn a_conflict_with_bets_that_a_full_disk_took_back_is_none() {
    let mut desk = Desk::of("1");
    let [one, other] = [desk.native(1), desk.native(1)];
    let first = desk.batch(NATIVE, 1, Kind::Good, 0);
    let second = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.disk.set_space(Some(desk.disk.used()));
    desk.hub.receive(one, &first, desk.now);
    desk.hub.receive(other, &second, desk.now);
    desk.turn();
    for id in [one, other] {
        let answers = desk.answers(id, Expecting::Stored);
        assert!(answers.len() == 1 && is_reject(&answers[0], 0, Cause::StorageFull), "{answers:?}");
    }
}

#[test]
fn a_full_disk_rejects_what_comes_before_a_conflict_of_the_same_turn() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let stored = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.say(id, &[stored]);
    desk.disk.set_space(Some(desk.disk.used()));
    let next = desk.batch(NATIVE, 1, Kind::Good, 1);
    let other = desk.batch(NATIVE, 1, Kind::Conflict, 0);
    let answers = desk.say(id, &[next, other]);
    assert!(is_reject(&answers[0], 1, Cause::StorageFull), "{answers:?}");
    assert!(answers.len() == 2 && is_reject(&answers[1], 0, Cause::Conflict), "{answers:?}");
}

#[test]
fn a_finish_that_only_another_finish_of_its_turn_allows_is_taken_back_with_it() {
    let mut desk = Desk::of("1");
    let [old, new] = [desk.native(1), desk.native(1)];
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.disk.set_space(Some(desk.disk.used()));
    let answers = desk.say(old, std::slice::from_ref(&batch));
    assert!(is_reject(&answers[0], 0, Cause::StorageFull), "{answers:?}");
    desk.now = desk.now + limits::FULL_DISK_PAUSE;
    // The disk is still full. `new` stores the batch and finishes; `old` finishes without sending it again.
    desk.hub.receive(new, &[batch.clone(), Desk::finish(NATIVE, 1)].concat(), desk.now);
    desk.hub.receive(old, &Desk::finish(NATIVE, 1), desk.now);
    desk.turn();
    for id in [old, new] {
        let answers = desk.answers(id, Expecting::Stored);
        assert!(answers.last().is_some_and(is_gap), "{answers:?}");
    }
    assert_eq!(desk.standing(1), Standing::Betting, "its batch can still come");
    desk.disk.set_space(None);
    desk.now = desk.now + limits::FULL_DISK_PAUSE;
    let third = desk.native(1);
    let answers = desk.say(third, &[batch, Desk::finish(NATIVE, 1)]);
    assert!(matches!(answers[..], [Answer::StoredBelow { next: 1 }, Answer::Finished { .. }]), "{answers:?}");
}

#[test]
fn a_query_behind_an_acknowledged_batch_stays_parked() {
    let mut desk = Desk::of("2");
    let id = desk.native(1);
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    assert_eq!(desk.say(id, &[batch, Desk::query(NATIVE, 1)]), [Answer::StoredBelow { next: 1 }]);
    desk.say(id, &[Desk::query(NATIVE, 1)]);
    assert_eq!(desk.hub.parked(), 1, "a parked connection is not decoded: it parks once");
}

#[test]
fn an_agency_that_was_just_heard_is_not_lost_because_an_older_connection_ends_last() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, loss_grace: Duration::ZERO, ..Policy::default() };
    let idle = policy.idle_timeout;
    let mut desk = Desk::new("2", policy, Options::default());
    let [old, new] = [desk.connect(), desk.connect()];
    let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(old, &batch, desk.now);
    desk.turn();
    desk.now = desk.now + idle / 2;
    let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(new, &batch, desk.now);
    desk.turn();
    desk.hub.closed(new, desk.now);
    desk.hub.closed(old, desk.now);
    desk.now = desk.now + (idle - Duration::from_millis(1));
    desk.turn();
    assert_eq!(desk.standing(1), Standing::Betting, "it was heard less than IDLE_TIMEOUT ago");
    desk.now = desk.now + Duration::from_millis(1);
    desk.turn();
    assert_eq!(desk.standing(1), Standing::Excluded);
}

#[test]
fn a_seal_that_finds_no_room_stops_nothing() {
    // The room kept for finishes is used up to the last place, by more agencies than it was kept for.
    let options = Options { agencies: 1, journal_step: 0, ..Options::default() };
    let mut desk = Desk::new("100", Policy::default(), options);
    desk.disk.set_space(Some(desk.disk.used()));
    let id = desk.connect();
    for agency in 1..=57 {
        desk.hub.receive(id, &Desk::finish(Dialect::Binary, agency), desk.now);
        desk.turn();
    }
    let before = desk.disk.trace();
    desk.now = desk.now + 2 * limits::SEAL_AFTER;
    desk.turn();
    assert_ne!(desk.disk.trace(), before, "the hub has tried to seal");
    desk.hub.close_store().unwrap();
}

#[test]
fn half_frames_of_strangers_do_not_hold_up_the_winners() {
    let mut desk = Desk::of("1");
    let mut half = vec![0, 0, 0, 1, 0, 0x0f, 0xff, 0xf8];
    half.resize((1 << 20) - 1, b'x');
    for _ in 0..200 {
        let stranger = desk.connect();
        desk.hub.receive(stranger, &half, desk.now);
    }
    assert!(desk.hub.buffered_bytes() > limits::LISTS_BYTES_HIGH);
    let id = desk.native(1);
    desk.hub.receive(id, &[Desk::finish(NATIVE, 1), Desk::query(NATIVE, 1)].concat(), desk.now);
    desk.turn();
    assert!(desk.hub.lottery().drawn());
    assert_eq!(desk.hub.parked(), 0, "its winners are on their way in the turn of the draw");
    assert!(!desk.hub.outgoing(id).is_empty());
}

#[test]
fn a_connection_in_another_dialect_that_comes_and_goes_does_not_make_an_agency_lost_earlier() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, loss_grace: Duration::ZERO, ..Policy::default() };
    let idle = policy.idle_timeout;
    for closes_first in [true, false] {
        let mut desk = Desk::new("2", policy.clone(), Options::default());
        let own = desk.connect();
        let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
        desk.hub.receive(own, &batch, desk.now);
        desk.turn();
        if closes_first {
            desk.hub.closed(own, desk.now);
        }
        let other = desk.connect();
        let bad = desk.batch(Dialect::KeyValue, 1, Kind::Bad, 0);
        desk.hub.receive(other, &bad, desk.now);
        desk.turn();
        if !closes_first {
            desk.hub.closed(own, desk.now);
        }
        desk.hub.closed(other, desk.now);
        desk.now = desk.now + (idle - Duration::from_millis(1));
        desk.turn();
        assert_eq!(desk.standing(1), Standing::Betting, "it bets with a connection per message");
        desk.now = desk.now + Duration::from_millis(1);
        desk.turn();
        assert_eq!(desk.standing(1), Standing::Excluded);
    }
}

#[test]
fn an_agency_is_there_while_a_connection_that_spoke_for_it_is() {
    for dialect in [Dialect::KeyValue, Dialect::CaseId, Dialect::Binary] {
        let policy = Policy {
            on_agency_loss: OnAgencyLoss::Exclude,
            idle_timeout: Duration::from_secs(60),
            loss_grace: Duration::from_secs(10),
            ..Policy::default()
        };
        let (idle, grace) = (policy.idle_timeout, policy.loss_grace);
        let mut desk = Desk::new("2", policy, Options::default());
        let id = desk.connect();
        for agency in [1, 2, 1, 2] {
            let batch = desk.batch(dialect, agency, Kind::Good, 0);
            desk.hub.receive(id, &batch, desk.now);
            desk.turn();
        }
        // It goes on for agency 2 only.
        for _ in 0..10 {
            desk.now = desk.now + idle / 2;
            let batch = desk.batch(dialect, 2, Kind::Good, 0);
            desk.hub.receive(id, &batch, desk.now);
            desk.turn();
        }
        assert_eq!(desk.standing(1), Standing::Betting, "{}", dialect.name());
        desk.hub.closed(id, desk.now);
        let until = desk.now + (idle + grace);
        while let Some(at) = desk.hub.next_deadline().filter(|at| *at <= until) {
            desk.now = at;
            desk.turn();
        }
        assert_eq!([1, 2].map(|agency| desk.standing(agency)), [Standing::Excluded; 2], "{}", dialect.name());
    }
}

#[test]
fn a_connection_that_names_one_agency_after_another_keeps_a_bounded_number_of_them() {
    let agencies = limits::AGENCIES_PER_CONNECTION as u32 + 50;
    let mut desk = Desk::new(
        &agencies.to_string(),
        Policy::default(),
        Options { agencies: agencies as usize, ..Options::default() },
    );
    let id = desk.connect();
    for agency in (1..=agencies).chain(1..=agencies) {
        let batch = desk.batch(Dialect::Binary, agency, Kind::Bad, 0);
        desk.hub.receive(id, &batch, desk.now);
        desk.turn();
    }
    desk.hub.closed(id, desk.now);
    desk.turn();
}

#[test]
fn a_peer_that_asks_and_asks_and_does_not_read_is_not_answered_further() {
    let mut desk = Desk::of("1");
    let id = desk.connect();
    let (text, mut bets) = (Dialect::Text, Vec::new());
    let batch = desk.batches.make(&mut Rng::new(1), Some(1), Kind::Good, 6000);
    desk.batches.put(batch, text, 1, 0, 0, &mut bets);
    desk.hub.receive(id, &bets, desk.now);
    let queries = Desk::query(text, 1).repeat(500);
    desk.hub.receive(id, &queries, desk.now);
    let mut turns = 0;
    while turns == 0 || desk.hub.has_work() {
        desk.turn();
        turns += 1;
        assert!(turns < 10_000, "the hub goes on although nobody reads");
    }
    let answer = desk.batches.all[batch].winners().count() * 50;
    let held = desk.hub.buffered_bytes();
    assert!(
        held < 2 * (limits::OUTBOX_BYTES_HIGH + answer) + queries.len(),
        "{held} bytes are held after {turns} turns"
    );
    // Reading makes it go on, to the last query.
    let mut answers = 0;
    loop {
        let unread = desk.hub.outgoing(id).to_vec();
        if unread.is_empty() && !desk.hub.has_work() {
            break;
        }
        let mut rest = &unread[..];
        while !rest.is_empty() {
            let expecting = if answers == 0 { Expecting::Stored } else { Expecting::Winners };
            let (used, _) = text.read_answer(rest, expecting).unwrap().expect("whole answers");
            rest = &rest[used..];
            answers += 1;
        }
        desk.hub.sent(id, unread.len(), desk.now);
        desk.turn();
    }
    assert_eq!(answers, 501, "the batch and every query are answered");
}

#[test]
fn an_acknowledgement_covers_what_came_on_its_own_connection() {
    let mut desk = Desk::of("1");
    let id = desk.native(1);
    let good = desk.batch(NATIVE, 1, Kind::Good, 0);
    let bad = desk.batch(NATIVE, 1, Kind::Bad, 1);
    desk.hub.receive(id, &[good, bad].concat(), desk.now);
    // In the same turn somebody else stores a batch of the agency, under the number of the bad one.
    let other = desk.connect();
    let another = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(other, &another, desk.now);
    let answers = desk.say(id, &[]);
    assert!(matches!(answers[0], Answer::StoredBelow { next: 1 }), "{answers:?}");
    assert!(is_reject(&answers[1], 1, Cause::Permanent), "{answers:?}");
}

#[test]
fn a_parked_connection_whose_transport_fails_waits_no_longer() {
    let mut desk = Desk::of("2");
    let id = desk.native(1);
    desk.say(id, &[Desk::query(NATIVE, 1)]);
    assert_eq!(desk.hub.parked(), 1);
    desk.hub.hang_up(id, desk.now);
    desk.turn();
    assert_eq!(desk.hub.parked(), 0);
    // The draw, which comes before the connection is closed, has nothing to say to it.
    let other = desk.connect();
    let finishes = [Desk::finish(Dialect::Binary, 1), Desk::finish(Dialect::Binary, 2)].concat();
    desk.hub.receive(other, &finishes, desk.now);
    desk.turn();
    assert!(desk.hub.lottery().drawn());
    assert_eq!(desk.hub.outgoing(id), b"");
}

#[test]
fn an_agency_whose_first_batch_a_full_disk_took_back_has_not_begun() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, ..Policy::default() };
    let mut desk = Desk::new("2", policy.clone(), Options::default());
    let id = desk.native(1);
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.hub.receive(id, &batch, desk.now);
    // It is gone before it hears that its batch is not stored.
    desk.hub.closed(id, desk.now);
    desk.turn();
    while let Some(at) = desk.hub.next_deadline().filter(|at| *at <= Moment::default() + 3 * policy.loss_grace) {
        desk.now = at;
        desk.turn();
    }
    assert_eq!(desk.standing(1), Standing::Betting, "nothing of it is stored, and it may come again");
}

#[test]
fn a_finish_of_a_connection_that_is_gone_does_not_count_without_its_batches() {
    for dialect in [NATIVE, Dialect::Binary] {
        let mut desk = Desk::of("2");
        let id = if dialect == NATIVE { desk.native(1) } else { desk.connect() };
        desk.disk.set_space(Some(desk.disk.used()));
        let batch = desk.batch(dialect, 1, Kind::Good, 0);
        desk.hub.receive(id, &[batch.clone(), Desk::finish(dialect, 1)].concat(), desk.now);
        desk.hub.closed(id, desk.now);
        desk.turn();
        assert_eq!(desk.standing(1), Standing::Betting, "{dialect:?}: its client will come again with both");
        desk.disk.set_space(None);
        desk.now = desk.now + limits::FULL_DISK_PAUSE;
        let id = if dialect == NATIVE { desk.native(1) } else { desk.connect() };
        desk.hub.receive(id, &[batch, Desk::finish(dialect, 1)].concat(), desk.now);
        desk.turn();
        let state = desk.hub.lottery().agency(AgencyId(1)).unwrap();
        assert_eq!((state.batches, state.standing), (1, Standing::Finished), "{dialect:?}");
    }
}

#[test]
fn an_agency_whose_finish_was_taken_back_after_it_left_is_lost() {
    let policy = Policy { on_agency_loss: OnAgencyLoss::Exclude, ..Policy::default() };
    let mut desk = Desk::new("2", policy.clone(), Options::default());
    let id = desk.native(1);
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.say(id, &[batch]);
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(NATIVE, 1, Kind::Good, 1);
    desk.hub.receive(id, &[batch, Desk::finish(NATIVE, 1)].concat(), desk.now);
    desk.hub.closed(id, desk.now);
    desk.turn();
    assert_eq!(desk.standing(1), Standing::Betting);
    while let Some(at) = desk.hub.next_deadline().filter(|at| *at <= Moment::default() + 3 * policy.loss_grace) {
        desk.now = at;
        desk.turn();
    }
    assert_eq!(desk.standing(1), Standing::Excluded, "it has bets, and does not come back");
}

#[test]
fn a_finish_counts_though_another_agencys_batch_of_its_connection_was_taken_back() {
    let mut desk = Desk::of("3");
    let id = desk.connect();
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(Dialect::Binary, 1, Kind::Good, 0);
    desk.hub.receive(id, &[batch, Desk::finish(Dialect::Binary, 2)].concat(), desk.now);
    desk.hub.closed(id, desk.now);
    desk.turn();
    assert_eq!((desk.standing(1), desk.standing(2)), (Standing::Betting, Standing::Finished));
}

#[test]
fn a_batch_behind_a_finish_that_was_taken_back_is_rejected_for_want_of_space() {
    let mut desk = Desk::of("2");
    let (first, second) = (desk.native(1), desk.native(1));
    desk.disk.set_space(Some(desk.disk.used()));
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.hub.receive(first, &[batch, Desk::finish(NATIVE, 1)].concat(), desk.now);
    let behind = desk.batch(NATIVE, 1, Kind::Good, 1);
    let answers = desk.say(second, &[behind]);
    assert!(is_reject(&answers[0], 1, Cause::StorageFull), "{answers:?}");
}

/// Keeps the names of events.
#[derive(Debug)]
struct Names(Rc<RefCell<Vec<String>>>);

impl Observer for Names {
    fn observe(&mut self, event: &Event<'_>) {
        let text = format!("{event:?}");
        self.0.borrow_mut().push(text.split([' ', '(']).next().unwrap_or_default().to_owned());
    }
}

#[test]
fn observers_see_what_is_committed() {
    let mut desk = Desk::of("1");
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    desk.hub.add_observer(Box::new(Names(Rc::clone(&seen))));
    let id = desk.native(1);
    let batch = desk.batch(NATIVE, 1, Kind::Good, 0);
    desk.hub.receive(id, &[batch, Desk::finish(NATIVE, 1), Desk::query(NATIVE, 1)].concat(), desk.now);
    assert!(seen.borrow().is_empty(), "not before the commit");
    desk.turn();
    assert_eq!(*seen.borrow(), ["Stored", "Finished", "Drawn"]);
}
