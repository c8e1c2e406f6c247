//! Random turns of two instances and their old links, cut where anything may come between.

use std::collections::VecDeque;

use crate::bytes::{self, Turn};
use crate::cases::{fenced, turn};
use crate::engine_model::Random;
use crate::pair::{Bench, Id};

/// How often what the test is for has happened in all runs.
#[derive(Debug, Default)]
pub struct Seen {
    whole: u32,
    taken_back: u32,
    nothing_done: u32,
    lock_waits: u32,
    standby_waits: u32,
    warnings: u32,
}

impl Seen {
    /// Whether all of it has.
    pub fn everything(&self) -> bool {
        let counts =
            [self.whole, self.taken_back, self.nothing_done, self.lock_waits, self.standby_waits, self.warnings];
        counts.iter().all(|count| *count > 0)
    }
}

/// A link and what it still has to send of what it has begun.
struct Sender {
    id: Id,
    instance: u8,
    epoch: i64,
    /// Whether a turn begins with it, and the bytes.
    parts: VecDeque<(bool, Vec<u8>)>,
}

const STEPS: usize = 60;

pub fn run(bench: &mut Bench, seed: u64, seen: &mut Seen) {
    let mut random = Random::new(seed);
    let mut senders: Vec<Sender> = Vec::new();
    for (name, instance) in [("x", 1), ("y", 2)] {
        senders.push(Sender { id: fenced(bench, name, instance), instance, epoch: 1, parts: VecDeque::new() });
    }
    let stalls = random.chance(150);
    for step in 0..STEPS {
        if stalls && step == STEPS / 2 {
            bench.stall();
        }
        if stalls && step == STEPS - 10 {
            bench.resume();
        }
        one_step(bench, &mut random, &mut senders);
        note(bench, &senders, seen);
        let waiting = senders.iter().map(|sender| sender.id).find(|id| bench.waits_for_standby(*id));
        if let Some(id) = waiting.filter(|_| random.chance(100)) {
            bench.cancel_wait(id);
            note(bench, &senders, seen);
        }
    }
    bench.resume();
    note(bench, &senders, seen);
    // What is open ends, the holders of locks first.
    while senders.iter().any(|sender| !sender.parts.is_empty()) {
        let at = (0..senders.len()).filter(|at| !senders[*at].parts.is_empty());
        let begins = |at: &usize| senders[*at].parts.front().is_some_and(|(begins, _)| *begins);
        let at = at.min_by_key(|at| (bench.waits_for_lock(senders[*at].id), begins(at))).unwrap();
        let (_, part) = senders[at].parts.pop_front().unwrap();
        bench.send(senders[at].id, &part);
        note(bench, &senders, seen);
    }
}

fn one_step(bench: &mut Bench, random: &mut Random, senders: &mut Vec<Sender>) {
    let at = random.index(senders.len());
    // With one that waits for a lock no turn begins: two that want the same row are served in an order of which PostgreSQL
    // promises nothing.
    let may_begin = !bench.has_waiting() && !bench.waits_for_standby(senders[at].id);
    if let Some((_, part)) = senders[at].parts.pop_front_if(|(begins, _)| may_begin || !*begins) {
        bench.send(senders[at].id, &part);
        return;
    }
    if !may_begin || !senders[at].parts.is_empty() {
        return;
    }
    let (id, instance) = (senders[at].id, senders[at].instance);
    match random.below(20) {
        0 if senders.len() < 4 => {
            let new = bench.connect(if instance == 1 { "x again" } else { "y again" }, &[]);
            let fence = bytes::fence(&bench.instance(instance));
            bench.send(new, &fence);
            let epochs = senders.iter().filter(|sender| sender.instance == instance).map(|sender| sender.epoch);
            let epoch = epochs.max().unwrap_or_default() + 1;
            senders.push(Sender { id: new, instance, epoch, parts: VecDeque::new() });
        }
        1 => drop(bench.send(id, &bytes::draw(bench.draw, &bench.instance(instance)))),
        2 => drop(bench.send(id, &bytes::of_draw("survey_draw", bench.draw))),
        3 => drop(bench.send(id, &bytes::of_draw("survey_agencies", bench.draw))),
        4 => drop(bench.send(id, &bytes::of_draw("winners", bench.draw))),
        _ => {
            let stored = bench.model.visible().instances.get(&bench.instance(instance)).map_or(0, |row| row.turn);
            let wrong = if random.chance(100) { [-1, 1][random.index(2)] } else { 0 };
            for behind in 0..=i64::from(random.chance(200)) + i64::from(random.chance(100)) {
                let turn = any_turn(bench, random, &senders[at], stored + 1 + behind + wrong);
                let whole = random.chance(300);
                let parts = if whole { vec![turn.bytes()] } else { turn.parts().to_vec() };
                senders[at].parts.extend(parts.into_iter().enumerate().map(|(place, part)| (place == 0, part)));
            }
        }
    }
}

fn any_turn(bench: &Bench, random: &mut Random, sender: &Sender, number: i64) -> Turn {
    let mut made = turn(bench, sender.instance, sender.epoch, number);
    let mut agencies = vec![1, 2, 3, 4];
    if random.chance(50) {
        agencies.push(5);
    }
    for _ in 0..random.below(4) {
        let agency = agencies.remove(random.index(agencies.len()));
        let stored = bench.model.visible().agencies[&(bench.draw, agency)].batches;
        let first = match random.below(10) {
            0 => stored + 1,
            1 => (stored - 1).max(0),
            2..=5 => stored,
            _ => -1,
        };
        let batches = i64::try_from(random.below(3)).unwrap();
        made = made.with(agency, first, batches);
        if random.chance(40) {
            made = made.finishing(agency);
        }
        made.compared.extend(random.chance(300).then_some((agency, (stored - 1).max(0))));
    }
    if random.chance(30) {
        agencies.iter().for_each(|agency| made = made.clone().finishing(*agency));
    }
    made.looks.extend(random.chance(300).then_some(1));
    made
}

fn note(bench: &Bench, senders: &[Sender], seen: &mut Seen) {
    for sender in senders {
        seen.lock_waits += u32::from(bench.waits_for_lock(sender.id));
        seen.standby_waits += u32::from(bench.waits_for_standby(sender.id));
        for words in bench.said(sender.id) {
            match &*words {
                "UPDATE 1" => seen.whole += 1,
                "UPDATE 0" => seen.nothing_done += 1,
                "report ERROR 23514 turn_is_whole" => seen.taken_back += 1,
                "report WARNING 01000" => seen.warnings += 1,
                _ => {}
            }
        }
    }
}
