//! The `native` dialect on frames written by hand.

use super::*;
use crate::wire::message::{Answer, Cause, Expecting};

fn context(opening: bool) -> Context {
    Context { frame_bytes_max: 1000, opening, scanned: 0 }
}

/// A frame with this kind and body, and the right checksum.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message(content[0], &mut out, |body| body.extend_from_slice(&content[1..]));
    out
}

#[test]
fn a_hello_is_recognised_by_its_first_wrong_byte() {
    for bytes in [&b"x"[..], b"\xb7LN\x02", b"\xb7LM"] {
        assert!(matches!(frame(bytes, &context(true)), Framing::Malformed(_)), "{bytes:?}");
    }
    for len in 0..HELLO_BYTES {
        let hello = b"\xb7LN\x01\0\0\0\x03";
        assert_eq!(frame(&hello[..len], &context(true)), Framing::Incomplete { need: 8 });
    }
}

#[test]
fn a_flipped_bit_anywhere_behind_the_length_is_found() {
    let good = sealed(&[BATCH, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0]);
    assert!(matches!(
        decode(&good, &context(false)),
        Ok(Request::Batch(Batch { sequence: Some(7), agency: Speaker::Connection, .. }))
    ));
    for bit in LENGTH_BYTES * 8..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&bad, &context(false)).err(), Some(BAD_CHECKSUM), "bit {bit}");
    }
}

#[test]
fn malformed_frames() {
    for (length, expected) in [
        (0u32, Framing::Malformed(Malformed("frame shorter than its kind and checksum"))),
        (4, Framing::Malformed(Malformed("frame shorter than its kind and checksum"))),
        (5, Framing::Incomplete { need: 9 }),
        (996, Framing::Incomplete { need: 1000 }),
        (997, Framing::Malformed(TOO_LARGE)),
        (1 << 31, Framing::Malformed(TOO_LARGE)),
        (u32::MAX, Framing::Malformed(TOO_LARGE)),
    ] {
        assert_eq!(frame(&length.to_be_bytes(), &context(false)), expected, "{length}");
    }
    for content in [&[0x04][..], &[WATCH, 0], &[0x81], &[FINISH, 0], &[QUERY, 0], &[BATCH, 0, 0]] {
        assert!(decode(&sealed(content), &context(false)).is_err(), "{content:?}");
    }
}

#[test]
fn bets_fill_their_frame_exactly() {
    let bet = [1, b'a', 1, b'b', 1, b'7', 0x01, 0x31, 0x05, 0x35, 0, 0, 0x1d, 0x96];
    let feed = |count: u32, bytes: &[u8]| Bets { count, bytes }.feed(&mut Vec::new());
    assert_eq!(feed(1, &bet), Ok(1));
    assert_eq!(feed(0, &[]), Err(BatchError::Empty));
    for (count, len) in [(1, bet.len() - 1), (2, bet.len()), (0, 1), (65_535, 14)] {
        assert_eq!(feed(count, &bet[..len]), Err(BatchError::Malformed), "{count} in {len}");
    }
    assert_eq!(feed(1, &[bet, bet].concat()), Err(BatchError::Malformed));
    for (declared, len, expected) in [(1, bet.len(), 1), (65_535, bet.len(), 1), (65_535, 13, 1), (65_535, 0, 0)] {
        assert_eq!(Bets { count: declared, bytes: &bet[..len] }.count(), expected, "{declared} in {len}");
    }
}

#[test]
fn damage_has_codes_of_its_own() {
    for (malformed, expected) in [(BAD_CHECKSUM, 2), (TOO_LARGE, 6), (Malformed("unknown kind of frame"), 1)] {
        let mut out = Vec::new();
        assert_eq!(encode(&Reply::Malformed(malformed), &mut out), After::Close);
        let (kind, body) = open(&out).unwrap();
        assert_eq!((kind, &body[..2]), (ERROR, &[0, expected][..]));
    }
}

#[test]
fn a_hub_that_refuses_the_hello_in_a_frame_is_understood() {
    let mut out = Vec::new();
    encode(&Reply::ShuttingDown, &mut out);
    let answer = client::answer(&out, Expecting::Welcome).unwrap().unwrap();
    assert!(matches!(answer.1, Answer::Error { cause: Cause::ShuttingDown, .. }), "{answer:?}");
}

#[test]
fn a_watch_is_found_by_its_whole_frame_only() {
    let watch = sealed(&[WATCH]);
    assert!(matches!(decode(&watch, &context(false)), Ok(Request::Watch)));
    assert!(starts_with_watch(&watch) && starts_with_watch(&[&watch[..], b"more"].concat()));
    assert_eq!(watch.len(), WATCH_BYTES);
    for len in 0..watch.len() {
        assert!(!starts_with_watch(&watch[..len]), "{len} bytes");
    }
    for bit in 0..watch.len() * 8 {
        let mut bad = watch.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!starts_with_watch(&bad), "bit {bit}");
    }
    assert!(!starts_with_watch(&sealed(&[QUERY])));
}

#[test]
fn whom_the_draw_waits_for_reads_back_and_names_a_few() {
    let all: Vec<AgencyId> = (1..=40).map(AgencyId).collect();
    for count in [0, 1, 2, 16, 17, 40] {
        let missing = u32::try_from(count).unwrap();
        let mut out = Vec::new();
        assert_eq!(encode(&Reply::Waiting { missing, named: &all[..count] }, &mut out), After::Open);
        let named = all[..count.min(WAITING_NAMED_MAX)].to_vec();
        let read = client::answer(&out, Expecting::Winners);
        assert_eq!(read, Ok(Some((out.len(), Answer::Waiting { missing, named }))), "{count}");
    }
    for body in [&[0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0, 0, 0, 1, 1], &[0, 0, 0, 1, 0, 9], &[0, 0, 0]] {
        let frame = sealed(&[&[WAITING][..], body].concat());
        assert!(client::answer(&frame, Expecting::Winners).is_err(), "{body:?}");
    }
}
