//! The hub's deadlines to the millisecond, and that nothing that peers leave behind adds up.

mod core_kit;

use std::time::Duration;

use core_kit::{Table, batch};
use loteria::hub::{ConnectionId, Policy};
use loteria::limits;
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::Dialect;

const MOMENT: Duration = Duration::from_millis(1);
/// A finish of agency 2 in `binary`, answered with a zero.
const FINISH: [u8; 12] = [0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2];
/// A query of agency 1 in `binary`.
const QUERY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1];

fn table() -> (Table, Policy) {
    (Table::new(2, Policy::default()), Policy::default())
}

/// A connection that has shown its dialect and received its answer.
fn spoken(table: &mut Table) -> ConnectionId {
    let id = table.open();
    table.say(id, &FINISH);
    assert_eq!(table.receive(id), [0]);
    id
}

#[test]
fn bytes_do_not_extend_the_handshake() {
    let (mut table, policy) = table();
    let id = table.open();
    for byte in [0, 0, 0] {
        table.pass(policy.handshake_timeout / 4);
        table.say(id, &[byte]);
    }
    table.pass(policy.handshake_timeout / 4 - MOMENT);
    assert!(!table.is_over(id));
    table.pass(MOMENT);
    assert!(table.is_over(id));
}

#[test]
fn a_refused_peer_keeps_its_connection_for_a_second_whatever_it_says() {
    let (mut table, _) = table();
    let peer = "192.0.2.1:40000".parse().unwrap();
    for said in [&b""[..], b"\xb7LN", b"\xb7LN\x01", b"\xb7LN\x01\0\0", b"1"] {
        let id = table.hub.refuse(peer, table.now).unwrap();
        table.say(id, said);
        table.pass(limits::DRAIN_TIMEOUT - MOMENT);
        assert!(!table.is_over(id), "{said:x?}");
        // The next byte of a hello, where one was begun.
        let next = b"\xb7LN\x01\0\0\0\0".get(said.len()).filter(|_| said.first() == Some(&0xb7));
        table.say(id, next.map_or(&[][..], std::slice::from_ref));
        table.pass(MOMENT);
        assert!(table.is_over(id), "{said:x?}");
        table.pass(limits::DRAIN_TIMEOUT);
        assert!(table.hub.is_cut(id), "{said:x?}");
    }
}

#[test]
fn bytes_do_not_extend_a_frame_and_its_time_begins_with_its_first_byte() {
    let (mut table, policy) = table();
    let id = spoken(&mut table);
    table.pass(policy.frame_timeout * 3);
    for byte in &FINISH[..3] {
        table.say(id, &[*byte]);
        table.pass(policy.frame_timeout / 3 - MOMENT);
    }
    assert!(!table.is_over(id));
    table.pass(3 * MOMENT);
    assert!(table.is_over(id));
}

#[test]
fn a_first_frame_has_its_whole_time_after_the_handshake() {
    let (mut table, policy) = table();
    let id = table.open();
    table.pass(policy.handshake_timeout - MOMENT);
    table.say(id, &FINISH[..3]);
    table.say(id, &FINISH[3..6]);
    table.pass(policy.frame_timeout - MOMENT);
    assert!(!table.is_over(id));
    table.pass(MOMENT);
    assert!(table.is_over(id));
}

#[test]
fn a_frame_cannot_hide_behind_an_unread_reply() {
    let policy = Policy { write_timeout: Duration::from_secs(3600), ..Policy::default() };
    let mut table = Table::new(2, policy.clone());
    let id = table.open();
    table.say(id, &FINISH);
    table.say(id, &FINISH[..3]);
    table.pass(policy.frame_timeout);
    assert_eq!(table.hub.outgoing(id), [0]);
    assert!(table.hub.is_closing(id));
}

#[test]
fn a_frame_behind_a_parked_query_gets_its_whole_timeout_after_the_reply() {
    let (mut table, policy) = table();
    let id = table.open();
    table.say(id, &[&QUERY[..], &FINISH[..5]].concat());
    table.pass(policy.frame_timeout * 10);
    let other = spoken(&mut table);
    table.say(other, &[0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1]);
    table.settle();
    assert_eq!(table.receive(id), [0, 0, 0, 0, 0], "the draw, and no winners");
    table.pass(policy.frame_timeout - MOMENT);
    assert!(!table.is_over(id));
    table.say(id, &FINISH[5..]);
    assert_eq!(table.receive(id), [0]);
}

#[test]
fn a_readable_socket_is_read_before_its_frame_times_out() {
    let (mut table, policy) = table();
    let id = spoken(&mut table);
    table.say(id, &FINISH[..4]);
    table.hub.readable(id);
    table.pass(policy.frame_timeout);
    assert!(!table.is_over(id), "the kernel holds more of it");
    table.say(id, &FINISH[4..8]);
    table.hub.begin_reads(table.now);
    let grant = table.hub.next_read(true).expect("its socket is readable");
    table.hub.read(grant, 4, false);
    table.turn();
    assert!(table.is_over(id), "there was no more, and its time is over");
}

#[test]
fn an_idle_connection_goes_and_a_byte_in_either_direction_keeps_it() {
    let (mut table, policy) = table();
    let id = spoken(&mut table);
    table.pass(policy.idle_timeout - MOMENT);
    table.say(id, &FINISH);
    table.pass(MOMENT);
    table.receive(id);
    table.pass(policy.idle_timeout - MOMENT);
    assert!(!table.is_over(id));
    table.pass(MOMENT);
    assert!(table.is_over(id));
}

#[test]
fn a_parked_query_waits_for_ever() {
    let (mut table, policy) = table();
    let id = table.open();
    table.say(id, &QUERY);
    table.pass(policy.idle_timeout * 100);
    assert!(!table.is_over(id));
}

#[test]
fn further_replies_do_not_extend_the_time_to_read_the_first() {
    let (mut table, policy) = table();
    let id = table.open();
    for _ in 0..4 {
        table.say(id, &FINISH);
        table.pass(policy.write_timeout / 4 - MOMENT);
    }
    assert!(!table.is_over(id));
    table.pass(4 * MOMENT);
    assert!(table.hub.is_cut(id), "the peer does not read");
}

#[test]
fn only_a_write_step_or_the_last_byte_extends_the_write_timeout() {
    let (mut table, policy) = table();
    let id = table.open();
    let many = 2 * limits::WRITE_STEP_BYTES + 10;
    for _ in 0..many.div_ceil(4096) {
        table.say(id, &FINISH.repeat(4096));
    }
    table.settle();
    let almost = policy.write_timeout - MOMENT;
    table.pass(almost);
    table.hub.sent(id, limits::WRITE_STEP_BYTES, table.now);
    table.pass(almost);
    assert!(!table.is_over(id), "it took a step");
    table.receive(id);
    table.pass(almost);
    assert!(!table.is_over(id), "it took all");
    for _ in 0..many.div_ceil(4096) {
        table.say(id, &FINISH.repeat(4096));
    }
    table.settle();
    table.pass(almost);
    table.hub.sent(id, limits::WRITE_STEP_BYTES - 1, table.now);
    table.pass(MOMENT);
    assert!(table.hub.is_cut(id), "a byte less is no step");
}

#[test]
fn a_draining_connection_is_closed_one_drain_timeout_after_its_last_byte() {
    let (mut table, policy) = table();
    let id = table.open();
    table.say(id, &FINISH);
    table.say(id, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    table.pass(policy.write_timeout - MOMENT);
    assert_eq!(table.receive(id), [0, 1]);
    table.pass(limits::DRAIN_TIMEOUT - MOMENT);
    assert!(table.hub.is_done(id) && !table.hub.is_cut(id));
    table.pass(MOMENT);
    assert!(table.hub.is_cut(id));
}

#[test]
fn many_deadlines_at_once_are_acted_on_in_slices() {
    let (mut table, policy) = table();
    let ids: Vec<_> = (0..3 * limits::DUE_PER_TURN).map(|_| table.open()).collect();
    let over = |table: &Table| ids.iter().filter(|id| table.is_over(**id)).count();
    table.pass(policy.handshake_timeout);
    assert!(over(&table) > 0 && over(&table) <= limits::DUE_PER_TURN, "{}", over(&table));
    while over(&table) < ids.len() {
        assert!(table.hub.next_deadline().is_some_and(|at| at <= table.now), "the rest is due at once");
        table.turn();
    }
}

#[test]
fn many_requests_of_untrusted_peers_fill_no_turn_and_keep_no_newcomer_out() {
    let (mut table, _) = table();
    let many: Vec<_> = (0..20).map(|_| table.open()).collect();
    let each = limits::TURN_REQUESTS_PER_CONNECTION as usize;
    for id in &many {
        table.hub.receive(*id, &FINISH.repeat(2 * each), table.now);
        table.turn();
    }
    let mut answered = 0;
    for _ in 0..5 {
        assert!(table.hub.has_work());
        table.hub.run_deferred(table.now);
        assert!(!table.hub.turn_is_full() && !table.hub.untrusted_are_served());
        let newcomer = table.open();
        table.say(newcomer, &FINISH);
        assert_eq!(table.receive(newcomer), [0]);
        let all = many.iter().map(|id| table.hub.outgoing(*id).len()).sum::<usize>();
        assert!(all > answered, "deferred requests are answered");
        answered = all;
    }
    table.settle();
    assert!(many.iter().all(|id| table.hub.outgoing(*id).len() == 2 * each), "nothing was lost");
}

#[test]
fn a_turn_serves_a_few_deferred_untrusted_peers_and_the_rest_follow_in_order() {
    let (mut table, _) = table();
    // The first finish makes its connection trusted.
    spoken(&mut table);
    let count = 5 * limits::UNTRUSTED_PER_TURN;
    let many: Vec<_> = (0..count).map(|_| table.open()).collect();
    for id in &many {
        table.hub.receive(*id, &FINISH.repeat(1 + limits::UNTRUSTED_TURN_REQUESTS as usize), table.now);
        table.turn();
        while table.hub.take_dirty().is_some() {}
    }
    for turn in 0..5 {
        assert!(table.hub.has_work());
        table.turn();
        let answered: Vec<_> = std::iter::from_fn(|| table.hub.take_dirty()).collect();
        let next = &many[turn * limits::UNTRUSTED_PER_TURN..][..limits::UNTRUSTED_PER_TURN];
        assert_eq!(answered.len(), next.len());
        assert!(next.iter().all(|id| answered.contains(id)));
    }
    assert!(!table.hub.has_work());
}

/// A query of agency 9, which the roster lacks. It is refused, and the connection is paused until the reply is
/// released.
const QUERY_OF_UNKNOWN_AGENCY: [u8; 12] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 9];

#[test]
fn agencies_that_fill_every_turn_do_not_starve_a_deferred_untrusted_peer() {
    let (mut table, _) = table();
    let each = limits::TURN_REQUESTS_PER_CONNECTION as usize;
    let flood: Vec<_> = (0..8).map(|_| table.open()).collect();
    for id in &flood {
        table.say(*id, &batch(Dialect::Binary, 2, 0));
        assert_eq!(table.receive(*id), [0]);
    }
    let untrusted = table.open();
    table.say(untrusted, &[QUERY_OF_UNKNOWN_AGENCY, FINISH].concat());
    assert_eq!(table.hub.outgoing(untrusted).len(), 1);
    // As the loop does: what is new is read first, or what was held goes on first, and leaves no room for the other.
    for turn in 0.. {
        assert!(turn < 8, "it has waited for {turn} turns");
        if turn % 2 == 1 {
            table.hub.run_deferred(table.now);
        }
        for id in &flood {
            if !table.hub.turn_is_full() {
                table.hub.receive(*id, &FINISH.repeat(2 * each), table.now);
            }
        }
        assert!(table.hub.turn_is_full());
        // In the first turn nothing was held.
        if turn % 2 == 0 && turn > 0 {
            table.hub.run_deferred(table.now);
        }
        table.end_turn();
        while table.hub.take_dirty().is_some() {}
        for id in &flood {
            table.receive(*id);
        }
        if table.hub.outgoing(untrusted).len() == 2 {
            break;
        }
    }
}

#[test]
fn whole_requests_that_wait_for_the_hub_are_not_timed_out() {
    let (mut table, policy) = table();
    let count = 20 * limits::UNTRUSTED_PER_TURN;
    let many: Vec<_> = (0..count).map(|_| table.open()).collect();
    for id in &many {
        table.hub.receive(*id, &[&QUERY_OF_UNKNOWN_AGENCY, &FINISH[..], &FINISH[..1]].concat(), table.now);
    }
    table.turn();
    let mut answered = 0;
    while table.hub.has_work() {
        table.pass(policy.frame_timeout / 2);
        answered += many.iter().map(|id| table.receive(*id).len()).sum::<usize>();
    }
    assert_eq!(answered, 2 * count);
    assert!(!table.hub.is_closing(many[count - 1]), "its next frame has just begun");
    table.pass(policy.frame_timeout + Duration::from_secs(1));
    many.iter().for_each(|_| table.turn());
    assert!(many.iter().all(|id| table.is_over(*id) || table.hub.is_closing(*id)), "which has its time, and no more");
}

#[test]
fn connections_closed_while_deferred_leave_no_entries_behind() {
    let (mut table, _) = table();
    for _ in 0..20 {
        let come: Vec<_> = (0..2 * limits::LEFTOVERS_PER_TURN).map(|_| table.open()).collect();
        for id in &come {
            table.hub.receive(*id, &[&QUERY_OF_UNKNOWN_AGENCY, &FINISH[..1]].concat(), table.now);
        }
        table.turn();
        come.iter().for_each(|id| table.hub.closed(*id, table.now));
    }
    let kept = table.hub.deferred_len();
    assert!(kept <= limits::LEFTOVERS_MIN, "{kept} entries");
}

#[test]
fn an_agency_is_answered_before_untrusted_peers() {
    let (mut table, _) = table();
    spoken(&mut table);
    let agency = table.open();
    let batch = batch(Dialect::Binary, 1, 0);
    table.say(agency, &batch);
    assert_eq!(table.receive(agency), [0]);
    while table.hub.take_dirty().is_some() {}
    let others: Vec<_> = (0..10).map(|_| table.open()).collect();
    for id in others[..5].iter().chain([&agency]).chain(&others[5..]) {
        table.hub.receive(*id, if *id == agency { &batch } else { &FINISH }, table.now);
    }
    table.turn();
    let order: Vec<_> = std::iter::from_fn(|| table.hub.take_dirty()).collect();
    assert_eq!((order.len(), order[0]), (11, agency));
    assert!(table.hub.is_agency(agency) && !table.hub.is_agency(others[0]));
}

#[test]
fn requests_of_one_turn_are_bounded_for_one_and_for_all() {
    let (mut table, _) = table();
    let each = limits::UNTRUSTED_TURN_REQUESTS as usize;
    let mut speakers = 0;
    while !table.hub.turn_is_full() {
        let id = table.open();
        table.hub.receive(id, &FINISH.repeat(each + 100), table.now);
        assert!(table.hub.read_room(id) <= limits::PARKED_INBOX_BYTES, "no more of it is wanted in this turn");
        speakers += 1;
    }
    assert_eq!(speakers, limits::TURN_REQUESTS / each);
    let last = table.open();
    table.hub.receive(last, &FINISH.repeat(each + 100), table.now);
    table.turn();
    assert_eq!(table.hub.outgoing(last).len(), 1, "a full turn takes no more than one");
    assert!(table.hub.has_work());
    table.settle();
    assert_eq!(table.hub.outgoing(last).len(), each + 100, "nothing was lost");
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let (mut table, _) = table();
    let stays = table.open();
    table.say(stays, &QUERY);
    for round in 0..200_000 {
        let id = table.open();
        table.hub.receive(id, if round % 2 == 0 { &QUERY } else { &FINISH }, table.now);
        if round % 16 == 0 {
            table.pass(MOMENT);
        }
        table.hub.closed(id, table.now);
    }
    assert!(table.hub.reminders() < 4 * limits::LEFTOVERS_MIN, "{} reminders", table.hub.reminders());
    assert!(table.hub.parked_slots() < 4 * limits::LEFTOVERS_MIN, "{} slots", table.hub.parked_slots());
    assert_eq!((table.hub.connections(), table.hub.parked()), (1, 1));
    // The query that stayed is still parked.
    let id = spoken(&mut table);
    table.say(id, &[0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1]);
    table.settle();
    assert_eq!(table.receive(stays), [0, 0, 0, 0, 0]);
}

#[test]
fn repeated_queries_leave_no_more_reminders() {
    let (mut table, _) = table();
    for _ in 0..100 {
        let id = table.open();
        table.say(id, &QUERY);
        table.hub.closed(id, table.now);
    }
    let id = table.open();
    table.say(id, &QUERY);
    table.pass(limits::PENDING_LOG_PERIOD * 3);
    while table.hub.next_deadline().is_some_and(|at| at <= table.now) {
        table.turn();
    }
    assert!(table.hub.reminders() < 10, "{} reminders", table.hub.reminders());
}

#[test]
fn an_unnumbered_connection_gets_its_agency_without_a_search() {
    let mut table = Table::new(100_000, Policy::default());
    let id = table.open();
    let bet = Bet::from_text(b"Ana", b"Paz", b"12345678", b"1999-03-17", b"1").unwrap();
    for agency in 1..=100_000 {
        let (mut body, mut batch) = (Vec::new(), Vec::new());
        Dialect::Binary.put_bet(AgencyId(agency), 0, &bet.as_raw(), &mut body);
        Dialect::Binary.put_batch(AgencyId(agency), 0, 1, &body, &mut batch);
        table.hub.receive(id, &batch, table.now);
        if agency.is_multiple_of(1000) {
            table.settle();
            assert_eq!(table.receive(id), [0; 1000]);
        }
    }
    // No agency is free for it, and each of its batches asks for one.
    let began = std::time::Instant::now();
    let id = table.open();
    table.say(id, &[0x01, 0x00, 0x01, b' '].repeat(4096));
    table.settle();
    assert_eq!(table.receive(id).len(), 4096, "an error for each");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?} for four thousand requests", began.elapsed());
}
