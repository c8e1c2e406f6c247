//! `tools/loteria.lua` in a real tshark: over a capture of a real draw, and over bytes that make no sense.

#![allow(clippy::panic, reason = "how a test fails")]

mod common;
mod golden;
#[path = "dissector/pcap.rs"]
mod pcap;
#[path = "peers/python.rs"]
mod python;
#[path = "dissector/tshark.rs"]
mod tshark;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use golden::Conversation;
use loteria::wire::Dialect;
use pcap::Segment;
use python::{python, success};
use tshark::{Capture, Table, Trace};

const DIALECTS: &str = "case-id,text,key-value,binary,csv,native,text-per-message,key-value-colon,binary-length-first";
const BETS: usize = 40;
/// Captures that may lack packets before the test gives up.
const CAPTURES_MAX: usize = 5;
/// What the tests look at.
const FIELDS: &[&str] = &[
    "loteria.dialect",
    "loteria.request",
    "loteria.answer",
    "loteria.bets",
    "loteria.bet.first_name",
    "loteria.bet.last_name",
    "loteria.bet.document",
    "loteria.bet.birthdate",
    "loteria.bet.number",
    "loteria.winner",
    "loteria.message",
    "loteria.code",
    "loteria.malformed",
    "loteria.checksum.bad",
    "_ws.malformed",
    "_ws.col.Info",
    "tcp.srcport",
];

/// Sends a line to the hub and waits for its echo.
fn mark(address: SocketAddr, line: &str) {
    let mut stream = TcpStream::connect(address).expect("the hub accepts");
    stream.write_all(format!("{line}\n").as_bytes()).expect("the hub reads");
    let mut echo = String::new();
    stream.read_to_string(&mut echo).expect("the hub answers");
    assert_eq!(echo.trim_end(), line);
}

/// Captures all that the clients' script and the hub say to each other; `None` where it cannot be done here. A capture that
/// lacks packets, as one of a busy machine may, is made again.
fn captured(
    directory: &tempfile::TempDir,
    settings: &[(&str, &str)],
    script: &str,
    arguments: &[&str],
) -> Option<(Trace, String)> {
    if !tshark::installed() {
        return None;
    }
    for _ in 0..CAPTURES_MAX {
        let (trace, out) = capture_once(directory, settings, script, arguments)?;
        if trace.is_whole() {
            return Some((trace, out));
        }
    }
    panic!("each of {CAPTURES_MAX} captures lacks packets");
}

fn capture_once(
    directory: &tempfile::TempDir,
    settings: &[(&str, &str)],
    script: &str,
    arguments: &[&str],
) -> Option<(Trace, String)> {
    let start = common::hub();
    let hub = settings.iter().fold(start, |start, (key, value)| start.env(key, value)).start();
    let (address, port) = (hub.address.to_string(), hub.address.port().to_string());
    let capture = Capture::start(&port, directory.path().join("capture"), |line| mark(hub.address, line))?;
    let mut given = vec!["--server", address.as_str()];
    given.extend(arguments);
    let out = success(&python(script, &given)?);
    let trace = capture.stop(&port, |line| mark(hub.address, line));
    Some((trace, out))
}

/// The dialects of agencies.
fn dialects() -> impl Iterator<Item = &'static str> {
    Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Echo).map(|dialect| dialect.name())
}

#[test]
fn a_draw_of_every_dialect_is_shown_message_by_message() {
    let directory = tempfile::tempdir().expect("a directory for the capture");
    let settings = [("LOTTERY_AGENCIES", "9"), ("LOTTERY_UNNUMBERED_AGENCIES", "5")];
    // In pieces, so that frames have to be joined again; the other capture has them whole.
    let arguments = ["--dialects", DIALECTS, "--generate", "40", "--batch", "8", "--split", "random"];
    let Some((trace, winners)) = captured(&directory, &settings, "run.py", &arguments) else { return };
    let all = trace.read(FIELDS);
    for fault in ["_ws.malformed", "loteria.checksum.bad"] {
        assert_eq!(all.values(fault), [""; 0], "{fault}");
    }
    for dialect in dialects() {
        let variant = format!("{dialect}-");
        let clients = DIALECTS.split(',').filter(|name| *name == dialect || name.starts_with(&variant)).count();
        assert!(clients > 0, "{dialect} is not in DIALECTS");
        assert_shown(&all.with("loteria.dialect", dialect), dialect, clients, &winners);
    }
    let echoes = all.with("loteria.dialect", "echo");
    let last = echoes.values("loteria.message").last().is_some_and(|line| line.starts_with("end of capture"));
    assert!(last, "the echo is shown, too");
}

/// Everything of one dialect's share of the draw is there, in its field.
fn assert_shown(packets: &Table, dialect: &str, clients: usize, winners: &str) {
    assert_eq!(packets.values("loteria.bets"), vec!["8"; 5 * clients], "{dialect}");
    for field in ["first_name", "last_name", "document", "birthdate", "number"] {
        let found = packets.values(&format!("loteria.bet.{field}")).len();
        assert_eq!(found, BETS * clients, "{dialect}: {field}");
    }
    assert_eq!(packets.count("loteria.request", "batch"), 5 * clients, "{dialect}");
    // Every client asks in the draw; all but `csv` again after it, and `key-value` by its finish.
    let asked = if matches!(dialect, "key-value" | "csv") { 0 } else { 2 * clients };
    assert_eq!(packets.count("loteria.request", "query"), asked, "{dialect}: {packets:#?}");
    let told = packets.values("loteria.winner");
    assert!(told.iter().all(|document| winners.contains(&format!("\"{document}\""))), "{dialect}: {told:?}");
    assert_eq!(told.is_empty(), dialect == "csv", "{dialect}: only the fifth agency has no winners");
    let answers = packets.with("loteria.answer", "winners");
    assert!(!answers.values("_ws.col.Info").is_empty(), "{dialect}");
    for line in answers.values("_ws.col.Info") {
        assert!(line.contains(&format!("{dialect} ← ")) && line.contains("winners "), "{line}");
    }
}

#[test]
fn every_refusal_is_shown_and_malformed_frames_are_marked() {
    let directory = tempfile::tempdir().expect("a directory for the capture");
    let settings = [("LOTTERY_AGENCIES", "8"), ("LOTTERY_UNNUMBERED_AGENCIES", "7")];
    let Some((trace, _)) = captured(&directory, &settings, "errors.py", &[]) else { return };
    let all = trace.read(FIELDS);
    for dialect in dialects() {
        assert!(all.with("loteria.dialect", dialect).count("loteria.answer", "rejected") > 0, "{dialect}");
    }
    assert!(all.count("loteria.code", "9") > 0, "a conflict is shown by its code");
    assert_eq!(all.values("loteria.checksum.bad").len(), 1);
    assert!(all.values("loteria.malformed").len() > 5);
    let of_the_hub = all.with("tcp.srcport", &trace.port);
    assert_eq!(of_the_hub.values("_ws.malformed"), [""; 0], "the hub says nothing malformed");
}

#[test]
fn random_bytes_cause_no_error_in_the_script() {
    if !tshark::installed() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory for the capture");
    let file = directory.path().join("garbage.pcap");
    std::fs::write(&file, pcap::write(&pcap::garbage(400))).expect("the capture is written");
    let trace = Trace { file, port: pcap::PORT.to_string() };
    let seen = trace.read(&["tcp.stream"]);
    let streams: BTreeSet<&str> = seen.values("tcp.stream").into_iter().collect();
    assert!(streams.len() > 300, "the script saw {} of the conversations", streams.len());
}

/// What a golden request is in the fields `loteria.request` and `loteria.bets`; `None` where the hub cannot read it.
fn shown(dialect: Dialect, request: &str) -> Option<(&str, Option<&str>)> {
    let words: Vec<&str> = request.split(' ').collect();
    match words[..] {
        _ if request.contains("do not fill their frame") => None,
        ["hello", ..] => Some(("hello", None)),
        ["batch", ..] => Some(("batch", request.split(": ").nth(1)?.split(' ').next())),
        ["bad", "batch", "of", count, ..] => Some(("batch", Some(count))),
        ["empty", ..] => Some(("batch", Some("0"))),
        ["query", ..] => Some(("query", None)),
        ["finish", ..] if dialect == Dialect::Text => Some(("query", None)),
        ["finish", ..] => Some(("finish", None)),
        _ => None,
    }
}

/// The exchanges that the hub takes, with their dialects.
fn taken() -> Vec<(Dialect, Conversation)> {
    // An echo is no batch, and a request that the hub refuses can be shown as what it looks like.
    let refuses = |conversation: &Conversation| {
        conversation.exchanges.iter().any(|exchange| exchange.request.starts_with("refused"))
    };
    golden::all().filter(|(dialect, conversation)| *dialect != Dialect::Echo && !refuses(conversation)).collect()
}

/// What both sides say in a conversation.
fn said(conversation: &Conversation) -> impl Iterator<Item = Segment> {
    let both = conversation.exchanges.iter();
    let both = both.flat_map(|exchange| [(true, exchange.frame.clone()), (false, exchange.bytes.clone())]);
    both.filter(|(_, bytes)| !bytes.is_empty())
}

/// A capture file with `bytes` shows each conversation as the hub reads it.
fn assert_shown_as_read(bytes: Vec<u8>, conversations: &[(Dialect, Conversation)]) {
    let directory = tempfile::tempdir().expect("a directory for the capture");
    let file = directory.path().join("golden.pcap");
    std::fs::write(&file, bytes).expect("the capture is written");
    let trace = Trace { file, port: pcap::PORT.to_string() };
    let seen = trace.read(&[FIELDS, &["tcp.stream"]].concat());
    for (stream, (dialect, conversation)) in conversations.iter().enumerate() {
        let requests = conversation.exchanges.iter().filter_map(|exchange| shown(*dialect, &exchange.request));
        let (requests, counts): (Vec<&str>, Vec<Option<&str>>) = requests.unzip();
        let counts: Vec<&str> = counts.into_iter().flatten().collect();
        let seen =
            seen.with("tcp.stream", &stream.to_string()).without("loteria.malformed").without("loteria.checksum.bad");
        let name = format!("{}: {}", dialect.name(), conversation.name);
        assert_eq!((seen.values("loteria.request"), seen.values("loteria.bets")), (requests, counts), "{name}");
    }
}

#[test]
fn frames_and_counts_are_shown_as_the_hub_reads_them() {
    if !tshark::installed() {
        return;
    }
    let all = taken();
    let segments: Vec<Vec<Segment>> = all.iter().map(|(_, conversation)| said(conversation).collect()).collect();
    assert_shown_as_read(pcap::write(&segments), &all);
}

#[test]
fn segments_out_of_order_and_repeated_ones_are_shown_once_and_in_order() {
    if !tshark::installed() {
        return;
    }
    let all = taken();
    let pieces = |(from_client, bytes): Segment| {
        let pieces: Vec<Segment> = bytes.chunks(4).map(|piece| (from_client, piece.to_vec())).collect();
        pieces
    };
    let segments: Vec<Vec<Segment>> =
        all.iter().map(|(_, conversation)| said(conversation).flat_map(pieces).collect()).collect();
    for seed in 0..3 {
        assert_shown_as_read(pcap::write_as(&segments, |packets| pcap::disturbed(packets, seed)), &all);
    }
}
