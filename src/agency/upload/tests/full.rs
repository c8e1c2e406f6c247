//! What an upload does while the hub has no space.

use super::*;

#[test]
fn batches_refused_together_are_sent_again_together_after_one_pause() {
    let mut upload = upload(Dialect::Native, &bets(40), 10);
    let mut hub = Hub::new(Dialect::Native);
    upload.connected();
    Run::new().carry(&mut upload, &mut hub, usize::MAX);
    upload.sent(upload.outgoing().len());
    for sequence in 1..4 {
        upload.rejected(Some(sequence), Cause::StorageFull, String::new()).unwrap();
    }
    assert_eq!(upload.next(), Next::Pause(Duration::from_millis(200)));
    assert!(upload.outgoing().is_empty());
    upload.pause_over();
    let mut frames = upload.outgoing();
    for sequence in 1..4u64 {
        assert_eq!(frames[5..13], sequence.to_be_bytes());
        let length = u32::from_be_bytes(frames[..4].try_into().unwrap());
        frames = &frames[4 + usize::try_from(length).unwrap()..];
    }
    assert!(frames.is_empty());
}

#[test]
fn a_full_hub_is_asked_again_with_growing_pauses_until_it_has_room() {
    let bets = bets(300);
    let (mut hub, mut run) = (Hub::new(Dialect::Native), Run { piece: 50, ..Run::new() });
    hub.rejections = vec![(5, Rejection::StorageFull); 8];
    hub.rejections.push((20, Rejection::StorageFull));
    assert_eq!(run.play(&mut upload(Dialect::Native, &bets, 10), &mut hub), done(winners(&bets)));
    assert!(hub.stored() == bets);
    let millis: Vec<_> = run.pauses.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 200]);
}

#[test]
fn a_finish_and_a_query_that_a_full_hub_refuses_are_sent_again_after_a_pause() {
    let mut upload = upload(Dialect::Native, &[], 10);
    let mut hub = Hub::new(Dialect::Native);
    hub.accept();
    upload.connected();
    Run::new().carry(&mut upload, &mut hub, usize::MAX);
    for (stage, millis) in [(Stage::Finishing, 200), (Stage::Querying, 400)] {
        let request = upload.outgoing().to_vec();
        assert!(upload.stage() == stage && !request.is_empty(), "{upload:?}");
        upload.sent(request.len());
        upload.refused(Cause::StorageFull, String::new()).unwrap();
        assert_eq!(upload.next(), Next::Pause(Duration::from_millis(millis)));
        upload.pause_over();
        assert_eq!(upload.outgoing(), request);
        Run::new().carry(&mut upload, &mut hub, usize::MAX);
    }
}
