//! An upload against a hub in memory, with connection faults at every byte.

mod full;
mod hub;
mod slow;

use std::time::Duration;

use super::*;
use crate::agency::batcher::BATCH_FRAME_BYTES_MAX;
use crate::agency::bet_reader::{BetFile, BetList};
use crate::lottery::{AgencyId, Bet};
use crate::wire::{Cause, Dialect, Rejection, Reply};
use hub::{Hub, Run};

const AGENCY: AgencyId = AgencyId(3);
const WINNING: u32 = 7574;

fn bet(index: u32) -> Bet {
    let document = (30_000_000 + index).to_string();
    let number = if index.is_multiple_of(10) { WINNING } else { index % 1000 };
    Bet::from_text(
        b"Ana",
        "Ib\u{e1}\u{f1}ez".as_bytes(),
        document.as_bytes(),
        b"1999-03-17",
        number.to_string().as_bytes(),
    )
    .unwrap()
}

fn bets(count: u32) -> Vec<Bet> {
    (0..count).map(bet).collect()
}

fn winners(bets: &[Bet]) -> Vec<String> {
    bets.iter().filter(|bet| bet.number() == WINNING).map(|bet| bet.document().to_owned()).collect()
}

/// Every dialect of agencies.
fn dialects() -> impl Iterator<Item = Dialect> {
    Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Echo)
}

fn upload(dialect: Dialect, bets: &[Bet], bets_max: u32) -> Upload<BetList> {
    goal(Goal::Winners, dialect, bets, bets_max)
}

fn goal(goal: Goal, dialect: Dialect, bets: &[Bet], bets_max: u32) -> Upload<BetList> {
    Upload::new(Plan { agency: AGENCY, dialect, bets_max, goal, empty: true }, BetList::new(bets.to_vec()))
}

fn done(winners: Vec<String>) -> Outcome {
    Outcome::Done { winners, doubt: None }
}

fn failure(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(Failure::Refused { reason, .. } | Failure::Rejected { reason, .. }) => reason,
        other @ (Outcome::Done { .. } | Outcome::Failed(_)) => panic!("{other:?}"),
    }
}

#[test]
fn every_dialect_uploads_each_bet_once_in_order_and_gets_the_winners() {
    for dialect in dialects() {
        for (count, bets_max, piece) in [(0, 10, 1), (1, 10, 1), (95, 10, 1), (100, 10, 7), (1000, 62, usize::MAX)] {
            let bets = bets(count);
            let (mut hub, mut run) = (Hub::new(dialect), Run { piece, ..Run::new() });
            let outcome = run.play(&mut upload(dialect, &bets, bets_max), &mut hub);
            assert_eq!(outcome, done(winners(&bets)), "{dialect:?}, {count} bets");
            assert!(hub.stored() == bets, "{dialect:?}, {count} bets");
            assert_eq!(hub.finishes, 1);
            let sizes: Vec<_> = hub.batches.iter().map(|batch| u32::try_from(batch.len()).unwrap()).collect();
            let (last, full) = sizes.split_last().map_or((0, &[][..]), |(last, full)| (*last, full));
            assert!(full.iter().all(|size| *size == bets_max) && last <= bets_max, "{sizes:?}");
            assert!(run.events.contains(&Event::AllSent { batches: sizes.len() as u64, bets: u64::from(count) }));
        }
    }
}

#[test]
fn no_frame_is_over_8192_bytes_and_the_bet_that_did_not_fit_opens_the_next() {
    let long = |index: u32| {
        let name = "\u{f1}\\:".repeat(1 + usize::try_from(index).unwrap() * 7 % 60);
        Bet::from_text(name.as_bytes(), name.as_bytes(), b"30904465", b"1999-03-17", b"1").unwrap()
    };
    let bets: Vec<Bet> = (0..2000).map(long).collect();
    for dialect in dialects() {
        let mut hub = Hub::new(dialect);
        Run::new().play(&mut upload(dialect, &bets, u32::MAX), &mut hub);
        assert!(hub.stored() == bets, "{dialect:?}");
        let longest = hub.frames.iter().max().unwrap();
        assert!((7000..=BATCH_FRAME_BYTES_MAX).contains(longest), "{dialect:?}: {longest}");
    }
}

#[test]
fn as_many_batches_are_on_their_way_as_the_dialect_allows() {
    for dialect in dialects().filter(|dialect| dialect.client_rules().batches_answered) {
        let (mut hub, mut upload) = (Hub::new(dialect), upload(dialect, &bets(2000), 2));
        upload.connected();
        if dialect.client_rules().hello {
            hub.receive(upload.outgoing());
            upload.sent(upload.outgoing().len());
            upload.received(&std::mem::take(&mut hub.outbox)).unwrap();
        }
        let window = dialect.client_rules().window;
        while !upload.outgoing().is_empty() {
            hub.receive(&upload.outgoing()[..1]);
            upload.sent(1);
        }
        assert_eq!(hub.batches.len(), window, "{dialect:?}: unanswered");
        upload.received(&std::mem::take(&mut hub.outbox)).unwrap();
        hub.receive(upload.outgoing());
        assert_eq!(hub.batches.len(), 2 * window, "{dialect:?}: answered");
    }
    for dialect in dialects().filter(|dialect| !dialect.client_rules().batches_answered) {
        let mut upload = upload(dialect, &bets(20_000), 62);
        upload.connected();
        let most = OUTBOX_BYTES_HIGH + BATCH_FRAME_BYTES_MAX;
        assert!((OUTBOX_BYTES_HIGH..most).contains(&upload.outgoing().len()), "{dialect:?}: unsent");
    }
}

#[test]
fn exactly_once_wherever_the_connection_is_cut() {
    let bets = bets(300);
    let dialect = Dialect::Native;
    for cut in (1..10_000).step_by(13) {
        let (mut hub, mut run) = (Hub::new(dialect), Run { piece: 97, ..Run::cut(&[cut, cut / 2 + 1, 5 * cut, 1]) });
        let outcome = run.play(&mut upload(dialect, &bets, 7), &mut hub);
        assert_eq!(outcome, done(winners(&bets)), "cut at {cut}");
        assert!(hub.stored() == bets, "cut at {cut}");
        let odd = |event: &Event| matches!(event, Event::MayRepeat { .. } | Event::Forgotten { .. });
        assert!(!run.events.iter().any(odd), "cut at {cut}: {:?}", run.events);
    }
}

#[test]
fn acknowledged_batches_are_not_resent_and_possible_duplicates_are_reported() {
    let bets = bets(100);
    for dialect in dialects().filter(|dialect| dialect.client_rules().resumable && !dialect.client_rules().exactly_once)
    {
        let mut repeated = 0;
        for cut in 1..6000 {
            let (mut hub, mut run) = (Hub::new(dialect), Run { piece: 64, ..Run::cut(&[cut]) });
            run.play(&mut upload(dialect, &bets, 10), &mut hub);
            let told = run.events.iter().filter(|event| matches!(event, Event::MayRepeat { .. })).count();
            let extra = hub.batches.len() - 10;
            // This hub stores every whole batch, so that each reported repeat is stored twice.
            assert_eq!(extra, told, "{dialect:?} cut at {cut}: stored twice, and told");
            hub.batches.dedup();
            assert!(hub.stored() == bets, "{dialect:?} cut at {cut}");
            repeated += extra;
        }
        assert!(repeated > 0, "{dialect:?}: no cut fell between a store and its answer");
    }
}

#[test]
fn a_dialect_that_cannot_resume_stops_once_it_has_spoken() {
    for dialect in dialects().filter(|dialect| !dialect.client_rules().resumable) {
        let (mut hub, mut run) = (Hub::new(dialect), Run::cut(&[200]));
        let outcome = run.play(&mut upload(dialect, &bets(100), 10), &mut hub);
        assert!(failure(outcome).starts_with("the connection was lost"), "{dialect:?}");
        let (mut hub, mut silent) = (Hub::new(dialect), upload(dialect, &bets(100), 10));
        silent.connected();
        silent.lost(Duration::ZERO);
        assert_eq!(Run::new().play(&mut silent, &mut hub), done(winners(&bets(100))), "{dialect:?}");
    }
}

#[test]
fn a_client_that_starts_again_sends_only_what_the_hub_lacks_and_one_batch_to_compare() {
    let bets = bets(95);
    for had in [1, 4, 9, 10] {
        let mut hub = Hub::new(Dialect::Native);
        hub.batches = bets.chunks(10).take(had).map(<[Bet]>::to_vec).collect();
        let mut run = Run::new();
        assert_eq!(run.play(&mut upload(Dialect::Native, &bets, 10), &mut hub), done(winners(&bets)));
        assert!(hub.stored() == bets);
        let stored = bets.chunks(10).take(had).map(<[Bet]>::len).sum::<usize>() as u64;
        assert!(run.events.iter().any(
            |event| matches!(event, Event::Resumed { batches, bets, .. } if (*batches, *bets) == (had as u64, stored))
        ));
        // Hello, the compared batch, the missing batches, finish, query, watch.
        assert_eq!(hub.frames.len(), 1 + 1 + (10 - had) + 3);
    }
}

#[test]
fn a_client_that_starts_again_with_other_bets_or_batches_stops_before_anything_is_stored() {
    let original = bets(95);
    for (bets, bets_max) in [(original.clone(), 9), (original[1..].to_vec(), 10), (original[..30].to_vec(), 10)] {
        for cuts in [&[][..], &[60], &[300]] {
            let mut hub = Hub::new(Dialect::Native);
            hub.batches = original.chunks(10).take(4).map(<[Bet]>::to_vec).collect();
            let before = hub.batches.clone();
            let said = failure(Run::cut(cuts).play(&mut upload(Dialect::Native, &bets, bets_max), &mut hub));
            assert!(said.contains("not the bets that were sent before"), "{said}");
            assert!(hub.batches == before && hub.finishes == 0);
        }
    }
}

#[test]
fn a_client_that_starts_again_after_the_draw_gets_its_winners() {
    let bets = bets(40);
    let mut hub = Hub::new(Dialect::Native);
    Run::new().play(&mut upload(Dialect::Native, &bets, 10), &mut hub);
    assert_eq!(Run::new().play(&mut upload(Dialect::Native, &bets, 10), &mut hub), done(winners(&bets)));
    assert!(hub.stored() == bets);

    // A hub that rejects every batch as late.
    let mut upload = upload(Dialect::Native, &bets, 10);
    upload.connected();
    let mut out = Vec::new();
    let _ = Dialect::Native.encode(&Reply::Welcome { next: 4 }, &mut out);
    upload.received(&out).unwrap();
    upload.work();
    assert_eq!(upload.stage(), Stage::Comparing);
    upload.rejected(Some(3), Cause::Late, String::new()).unwrap();
    assert_eq!(upload.stage(), Stage::Finishing);
}

#[test]
fn a_hub_that_has_forgotten_gets_it_again() {
    let bets = bets(300);
    for keep in [0, 3] {
        let (mut hub, mut run) = (Hub::new(Dialect::Native), Run { piece: 100, ..Run::cut(&[9000]) });
        hub.forget = Some((2, keep));
        assert_eq!(run.play(&mut upload(Dialect::Native, &bets, 10), &mut hub), done(winners(&bets)));
        assert!(hub.stored() == bets, "{keep} kept");
        assert!(run.events.contains(&Event::Forgotten { next: keep as u64 }), "{keep} kept");
    }
}

#[test]
fn a_hub_that_has_forgotten_the_finish_is_told_again() {
    let bets = bets(20);
    for cut in 600..1000 {
        let (mut hub, mut run) = (Hub::new(Dialect::Native), Run { piece: 1, ..Run::cut(&[cut]) });
        hub.forget = Some((2, 1));
        assert_eq!(run.play(&mut upload(Dialect::Native, &bets, 10), &mut hub), done(winners(&bets)));
        assert!(hub.stored() == bets && hub.finishes == 1, "cut at {cut}: {} finishes", hub.finishes);
    }
}

#[test]
fn a_rejected_batch_stops_the_client_and_names_its_lines() {
    for dialect in dialects().filter(|dialect| dialect.client_rules().batches_answered) {
        let mut hub = Hub::new(dialect);
        let why = Rejection::Batch(crate::lottery::BatchError::BadBet {
            index: 1,
            error: crate::lottery::BetError::Document,
        });
        hub.rejections = vec![(2, why)];
        let outcome = Run::new().play(&mut upload(dialect, &bets(95), 10), &mut hub);
        let Outcome::Failed(Failure::Rejected { first_line: 21, last_line: 30, reason }) = outcome else {
            panic!("{dialect:?}: {outcome:?}");
        };
        let has_reason = [Dialect::Native, Dialect::KeyValue].contains(&dialect);
        assert_eq!(reason.contains("its log has the reason"), !has_reason, "{dialect:?}: {reason}");
        assert_eq!((hub.batches.len(), hub.finishes), (2, 0), "{dialect:?}");
    }
}

#[test]
fn a_rejection_that_only_the_finish_tells_is_a_doubt() {
    for dialect in dialects().filter(|dialect| !dialect.client_rules().batches_answered) {
        let mut hub = Hub::new(dialect);
        hub.rejections = vec![(2, Rejection::Batch(crate::lottery::BatchError::Empty))];
        let outcome = Run::new().play(&mut upload(dialect, &bets(95), 10), &mut hub);
        let doubt = Some("the hub rejected at least one batch".to_owned());
        assert_eq!(outcome, Outcome::Done { winners: winners(&hub.stored()), doubt }, "{dialect:?}");
        assert_eq!(hub.stored().len(), 85);
    }
}

#[test]
fn a_query_before_the_draw_is_asked_again_each_second() {
    for dialect in dialects().filter(|dialect| dialect.server_rules().polls) {
        let (mut hub, mut run) = (Hub::new(dialect), Run::new());
        hub.early = 3;
        assert_eq!(run.play(&mut upload(dialect, &bets(20), 10), &mut hub), done(winners(&bets(20))));
        assert_eq!(run.pauses, [Duration::from_secs(1); 3], "{dialect:?}");
    }
}

#[test]
fn a_bad_bet_stops_the_client_after_the_batches_before_it() {
    // `text` and `csv` cannot carry every name.
    for (dialect, name) in dialects().filter_map(|dialect| unrepresentable_name(dialect).map(|name| (dialect, name))) {
        let mut bets = bets(50);
        bets[37] = Bet::from_text(name.as_bytes(), b"Paz", b"30904465", b"1999-03-17", b"1").unwrap();
        let mut hub = Hub::new(dialect);
        let outcome = Run::new().play(&mut upload(dialect, &bets, 10), &mut hub);
        let Outcome::Failed(Failure::Bets(error)) = outcome else { panic!("{dialect:?}: {outcome:?}") };
        assert_eq!((error.line, hub.batches.len(), hub.finishes), (Some(38), 3, 0), "{dialect:?}: {error}");
    }
}

#[test]
fn a_bad_bet_is_not_passed_over_where_another_client_has_stored_more() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let row = "Ana,Paz,11,2000-01-02,3\n";
    std::io::Write::write_all(&mut file, format!("{row}{row}Ana,Paz,x,2000-01-02,3\n{row}{row}").as_bytes()).unwrap();
    let plan = Plan { agency: AGENCY, dialect: Dialect::Native, bets_max: 1, goal: Goal::Winners, empty: true };
    let mut hub = Hub::new(Dialect::Native);
    hub.others = (2, bets(3).chunks(1).map(<[Bet]>::to_vec).collect());
    let bets = BetFile::open(file.path()).unwrap();
    let outcome = Run::cut(&[25]).play(&mut Upload::new(plan, bets), &mut hub);
    let Outcome::Failed(Failure::Bets(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.line, Some(3), "{error}");
}

/// A first name that `dialect` cannot represent.
fn unrepresentable_name(dialect: Dialect) -> Option<&'static str> {
    ["Ana|Maria", "Ana, la"].into_iter().find(|name| {
        let bet = Bet::from_text(name.as_bytes(), b"Paz", b"30904465", b"1999-03-17", b"1").unwrap();
        dialect.carries(&bet.as_raw()).is_err()
    })
}

#[test]
fn a_single_bet_goes_after_all_that_the_hub_has_and_the_agency_does_not_finish() {
    for dialect in dialects().filter(|dialect| dialect.client_rules().batches_answered) {
        let mut hub = Hub::new(dialect);
        for index in 0..3 {
            let outcome = Run::new().play(&mut goal(Goal::Confirmed, dialect, &[bet(index)], 62), &mut hub);
            assert_eq!(outcome, done(Vec::new()), "{dialect:?}");
        }
        assert!(hub.stored() == bets(3), "{dialect:?}");
        assert_eq!(hub.finishes, 0);
    }
}

#[test]
fn a_single_bet_is_stored_once_wherever_the_connection_is_cut_and_beside_other_bets() {
    for others in 0..3 {
        for cut in 1..150 {
            let mut hub = Hub::new(Dialect::Native);
            hub.batches = vec![vec![bet(0)]];
            hub.others = (2, (1..=others).map(|index| vec![bet(index)]).collect());
            let mut upload = goal(Goal::Confirmed, Dialect::Native, &[bet(7)], 62);
            let outcome = Run { piece: 1, ..Run::cut(&[cut]) }.play(&mut upload, &mut hub);
            assert_eq!(outcome, done(Vec::new()), "cut at {cut}, {others} others");
            let own = hub.stored().iter().filter(|stored| **stored == bet(7)).count();
            assert_eq!(own, 1, "cut at {cut}, {others} others");
        }
    }
}

#[test]
fn malformed_answers_close_the_connection() {
    for (dialect, byte) in
        [(Dialect::Text, 0), (Dialect::KeyValue, 0), (Dialect::Binary, b'S'), (Dialect::Csv, 0), (Dialect::Native, 0)]
    {
        let mut upload = upload(dialect, &bets(5), 10);
        upload.connected();
        assert!(upload.received(&[byte; 64]).is_err(), "{dialect:?}");
        upload.lost(Duration::ZERO);
        assert_eq!(Run::new().play(&mut upload, &mut Hub::new(dialect)), done(winners(&bets(5))), "{dialect:?}");
    }
}

#[test]
fn pauses_between_connections_grow_and_start_again_after_use() {
    let mut upload = upload(Dialect::Native, &bets(5), 10);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let Next::Connect { pause } = upload.next() else { panic!("{upload:?}") };
        pauses.push(pause.as_millis());
        upload.lost(Duration::ZERO);
    }
    assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000]);
    let again = Next::Connect { pause: Duration::from_millis(100) };
    upload.connected();
    upload.lost(Duration::from_secs(60));
    assert_eq!(upload.next(), again, "it had lasted");
    upload.connected();
    upload.lost(Duration::ZERO);
    assert_ne!(upload.next(), again, "it was of no use");
    let mut hub = Hub::new(Dialect::Native);
    upload.connected();
    for _ in 0..2 {
        Run::new().carry(&mut upload, &mut hub, usize::MAX);
    }
    upload.lost(Duration::ZERO);
    assert_eq!(upload.next(), again, "it had brought an answer");
}

#[test]
fn a_count_that_differs_at_the_finish_is_a_doubt() {
    let (bets, mut hub) = (bets(20), Hub::new(Dialect::Native));
    hub.miscount = 1;
    let outcome = Run::new().play(&mut upload(Dialect::Native, &bets, 10), &mut hub);
    let doubt = Some("the hub has 21 bets of this agency, which has 20".to_owned());
    assert_eq!(outcome, Outcome::Done { winners: winners(&bets), doubt });
}

#[test]
fn a_hub_that_rejects_bets_and_then_closes_at_the_query_is_not_asked_for_ever() {
    let dialect = Dialect::CaseId;
    let mut upload = upload(dialect, &bets(20), 10);
    upload.connected();
    upload.sent(upload.outgoing().len());
    // The finish: a batch was rejected.
    upload.received(&[0]).unwrap();
    assert!(upload.is_doubtful());
    // A query that was parked was not refused.
    upload.lost(Duration::from_secs(60));
    assert_eq!(upload.outcome(), None);
    upload.connected();
    upload.lost(Duration::ZERO);
    let reason = failure(upload.outcome().cloned().unwrap());
    assert!(reason.starts_with("the hub rejected at least one batch, and closed the connection"), "{reason}");
}

#[test]
fn an_agency_without_bets_finishes_only_if_it_may() {
    for dialect in dialects() {
        for empty in [false, true] {
            let plan = Plan { agency: AGENCY, dialect, bets_max: 10, goal: Goal::Winners, empty };
            let mut hub = Hub::new(dialect);
            let outcome = Run::new().play(&mut Upload::new(plan, BetList::new(Vec::new())), &mut hub);
            let expected = if empty { done(Vec::new()) } else { Outcome::Failed(Failure::Empty) };
            assert_eq!((outcome, hub.finishes), (expected, u32::from(empty)), "{dialect:?}");
        }
    }
}
