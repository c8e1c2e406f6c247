//! What the hub relies on, case by case.

use crate::bytes::{self, Batch, Head, Turn};
use crate::engine_model::Standing;
use crate::pair::{Bench, Id};

/// The agencies of each case.
pub const ROSTER: [(i32, Standing); 5] = [
    (1, Standing::Betting),
    (2, Standing::Betting),
    (3, Standing::Betting),
    (4, Standing::Betting),
    (5, Standing::Excluded),
];

type Case = fn(&mut Bench);

pub const ALL: [(&str, Case); 19] = [
    ("a turn", a_turn),
    ("a stale number", a_stale_number),
    ("turns behind one that was taken back", behind_one_that_was_taken_back),
    ("a finish and a batch in one turn", a_finish_and_a_batch),
    ("an excluded agency", an_excluded_agency),
    ("late bytes of a fenced link", late_bytes),
    ("a fence waits for a turn that is open", a_fence_waits_for_an_open_turn),
    ("a fence waits for a turn in doubt", a_fence_waits_for_a_turn_in_doubt),
    ("a commit's wait is cancelled", a_cancelled_wait),
    ("two instances in opposite orders", opposite_orders),
    ("a turn waits for another instance's", a_turn_waits),
    ("a lock time-out", a_lock_timeout),
    ("a deadlock", a_deadlock),
    ("rows that the schema refuses", refused_rows),
    ("comparing", comparing),
    ("a draw is made once", a_draw),
    ("a draw that is held", a_held_draw),
    ("leases", leases),
    ("what a connection asks at its start", simple_queries),
];

/// A turn of the instance `number` that does nothing.
pub fn turn(bench: &Bench, instance: u8, epoch: i64, number: i64) -> Turn {
    let (instance, draw) = (bench.instance(instance), bench.draw);
    Turn { instance, epoch, number, draw, heads: vec![], batches: vec![], looks: vec![], compared: vec![] }
}

impl Turn {
    /// With `batches` batches of an agency, the first of which has the number `first`, or what comes next (-1).
    pub fn with(mut self, agency: i32, first: i64, batches: i64) -> Turn {
        for nth in 0..batches {
            let rows = format!("{agency},Ana,O'Neill,{},1990-01-0{},7574\r\n", 30_000_000 + self.number, nth + 1);
            let winners = if nth % 2 == 0 { rows.clone() } else { String::new() };
            self.batches.push(Batch { agency, nth, bets: 1, rows, winners });
        }
        self.heads.push(Head { agency, first, batches, bets: batches, finishes: false });
        self
    }

    /// With the finish of an agency that has a head, or none.
    pub fn finishing(mut self, agency: i32) -> Turn {
        match self.heads.iter_mut().find(|head| head.agency == agency) {
            Some(head) => head.finishes = true,
            None => self.heads.push(Head { agency, first: -1, batches: 0, bets: 0, finishes: true }),
        }
        self
    }
}

/// A link of an instance, behind its fence.
pub fn fenced(bench: &mut Bench, name: &'static str, instance: u8) -> Id {
    let id = bench.connect(name, &[]);
    let bytes = bytes::fence(&bench.instance(instance));
    let said = bench.send(id, &bytes);
    assert!(said.iter().any(|words| words == "INSERT 0 1"), "{said:?}");
    id
}

const WHOLE: &str = "UPDATE 1";
const NOTHING_DONE: &str = "UPDATE 0";
const NOT_WHOLE: &str = "report ERROR 23514 turn_is_whole";

/// Runs a turn and looks how it ends.
#[track_caller]
fn ends(bench: &mut Bench, id: Id, turn: &Turn, end: &str) {
    let said = bench.send(id, &turn.bytes());
    assert_eq!(said.iter().rev().nth(1).map(String::as_str), Some(end), "{said:?}");
}

fn a_turn(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let first = turn(bench, 1, 1, 1).with(1, 0, 3).with(3, -1, 1);
    ends(bench, x, &first, WHOLE);
    let second = Turn { looks: vec![1, 2, 77], ..turn(bench, 1, 1, 2).with(3, 1, 2) };
    ends(bench, x, &second, WHOLE);
    let nothing = turn(bench, 1, 1, 3);
    ends(bench, x, &nothing, WHOLE);
    ends(bench, x, &nothing, NOTHING_DONE);
    let ahead = turn(bench, 1, 1, 9).with(1, 3, 1);
    ends(bench, x, &ahead, NOTHING_DONE);
}

fn a_stale_number(bench: &mut Bench) {
    let (x, y) = (fenced(bench, "x", 1), fenced(bench, "y", 2));
    let first = turn(bench, 1, 1, 1).with(1, 0, 2);
    ends(bench, x, &first, WHOLE);
    let stale = turn(bench, 2, 1, 1).with(2, 0, 1).with(1, 1, 1);
    ends(bench, y, &stale, NOT_WHOLE);
    let gap = turn(bench, 2, 1, 1).with(1, 3, 1);
    ends(bench, y, &gap, NOT_WHOLE);
    let right = turn(bench, 2, 1, 1).with(2, 0, 1).with(1, 2, 1);
    ends(bench, y, &right, WHOLE);
}

fn behind_one_that_was_taken_back(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let turns =
        [turn(bench, 1, 1, 1).with(1, 7, 1), turn(bench, 1, 1, 2).with(2, 0, 1), turn(bench, 1, 1, 3).with(3, 0, 1)];
    let bytes: Vec<u8> = turns.iter().flat_map(Turn::bytes).collect();
    let said = bench.send(x, &bytes);
    let ends: Vec<&String> =
        said.iter().filter(|words| words.starts_with("UPDATE") || words.starts_with("report")).collect();
    assert_eq!(ends, [NOT_WHOLE, NOTHING_DONE, NOTHING_DONE]);
    let again = turn(bench, 1, 1, 1).with(1, 0, 1);
    let bytes: Vec<u8> = [again, turns[1].clone(), turns[2].clone()].iter().flat_map(Turn::bytes).collect();
    let said = bench.send(x, &bytes);
    assert_eq!(said.iter().filter(|words| *words == WHOLE).count(), 3, "{said:?}");
}

fn a_finish_and_a_batch(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let last = turn(bench, 1, 1, 1).with(1, 0, 2).finishing(1).with(2, 0, 1);
    ends(bench, x, &last, WHOLE);
    let more = turn(bench, 1, 1, 2).with(1, 2, 1);
    ends(bench, x, &more, NOT_WHOLE);
    let second_finish = turn(bench, 1, 1, 2).finishing(1);
    ends(bench, x, &second_finish, NOT_WHOLE);
    let empty = turn(bench, 1, 1, 2).with(1, -1, 0);
    ends(bench, x, &empty, NOT_WHOLE);
    let twice = turn(bench, 1, 1, 2).with(2, -1, 1).with(2, -1, 1);
    ends(bench, x, &twice, NOT_WHOLE);
}

fn an_excluded_agency(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let late = turn(bench, 1, 1, 1).with(5, 0, 1);
    ends(bench, x, &late, NOT_WHOLE);
    let finish = turn(bench, 1, 1, 1).finishing(5);
    ends(bench, x, &finish, NOT_WHOLE);
    let unknown = turn(bench, 1, 1, 1).with(99, 0, 1);
    ends(bench, x, &unknown, NOT_WHOLE);
}

fn late_bytes(bench: &mut Bench) {
    let old = fenced(bench, "x", 1);
    let first = turn(bench, 1, 1, 1).with(1, 0, 1);
    ends(bench, old, &first, WHOLE);
    let new = fenced(bench, "x again", 1);
    let late = turn(bench, 1, 1, 2).with(1, 1, 1);
    ends(bench, old, &late, NOTHING_DONE);
    let same = turn(bench, 1, 2, 2).with(1, 1, 1);
    ends(bench, new, &same, WHOLE);
    ends(bench, old, &late, NOTHING_DONE);
}

fn a_fence_waits_for_an_open_turn(bench: &mut Bench) {
    let old = fenced(bench, "x", 1);
    let [locks, writes, end] = turn(bench, 1, 1, 1).with(1, 0, 1).parts();
    bench.send(old, &locks);
    bench.send(old, &writes);
    let new = bench.connect("x again", &[]);
    let fence = bytes::fence(&bench.instance(1));
    assert!(bench.send(new, &fence).len() <= 1 && bench.waits_for_lock(new));
    // Late bytes wait behind the fence, in the order of the locks.
    let later = bench.connect("x a third time", &[]);
    let [locks, ..] = turn(bench, 1, 1, 2).with(1, 1, 1).parts();
    bench.send(later, &locks);
    bench.send(old, &end);
    assert!(!bench.waits_for_lock(new));
}

fn a_fence_waits_for_a_turn_in_doubt(bench: &mut Bench) {
    let old = fenced(bench, "x", 1);
    let other = fenced(bench, "y", 2);
    let new = bench.connect("x again", &[]);
    bench.stall();
    let doubtful = turn(bench, 1, 1, 1).with(1, 0, 1);
    bench.send(old, &doubtful.bytes());
    assert!(bench.waits_for_standby(old));
    let looks = Turn { looks: vec![1], ..turn(bench, 2, 1, 1) };
    bench.send(other, &looks.bytes());
    assert!(bench.waits_for_lock(other), "a look sees nothing that is in doubt");
    let fence = bytes::fence(&bench.instance(1));
    bench.send(new, &fence);
    assert!(bench.waits_for_lock(new));
    bench.resume();
    let said = bench.said(new);
    assert!(
        said[said.len() - 3].ends_with("x02\", \"\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x01\"]"),
        "{said:?}"
    );
}

fn a_cancelled_wait(bench: &mut Bench) {
    let old = fenced(bench, "x", 1);
    let other = fenced(bench, "y", 2);
    let new = bench.connect("x again", &[]);
    bench.stall();
    let doubtful = turn(bench, 1, 1, 1).with(1, 0, 1);
    bench.send(old, &doubtful.bytes());
    let survey = bytes::of_draw("survey_agencies", bench.draw);
    bench.send(new, &survey);
    let said = bench.cancel_wait(old);
    assert!(
        said.ends_with(&["UPDATE 1".to_owned(), "report WARNING 01000".to_owned(), "ready".to_owned()]),
        "{said:?}"
    );
    bench.send(new, &survey);
    let conflicting = turn(bench, 2, 1, 1).with(1, 0, 1);
    ends(bench, other, &conflicting, NOT_WHOLE);
    // Even a turn that only looks waits for the standby.
    let looks = Turn { looks: vec![1], ..turn(bench, 2, 1, 1) };
    bench.send(other, &looks.bytes());
    assert!(bench.waits_for_standby(other));
    let fence = bytes::fence(&bench.instance(1));
    bench.send(new, &fence);
    assert!(bench.waits_for_standby(new));
    bench.resume();
}

fn opposite_orders(bench: &mut Bench) {
    let (x, y) = (fenced(bench, "x", 1), fenced(bench, "y", 2));
    let mut numbers = [0, 0];
    for number in 1..=20 {
        let [x1, x2, x3] = turn(bench, 1, 1, number).with(1, -1, 1).with(2, -1, 1).parts();
        let [y1, y2, y3] = turn(bench, 2, 1, number).with(2, -1, 1).with(1, -1, 1).parts();
        for (id, part) in [(x, x1), (y, y1), (x, x2), (x, x3), (y, y2), (y, y3)] {
            bench.send(id, &part);
        }
        numbers = [number, number];
    }
    assert_eq!(numbers, [20, 20]);
}

fn a_turn_waits(bench: &mut Bench) {
    let (x, y) = (fenced(bench, "x", 1), fenced(bench, "y", 2));
    let [locks, writes, end] = turn(bench, 1, 1, 1).with(2, 0, 1).parts();
    bench.send(x, &locks);
    bench.send(y, &turn(bench, 2, 1, 1).with(1, 0, 1).with(2, 0, 1).bytes());
    assert!(bench.waits_for_lock(y));
    bench.send(x, &writes);
    bench.send(x, &end);
    assert!(bench.said(y).iter().any(|words| words == NOT_WHOLE), "it decides on what is stored when it has the locks");
}

fn a_lock_timeout(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let y = bench.connect("y", &[("lock_timeout", "400ms")]);
    let fence = bytes::fence(&bench.instance(2));
    bench.send(y, &fence);
    let [locks, ..] = turn(bench, 1, 1, 1).with(1, 0, 1).parts();
    bench.send(x, &locks);
    let waiting = turn(bench, 2, 1, 1).with(1, 0, 1);
    bench.send(y, &waiting.bytes());
    assert!(bench.waits_for_lock(y));
    let said = bench.pass(y, 400_000);
    assert!(said.ends_with(&["report ERROR 55P03".to_owned(), "ready".to_owned()]), "{said:?}");
    let mut end = Vec::new();
    bytes::sync(&mut end);
    bench.send(x, &end);
    ends(bench, y, &waiting, WHOLE);
}

fn a_deadlock(bench: &mut Bench) {
    // The one that waits first never looks for a circle, so that it is the other one whose turn is void.
    let x = bench.connect("x", &[("deadlock_timeout", "600s")]);
    let y = bench.connect("y", &[("deadlock_timeout", "100ms")]);
    for (id, instance) in [(x, 1), (y, 2)] {
        let fence = bytes::fence(&bench.instance(instance));
        bench.send(id, &fence);
    }
    let [x1, x2] = [1, 2].map(|agency| turn(bench, 1, 1, 1).with(agency, 0, 1).locks());
    let [y2, y1] = [2, 1].map(|agency| turn(bench, 2, 1, 1).with(agency, 0, 1).locks());
    bench.send(x, &x1);
    bench.send(y, &y2);
    bench.send(x, &x2);
    assert!(bench.waits_for_lock(x));
    bench.send_without_looking(y, &y1);
    let said = bench.pass(y, 100_000);
    assert!(said.ends_with(&["report ERROR 40P01".to_owned()]), "{said:?}");
    assert!(!bench.waits_for_lock(x));
    let mut end = Vec::new();
    bytes::sync(&mut end);
    bench.send(x, &end);
    bench.send(y, &end);
}

fn refused_rows(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let mut empty = turn(bench, 1, 1, 1).with(1, 0, 1);
    empty.batches[0].bets = 0;
    ends(bench, x, &empty, "report ERROR 23514 batches_bets_check");
    let mut twice = turn(bench, 1, 1, 1).with(1, 0, 2);
    twice.batches[1].nth = 0;
    ends(bench, x, &twice, "report ERROR 23505 batches_pkey");
    let mut others = turn(bench, 1, 1, 1).with(1, 0, 1);
    others.batches[0].agency = 2;
    ends(bench, x, &others, WHOLE);
}

fn comparing(bench: &mut Bench) {
    let (x, y) = (fenced(bench, "x", 1), fenced(bench, "y", 2));
    let first = turn(bench, 1, 1, 1).with(1, 0, 3).with(2, 0, 1);
    ends(bench, x, &first, WHOLE);
    let compared = vec![(1, 2), (2, 0), (2, 5), (1, 0)];
    let asks = Turn { looks: vec![1, 2], compared, ..turn(bench, 2, 1, 1) };
    ends(bench, y, &asks, WHOLE);
    let both = Turn { compared: vec![(1, 1)], ..turn(bench, 2, 1, 2).with(1, 3, 1) };
    ends(bench, y, &both, WHOLE);
}

fn a_draw(bench: &mut Bench) {
    let (x, y) = (fenced(bench, "x", 1), fenced(bench, "y", 2));
    let listener = bench.connect("listener", &[]);
    bench.send(listener, &bytes::query("LISTEN loteria"));
    let (by_x, by_y) = (bytes::draw(bench.draw, &bench.instance(1)), bytes::draw(bench.draw, &bench.instance(2)));
    let first = turn(bench, 1, 1, 1).with(1, 0, 2).finishing(1).finishing(2).with(3, 0, 1);
    ends(bench, x, &first, WHOLE);
    assert!(bench.send(x, &by_x).contains(&"SELECT 0".to_owned()), "agencies are betting");
    let last = turn(bench, 2, 1, 1).finishing(3).finishing(4);
    ends(bench, y, &last, WHOLE);
    bench.stall();
    bench.send(y, &by_y);
    assert!(bench.waits_for_standby(y));
    bench.send(x, &by_x);
    assert!(bench.waits_for_lock(x));
    bench.resume();
    assert!(bench.said(x).contains(&"SELECT 0".to_owned()) && bench.said(y).contains(&"SELECT 1".to_owned()));
    assert_eq!(bench.said(listener).len(), 1, "{:?}", bench.said(listener));
    for statement in ["survey_draw", "survey_agencies", "winners"] {
        bench.send(x, &bytes::of_draw(statement, bench.draw));
    }
}

fn hold(draw: i32, why: &str) -> String {
    format!(
        "UPDATE loteria.draws SET held = concat_ws('; ', held, '{why}') WHERE draw = {draw} AND (held IS NULL OR strpos(held, '{why}') = 0)"
    )
}

fn a_held_draw(bench: &mut Bench) {
    let x = fenced(bench, "x", 1);
    let last = turn(bench, 1, 1, 1).finishing(1).finishing(2).finishing(3).finishing(4);
    ends(bench, x, &last, WHOLE);
    let first = hold(bench.draw, "it''s; gone");
    for (hold, done) in
        [(&first, WHOLE), (&first, NOTHING_DONE), (&hold(bench.draw, "more"), WHOLE), (&first, NOTHING_DONE)]
    {
        assert!(bench.send(x, &bytes::query(hold)).contains(&done.to_owned()));
    }
    let attempt = bytes::draw(bench.draw, &bench.instance(1));
    assert!(bench.send(x, &attempt).contains(&"SELECT 0".to_owned()));
    bench.send(x, &bytes::of_draw("survey_draw", bench.draw));
}

fn leases(bench: &mut Bench) {
    let (x, y) = (fenced(bench, "x", 1), fenced(bench, "y", 2));
    let first = turn(bench, 1, 1, 1).with(1, 0, 1).with(2, 0, 1).with(3, 0, 1);
    ends(bench, x, &first, WHOLE);
    bench.pass(x, 1000); // So that it is a while ago in the model, too.
    let draw = bench.draw;
    let excluded = |bench: &mut Bench, here: &[i32], grace: i64, before: i64| {
        let said = bench.send(x, &bytes::lease(draw, here, grace, before));
        let row = said.iter().find(|words| words.starts_with("row")).unwrap();
        row.rsplit(r"\\x").next().unwrap().trim_end_matches(['"', ']']).parse::<u32>().unwrap()
    };
    assert_eq!(excluded(bench, &[], 0, 0), 0, "too late");
    assert_eq!(excluded(bench, &[], 3_600_000, i64::MAX), 0, "too young");
    let [locks, writes, end] = turn(bench, 2, 1, 1).with(2, 1, 1).parts();
    bench.send(y, &locks);
    assert_eq!(excluded(bench, &[1], 0, i64::MAX), 1, "agency 1 is here, a turn of 2 is under way, 4 has no bets");
    assert!(!bench.waits_for_lock(x));
    bench.send(y, &writes);
    bench.send(y, &end);
    ends(bench, y, &turn(bench, 2, 1, 2).with(3, 1, 1), NOT_WHOLE);
    ends(bench, y, &turn(bench, 2, 1, 2).finishing(2), WHOLE);
    bench.send(x, &bytes::query(&hold(draw, "so")));
    assert_eq!(excluded(bench, &[], 0, i64::MAX), 0, "the draw is held");
    bench.send(x, &bytes::of_draw("survey_agencies", draw));
}

fn simple_queries(bench: &mut Bench) {
    let x = bench.connect("x", &[]);
    let make = |draw: i32| {
        format!(
            "WITH d AS (INSERT INTO loteria.draws (draw, winning_number) VALUES ({draw}, 7574)
ON CONFLICT DO NOTHING RETURNING draw)
INSERT INTO loteria.agencies (draw, agency) SELECT d.draw, a FROM d, unnest('{{1,2,9}}'::int[]) AS a"
        )
    };
    let new = 1_000_000 + bench.draw;
    for draw in [bench.draw, new, new] {
        bench.send(x, &bytes::query(&make(draw)));
    }
    bench.send(x, &bytes::of_draw("survey_agencies", new));
    bench.send(x, &bytes::of_draw("survey_draw", new));
    bench.send(x, &bytes::of_draw("survey_draw", new + 1));
    bench.send(x, &bytes::query("SELECT version::text FROM loteria.format"));
    bench.send(x, &bytes::query("SELECT pg_is_in_recovery()::text, current_setting('full_page_writes')"));
    bench.send(x, &bytes::query("NONSENSE"));
    bench.send(x, &bytes::query("LISTEN loteria"));
}
