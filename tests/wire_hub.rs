//! Every golden conversation with a real server: the same bytes come back, whole or byte by byte.

#![allow(clippy::panic, clippy::unwrap_used, reason = "how a test fails")]

mod common;
mod golden;

use common::{Hub, Peer, hub};
use golden::Conversation;
use loteria::wire::Dialect;

/// How a frame is sent.
#[derive(Clone, Copy)]
enum Pace {
    Whole,
    ByteByByte,
}

fn server(conversation: &Conversation) -> Hub {
    let early = if conversation.early_reject { "reject" } else { "park" };
    hub().env("LOTTERY_AGENCIES", &conversation.agencies).env("LOTTERY_EARLY_QUERY", early).start()
}

fn converse(conversation: &Conversation, pace: Pace) {
    let hub = server(conversation);
    let mut peer = hub.connect();
    let mut closed = false;
    for exchange in &conversation.exchanges {
        match pace {
            Pace::Whole => peer.send(&exchange.frame),
            Pace::ByteByByte => exchange.frame.iter().for_each(|byte| peer.send(&[*byte])),
        }
        if exchange.reply.as_deref() == Some("shutting-down") {
            hub.signal(15);
        }
        peer.expect(&exchange.bytes);
        closed = exchange.close;
    }
    ends(&mut peer, closed);
}

/// Nothing more comes, and the connection is closed already or goes on until its client ends it.
fn ends(peer: &mut Peer, closed: bool) {
    if !closed {
        assert!(peer.is_quiet(), "more came than was said");
        peer.half_close();
    }
    let rest = peer.rest();
    assert!(rest.is_empty(), "{} came unasked", rest.escape_ascii());
}

fn all_of(dialect: Dialect) {
    for conversation in golden::of(dialect) {
        for pace in [Pace::Whole, Pace::ByteByByte] {
            converse(&conversation, pace);
        }
    }
}

#[test]
fn every_dialect_has_a_test() {
    for dialect in Dialect::ALL {
        let call = format!("    all_of(Dialect::{dialect:?});\n");
        assert!(include_str!("wire_hub.rs").contains(&call), "no test here calls all_of(Dialect::{dialect:?})");
    }
}

#[test]
fn the_hub_answers_binary_byte_for_byte() {
    all_of(Dialect::Binary);
}

#[test]
fn the_hub_answers_case_id_byte_for_byte() {
    all_of(Dialect::CaseId);
}

#[test]
fn the_hub_answers_text_byte_for_byte() {
    all_of(Dialect::Text);
}

#[test]
fn the_hub_answers_key_value_byte_for_byte() {
    all_of(Dialect::KeyValue);
}

#[test]
fn the_hub_answers_csv_byte_for_byte() {
    all_of(Dialect::Csv);
}

#[test]
fn the_hub_answers_native_byte_for_byte() {
    all_of(Dialect::Native);
}

#[test]
fn the_hub_answers_echo_byte_for_byte() {
    all_of(Dialect::Echo);
}

/// Frames that are rejected and declare far more bets than they hold, with the answer to each.
fn overstated() -> Vec<(Vec<u8>, Vec<u8>)> {
    let names = b"\0\0\0\x0fSantiago Lionel\0\0\0\x05Lorca".as_slice();
    let numbers = b"\x01\xd7\x90\x91\x01\x31\x07\x2d\0\0\x1d\x96".as_slice();
    let binary = |head: &[u8]| {
        let bytes = [head, names, numbers].concat();
        let length = u32::try_from(bytes.len() + 4).unwrap();
        ([length.to_be_bytes().to_vec(), bytes].concat(), b"\x01".to_vec())
    };
    let said = |payload: &str| [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload.as_bytes()].concat();
    let key_value = |pairs: &str, present: u32| {
        let words = format!("STATUS:ERROR|MESSAGE:the batch declares more bets than it has ({present})\n");
        (said(pairs), said(&words))
    };
    let bet = r"NOMBRE:Ana\|APELLIDO:Paz\|DOCUMENTO:1\|NACIMIENTO:1999-03-17\|NUMERO:5\|AGENCY_ID:3";
    // A batch behind the finish, which is refused before its bets are read.
    let late = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, b'a', 1, b'b', 1, b'7', 0x01, 0x31, 0x05, 0x35, 0, 0, 0, 5];
    let frame = |content: &[u8]| {
        let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        [&length, content, &crc32c::crc32c(content).to_be_bytes()].concat()
    };
    let native = [b"\xb7LN\x01\0\0\0\x03".to_vec(), frame(&[2]), frame(&late)].concat();
    let rejected = [&[0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], "the agency has finished".as_bytes()].concat();
    let finished = [&[0x83][..], &[0; 16]].concat();
    let answers = [b"\xb7LN\x01\0\0\0\0\0\0\0\0\0".to_vec(), frame(&finished), frame(&rejected)].concat();
    vec![
        // One bet without a type or a count: letters of its name stand where the count is looked for.
        binary(b"\0\0\0\x01"),
        binary(b"\0\0\0\x01\0\0\0\x63\xff\xff\xff\xff"),
        key_value("BATCH_SIZE:4000000000\n", 0),
        key_value(&format!("BATCH_SIZE:4000000000|BET_1:{bet}|BET_2:{bet}\n"), 2),
        (native, answers),
    ]
}

#[test]
fn no_count_is_logged_that_the_frame_cannot_hold() {
    let hub = hub().env("LOTTERY_AGENCIES", "3-4").start();
    for (sent, answer) in overstated() {
        let mut peer = hub.connect();
        peer.send(&sent);
        peer.expect(&answer);
        peer.half_close();
        peer.rest();
    }
    let (status, log) = hub.terminate();
    assert!(status.success(), "{log}");
    let counts: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("action: apuesta_recibida | result: fail | cantidad: "))
        .filter_map(|(_, rest)| rest.split(' ').next())
        .collect();
    assert_eq!(counts, ["1", "1", "0", "2", "1"], "{log}");
    for declared in ["4000000000", "4294967295", "1398894196", "65535"] {
        assert!(!log.contains(declared), "{declared} is logged: {log}");
    }
}
