//! Three hubs behind haproxy over three PostgreSQL nodes, while leaders, standbys and hubs are killed, and leaders paused:
//! every acknowledged batch is stored, in its place and with its bytes, and there is one draw.
//!
//! `LOTERIA_KILL_DRAWS` sets how many draws there are (2, with one failure of each kind in them), `LOTERIA_KILL_FAILURES` how many
//! failures of each draw (2); `LOTERIA_KILL_SEED` replays the moments.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod cluster_kit;
mod common;
mod environment;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster_kit::agency::{Agency, Outcome, Round};
use cluster_kit::dialects::{Dialect, Link, batch};
use cluster_kit::{Hubs, Nodes, Random, WINNING_NUMBER};
use common::course_data;
use common::machine::eventually;

/// Agencies 1 to 5.
const DIALECTS: [Dialect; 5] = [Dialect::Native, Dialect::Native, Dialect::Binary, Dialect::Text, Dialect::KeyValue];

/// One cluster at a time: there is work enough for a small machine in one.
static MACHINE: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    LeaderKilled,
    StandbyKilled,
    HubKilled,
    LeaderPaused,
}

const KINDS: [Kind; 4] = [Kind::LeaderKilled, Kind::StandbyKilled, Kind::HubKilled, Kind::LeaderPaused];

/// How long it took, failure by failure.
#[derive(Default)]
struct Times {
    /// The longest time in which no agency had an acknowledgement.
    pauses: Vec<Duration>,
    /// From the failure until each agency has 40 acknowledgements more.
    each: Vec<Duration>,
}

/// What the comparisons have found.
#[derive(Default)]
struct Tally {
    batches: u64,
    lost: u64,
    twice: u64,
    wrong: u64,
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The next kind of failure: each four have one of each, in any order.
fn next_kind(kinds: &mut Vec<Kind>, random: &mut Random) -> Kind {
    if kinds.is_empty() {
        kinds.extend(KINDS);
    }
    kinds.swap_remove(usize::try_from(random.below(kinds.len() as u64)).unwrap())
}

/// Something fails, while agencies upload.
fn fail(kind: Kind, nodes: &Nodes, hubs: &mut Hubs, random: &mut Random) {
    match kind {
        Kind::LeaderKilled => {
            nodes.kill(nodes.leader());
            nodes.run(&["promote"]);
        }
        Kind::StandbyKilled => nodes.kill(nodes.standbys()[usize::from(random.below(2) == 0)]),
        Kind::HubKilled => {
            let hub = usize::try_from(random.below(3)).unwrap();
            hubs.kill(hub);
            std::thread::sleep(Duration::from_millis(random.below(500)));
            hubs.revive(hub);
        }
        Kind::LeaderPaused => {
            let old = nodes.leader();
            nodes.pause(old);
            nodes.promote_beside_the_paused();
            std::thread::sleep(Duration::from_millis(random.below(500)));
            nodes.go_on(old);
        }
    }
}

/// The nodes are three again, as before the round.
fn mend(kind: Kind, old: u8, nodes: &Nodes) {
    if kind == Kind::LeaderPaused {
        nodes.kill(old);
    }
    nodes.run(&["rejoin"]);
    nodes.wait_until_whole();
}

/// A draw, in whose upload these failures happen one after another. Each is mended before the next one, the last one after the draw.
fn one_draw(
    draw: u32,
    failures: &[Kind],
    nodes: &Nodes,
    random: &mut Random,
    times: &mut BTreeMap<Kind, Times>,
) -> Tally {
    let mut hubs = Hubs::start(nodes, draw, random);
    let address = hubs.address.clone();
    let round = Round::new();
    let mut to_mend = None;
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let agencies: Vec<_> = (1..)
            .zip(DIALECTS)
            .map(|(number, dialect)| {
                let random = Random(random.below(u64::MAX) | 1);
                let agency = Agency::new(number, dialect, &address, &round, random);
                scope.spawn(|| agency.run())
            })
            .collect();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            for kind in failures {
                if let Some((kind, old)) = to_mend.take() {
                    mend(kind, old, nodes);
                }
                let before = round.counts();
                eventually("all agencies upload", || round.all_have(5, &before));
                std::thread::sleep(Duration::from_millis(random.below(1000)));
                to_mend = Some((*kind, nodes.leader()));
                let (pause, each) = one_failure(*kind, nodes, &mut hubs, &round, random);
                let times = times.entry(*kind).or_default();
                times.pauses.push(pause);
                times.each.push(each);
            }
        }));
        if let Err(panic) = failed {
            // The agencies would go on for ever.
            round.abandoned.store(true, Ordering::Relaxed);
            hubs.kill_all();
            resume_unwind(panic);
        }
        round.finish.store(true, Ordering::Relaxed);
        agencies.into_iter().map(|agency| agency.join().unwrap()).collect()
    });
    let mut tally = Tally::default();
    for outcome in &outcomes {
        compare(outcome, draw, nodes, &mut tally);
    }
    check_the_draw(draw, nodes, &hubs, &outcomes);
    if tally.lost + tally.wrong > 0 {
        say(&hubs.logs());
    }
    drop(hubs);
    if let Some((kind, old)) = to_mend {
        mend(kind, old, nodes);
    }
    tally
}

/// Something fails, and the agencies go on. Returns the longest time in which no agency had an acknowledgement, and how long it took
/// until each one had 40 more.
fn one_failure(kind: Kind, nodes: &Nodes, hubs: &mut Hubs, round: &Round, random: &mut Random) -> (Duration, Duration) {
    round.count_pauses();
    let began = Instant::now();
    fail(kind, nodes, hubs, random);
    // Each goes on, behind what was in flight.
    let before = round.counts();
    let until = Instant::now() + common::PATIENCE;
    while !round.all_have(40, &before) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    if !round.all_have(1, &before) {
        say(&format!("{kind:?}: the upload does not go on\n{}", hubs.logs()));
    }
    // Of one agency alone: its hub may have been with the old leader.
    let each = began.elapsed();
    if each > Duration::from_secs(30) {
        say(&format!("{kind:?}: some agency waited {:.1} s\n{}", each.as_secs_f64(), hubs.logs()));
    }
    (round.longest_pause(), each)
}

/// Compares every stored row of an agency with what it has sent.
fn compare(outcome: &Outcome, draw: u32, nodes: &Nodes, tally: &mut Tally) {
    let Outcome { agency, dialect, sent_on, refused, .. } = outcome;
    let whose = format!("draw {draw}, agency {agency} ({dialect:?})");
    let sql = format!("SELECT rows FROM loteria.batches WHERE draw = {draw} AND agency = {agency} ORDER BY batch");
    let stored = nodes.ask(&sql);
    let rows: Vec<&str> = stored.lines().map(str::trim_end).filter(|row| !row.is_empty()).collect();
    let batches: Vec<Vec<String>> =
        (0..).zip(sent_on).map(|(number, _)| batch(number).iter().map(|bet| bet.row(*agency)).collect()).collect();
    let numbers: HashMap<&str, usize> = batches.iter().enumerate().map(|(number, rows)| (&*rows[0], number)).collect();
    let mut copies = vec![0; sent_on.len()];
    let (mut next, mut wrong) = (0, Vec::new());
    for stored in rows.chunks(2) {
        let Some(&number) = numbers.get(stored[0]).filter(|number| batches[**number] == stored) else {
            wrong.push(format!("NOT SENT, OR TORN: {whose}: {stored:?}"));
            continue;
        };
        copies[number] += 1;
        // A copy of one that was sent again may come behind later ones: its connection was lost while it was under way.
        if copies[number] == 1 {
            if number != next {
                wrong.push(format!("NOT IN ITS PLACE: {whose}: batch {number} for {next}"));
            }
            next = number + 1;
        }
    }
    tally.batches += sent_on.len() as u64;
    for (number, (copies, sent_on)) in copies.into_iter().zip(sent_on).enumerate() {
        // Whatever it was told, a numbered batch is stored once.
        let most = if *dialect == Dialect::Native { 1 } else { *sent_on };
        if copies == 0 {
            tally.lost += 1;
            say(&format!("LOST: {whose}, batch {number} of {}", outcome.sent_on.len()));
        }
        tally.twice += u64::from(copies.max(1) - 1);
        if copies > most {
            wrong.push(format!("TOO OFTEN: {whose}, batch {number}: {copies} times, sent {sent_on} times"));
        }
    }
    wrong.extend(refused.iter().map(|refused| format!("REFUSED: {whose}: {refused}")));
    wrong.iter().take(20).for_each(|line| say(line));
    tally.wrong += wrong.len() as u64;
}

/// There was one draw, over all that is stored, and each hub tells each agency the same winners.
fn check_the_draw(draw: u32, nodes: &Nodes, hubs: &Hubs, outcomes: &[Outcome]) {
    let drawn = nodes.ask(&format!(
        "SELECT count(*) || ' ' || (bets = (SELECT sum(bets) FROM loteria.batches WHERE draw = {draw})) FROM loteria.draws
         WHERE draw = {draw} AND drawn_at IS NOT NULL AND held IS NULL GROUP BY draw"
    ));
    assert_eq!(drawn, "1 true", "one draw over all bets, and no alarm");
    for outcome in outcomes {
        let agency = outcome.agency;
        let stored = nodes.ask(&format!(
            "SELECT document FROM loteria.bets WHERE draw = {draw} AND agency = {agency} AND number = {WINNING_NUMBER}"
        ));
        let mut expected: Vec<u32> = stored.lines().map(|document| document.parse().unwrap()).collect();
        let sent = (0..).zip(&outcome.sent_on).flat_map(|(number, _)| batch(number));
        let mut sent: Vec<u32> = sent.filter(|bet| bet.number == WINNING_NUMBER).map(|bet| bet.document).collect();
        expected.sort_unstable();
        let mut told = outcome.winners.clone();
        told.sort_unstable();
        assert_eq!(told, expected, "agency {agency}: its winners");
        told.dedup();
        sent.sort_unstable();
        assert_eq!(told, sent, "agency {agency}: the winners that it has sent");
        for hub in 0..3 {
            let mut link = Link::connect(&hubs.address_of(hub)).unwrap();
            link.send(b"PROXY TCP4 127.0.0.9 127.0.0.1 5000 12345\r\n").unwrap();
            link.greet(agency).unwrap();
            let mut winners = link.ask_native().unwrap();
            winners.sort_unstable();
            assert_eq!(winners, expected, "agency {agency} at hub {hub}");
        }
    }
}

fn report(times: &mut BTreeMap<Kind, Times>, tally: &Tally) {
    for (kind, times) in times {
        times.pauses.sort_unstable();
        times.each.sort_unstable();
        let middle_and_most = |times: &[Duration]| {
            let seconds = |at: usize| times[at].as_secs_f64();
            format!("median {:.1} s, most {:.1} s", seconds(times.len() / 2), seconds(times.len() - 1))
        };
        say(&format!(
            "{kind:?}: {} times, pause without acknowledgement: {}; until every agency goes on: {}",
            times.pauses.len(),
            middle_and_most(&times.pauses),
            middle_and_most(&times.each),
        ));
    }
    let Tally { batches, lost, twice, wrong } = tally;
    say(&format!("{batches} batches: {lost} lost, {twice} stored twice as they may be, {wrong} wrong"));
}

#[test]
fn leaders_standbys_and_hubs_are_killed_and_no_acknowledged_batch_is_lost() {
    let _alone = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(nodes) = Nodes::start() else { return };
    let seed = environment::number("LOTERIA_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20);
    say(&format!("LOTERIA_KILL_SEED={seed}"));
    let mut random = Random(seed | 1);
    let (mut times, mut sum) = (BTreeMap::new(), Tally::default());
    let draws = u32::try_from(environment::number("LOTERIA_KILL_DRAWS").unwrap_or(2)).unwrap();
    let mut kinds = Vec::new();
    for draw in 1..=draws {
        let failures: Vec<Kind> = (0..environment::number("LOTERIA_KILL_FAILURES").unwrap_or(2))
            .map(|_| next_kind(&mut kinds, &mut random))
            .collect();
        let began = Instant::now();
        let tally = one_draw(draw, &failures, &nodes, &mut random, &mut times);
        sum.batches += tally.batches;
        sum.lost += tally.lost;
        sum.twice += tally.twice;
        sum.wrong += tally.wrong;
        let pauses: Vec<String> = failures
            .iter()
            .map(|kind| format!("{kind:?} {:.1} s", times[kind].pauses.last().unwrap().as_secs_f64()))
            .collect();
        say(&format!("draw {draw}: {}, {:.0} s in all", pauses.join(", "), began.elapsed().as_secs_f64()));
    }
    report(&mut times, &sum);
    assert_eq!(sum.lost + sum.wrong, 0, "see the lines above");
}

fn a_standby_that_a_start_asks_first_is_no_error(nodes: &Nodes) {
    let hosts = nodes.hosts();
    let backwards: Vec<&str> = hosts.trim().split(',').rev().collect();
    let hub = common::hub_over(&backwards.join(","), "")
        .env("POSTGRES_PASSWORD_FILE", nodes.password_file().to_str().unwrap())
        .env("POSTGRES_REPLICAS", "required")
        .env("LOTTERY_AGENCIES", "5")
        .start();
    hub.wait_for("action: engine | result: success");
    let log = hub.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert_eq!(hub.terminate().0.code(), Some(0));
}

#[test]
fn all_of_a_thousand_parked_queries_are_answered_by_three_hubs() {
    let _alone = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(nodes) = Nodes::start() else { return };
    let mut random = Random(u64::from(std::process::id()) | 1);
    let hubs = Hubs::start(&nodes, 1, &mut random);
    a_standby_that_a_start_asks_first_is_no_error(&nodes);
    for agency in 1..5 {
        let mut link = Link::connect(&hubs.address).unwrap();
        link.send(&common::binary_batch(agency, 1000 + agency, WINNING_NUMBER)).unwrap();
        link.answer(Dialect::Binary).unwrap();
        link.send(&common::binary(2, &[agency], b"")).unwrap();
        link.answer(Dialect::Binary).unwrap();
    }
    let mut parked: Vec<(u32, Link)> = (0..1000)
        .map(|nth| {
            let agency = 1 + nth % 4;
            let mut link = Link::connect(&hubs.address).unwrap();
            link.send(&common::binary(3, &[agency], b"")).unwrap();
            (agency, link)
        })
        .collect();
    let mut last = Link::connect(&hubs.address).unwrap();
    last.send(&common::binary(2, &[5], b"")).unwrap();
    last.answer(Dialect::Binary).unwrap();
    let began = Instant::now();
    for (agency, link) in &mut parked {
        assert_eq!(link.binary_winners().unwrap(), Some(vec![1000 + *agency]));
    }
    say(&format!(
        "1000 parked queries of three hubs answered {:.3} s after the last finish",
        began.elapsed().as_secs_f64()
    ));
    if let Some(data) = course_data() {
        drop(hubs);
        the_courses_bets(&data, &Hubs::start(&nodes, 2, &mut random), &nodes);
    }
}

/// The project's own clients, each in another dialect, with the course's bets.
fn the_courses_bets(data: &std::path::Path, hubs: &Hubs, nodes: &Nodes) {
    let folder = tempfile::tempdir().unwrap();
    let clients: Vec<_> = (1..=5)
        .zip(["native", "binary", "text", "key-value", "case-id"])
        .map(|(number, dialect)| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
            command.env_clear().current_dir(folder.path()).env("CLI_ID", number.to_string());
            command.env("CLI_DATA", data.join(format!("agency-{number}.csv"))).env("CLI_SERVER_ADDRESS", &hubs.address);
            command.env("CLI_PROTOCOL", dialect).env("CLI_MODE", "agency");
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let winners: Vec<usize> = clients
        .into_iter()
        .map(|client| {
            let output = client.wait_with_output().unwrap();
            let log = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{log}\n{}", hubs.logs());
            let line = log.lines().rfind(|line| line.contains("action: consulta_ganadores | result: success")).unwrap();
            line.rsplit("cant_ganadores: ").next().unwrap().trim().parse().unwrap()
        })
        .collect();
    assert_eq!(winners, [2, 3, 3, 2, 0]);
    assert_eq!(nodes.ask("SELECT sum(bets) FROM loteria.batches WHERE draw = 2"), "78697");
    for number in 1..=5 {
        let sent = std::fs::read_to_string(data.join(format!("agency-{number}.csv"))).unwrap();
        let sent: Vec<String> = sent.lines().map(|line| format!("{number},{}", line.trim_end())).collect();
        let stored =
            nodes.ask(&format!("SELECT rows FROM loteria.batches WHERE draw = 2 AND agency = {number} ORDER BY batch"));
        let stored: Vec<&str> = stored.lines().map(str::trim_end).filter(|row| !row.is_empty()).collect();
        assert!(stored == sent, "agency {number}'s rows are not its bets");
    }
    say("the course's 78697 bets through haproxy: every row, and 2, 3, 3, 2, 0 winners");
}
