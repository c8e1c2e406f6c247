//! The exchanges of `native`: frames with a length before and a checksum behind.

use loteria::lottery::{AgencyId, Refusal};
use loteria::wire::{Dialect, Malformed, Rejection, Reply, Unwelcome};

use super::exchanges::{AGENCY, ANA, Exchange, FINISHED, STORED, batch, bet, client, dialect, hub};
use super::notes::{Part, any, bytes, text, u8, u16, u32, u64};

/// A frame's kind, length and checksum, in bytes.
const AROUND_BODY: usize = 4 + 1 + 4;

/// All of them.
pub fn all() -> Vec<Exchange> {
    let d = dialect("native");
    vec![hello(d), uploaded(d), refused(d), finished(d), queried(d), watched(d)]
}

fn magic() -> Part {
    bytes(&[0xB7, b'L', b'N', 1], "magic, version 1")
}

/// The parts of a frame: those of its body, between its length, its kind and its checksum.
fn frame(kind: u8, name: &str, body: Vec<Part>) -> Vec<Part> {
    let size: usize = body.iter().map(Part::size).sum();
    let length = u32::try_from(size + AROUND_BODY - 4).expect("a short frame");
    let mut parts = vec![u32(length, "length of the rest"), u8(kind, &format!("kind: {name}"))];
    parts.extend(body);
    parts.push(any(4, "CRC-32C of kind and body"));
    parts
}

fn hello(d: Dialect) -> Exchange {
    let unknown = Reply::Unwelcome(Unwelcome::UnknownAgency);
    let answer = |status: u8, what: &str| vec![magic(), u8(status, what), u64(0, "next")];
    Exchange {
        name: "native hello",
        messages: vec![
            client("hello", |out| d.put_hello(AGENCY, out), vec![magic(), u32(3, "agency")]),
            hub(d, "welcome", &Reply::Welcome { next: 0 }, answer(0, "status: welcome")),
            hub(
                d,
                "or: an agency not of this draw, then the hub closes",
                &unknown,
                answer(1, "status: unknown agency"),
            ),
        ],
    }
}

/// Ana's bet as this dialect says it, in batches and among winners.
fn ana() -> Vec<Part> {
    vec![
        u8(3, "length of the first name"),
        text("Ana", "first name"),
        u8(6, "length of the last name, in bytes"),
        text("Pérez", "last name"),
        u8(8, "length of the document"),
        text("30904465", "document"),
        u32(19_990_317, "birthdate 1999-03-17"),
        u32(7574, "number"),
    ]
}

fn uploaded(d: Dialect) -> Exchange {
    let mut body = vec![u64(0, "sequence"), u16(1, "bets")];
    body.extend(ana());
    let acked = frame(0x81, "ack", vec![u64(1, "next")]);
    Exchange {
        name: "native batch",
        messages: vec![
            client("a batch of one bet", |out| batch(d, 0, &[ANA], out), frame(0x01, "batch", body)),
            hub(d, "every batch below 1 is stored", &STORED, acked),
        ],
    }
}

fn refused(d: Dialect) -> Exchange {
    let late = Reply::Rejected { sequence: 1, why: Rejection::Refused(Refusal::Finished) };
    let broken = Reply::Malformed(Malformed("unknown kind"));
    // The words are the hub's to choose; everything before them is not.
    let words = |reply: &Reply<'_>, before: usize| {
        let mut bytes = Vec::new();
        d.encode(reply, &mut bytes);
        any(bytes.len() - AROUND_BODY - before, "message text")
    };
    let late_body = vec![u64(1, "sequence"), u16(5, "code: late"), words(&late, 10)];
    let broken_body = vec![u16(1, "code: bad frame"), words(&broken, 2)];
    Exchange {
        name: "native reject",
        messages: vec![
            hub(d, "batch 1 came too late", &late, frame(0x82, "reject", late_body)),
            hub(d, "a malformed frame, then the hub closes", &broken, frame(0x85, "error", broken_body)),
        ],
    }
}

fn finished(d: Dialect) -> Exchange {
    let finished = frame(0x83, "finished", vec![u64(1, "batches stored"), u64(2, "bets stored")]);
    Exchange {
        name: "native finish",
        messages: vec![
            client("finish", |out| d.put_finish(AGENCY, out), frame(0x02, "finish", vec![])),
            hub(d, "the finish is stored", &FINISHED, finished),
        ],
    }
}

fn queried(d: Dialect) -> Exchange {
    let winner = [bet(ANA)];
    let mut body = vec![u32(1, "winners")];
    body.extend(ana());
    Exchange {
        name: "native query",
        messages: vec![
            client("query", |out| d.put_query(AGENCY, out), frame(0x03, "query", vec![])),
            hub(d, "one winner", &Reply::Winners { agency: AGENCY, bets: &winner }, frame(0x84, "winners", body)),
        ],
    }
}

fn watched(d: Dialect) -> Exchange {
    let named = [AgencyId(2), AgencyId(5)];
    let body = vec![u32(2, "agencies missing"), u8(2, "agencies named"), u32(2, "agency"), u32(5, "agency")];
    let watch = |out: &mut Vec<u8>| assert!(d.put_watch(out));
    Exchange {
        name: "native watch",
        messages: vec![
            client("watch, behind the query", watch, frame(0x05, "watch", vec![])),
            hub(
                d,
                "the draw waits for agencies 2 and 5",
                &Reply::Waiting { missing: 2, named: &named },
                frame(0x86, "waiting", body),
            ),
        ],
    }
}
