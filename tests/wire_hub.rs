//! Every golden conversation with a real server: the same bytes come back, whole or byte by byte.

#![allow(clippy::panic, reason = "how a test fails")]

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
