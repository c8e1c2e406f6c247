//! The exchanges that the document shows: what is encoded, and what it should come to.

use loteria::lottery::{AgencyId, BatchError, Bet, BetError};
use loteria::wire::{Dialect, Rejection, Reply};

use super::native;
use super::notes::{Message, Part, Side, any, text, u8, u16, u32};

/// Whose example every exchange is.
pub const AGENCY: AgencyId = AgencyId(3);
/// The bets of every example: first name, last name, document, birthdate, number.
pub const ANA: [&str; 5] = ["Ana", "Pérez", "30904465", "1999-03-17", "7574"];
pub const ZOE: [&str; 5] = ["Zoë", "Gil", "00001234", "2004-02-29", "2201"];

/// One exchange of the document.
pub struct Exchange {
    /// As its marker names it.
    pub name: &'static str,
    /// In the order of the wire.
    pub messages: Vec<Message>,
}

/// All of them.
pub fn all() -> Vec<Exchange> {
    [case_id(), plain_text(), key_value(), binary(), csv(), echo(), native::all()].into_iter().flatten().collect()
}

/// A valid bet of these fields.
pub fn bet(fields: [&str; 5]) -> Bet {
    let [first, last, document, date, number] = fields.map(str::as_bytes);
    Bet::from_text(first, last, document, date, number).expect("the examples are valid bets")
}

/// The dialect of this name.
pub fn dialect(name: &str) -> Dialect {
    Dialect::from_name(name).unwrap_or_else(|| panic!("there is no dialect {name}"))
}

/// What a client sends.
pub fn client(title: &'static str, encode: impl FnOnce(&mut Vec<u8>), parts: Vec<Part>) -> Message {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    Message { side: Side::Client, title, bytes, parts }
}

/// What the hub answers.
pub fn hub(dialect: Dialect, title: &'static str, reply: &Reply<'_>, parts: Vec<Part>) -> Message {
    let mut bytes = Vec::new();
    dialect.encode(reply, &mut bytes);
    Message { side: Side::Hub, title, bytes, parts }
}

/// A batch as the project's client writes it.
pub fn batch(dialect: Dialect, sequence: u64, bets: &[[&str; 5]], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for (index, fields) in (0u32..).zip(bets) {
        dialect.put_bet(AGENCY, index, &bet(*fields).as_raw(), &mut body);
    }
    let count = u32::try_from(bets.len()).expect("few bets");
    dialect.put_batch(AGENCY, sequence, count, &body, out);
}

/// A batch stored.
pub const STORED: Reply<'static> = Reply::Stored { next: 1 };
/// The reply to a finish.
pub const FINISHED: Reply<'static> = Reply::Finished { batches: 1, bets: 2, all_stored: true };
pub const BAD_BET: Reply<'static> =
    Reply::Rejected { sequence: 1, why: Rejection::Batch(BatchError::BadBet { index: 0, error: BetError::Birthdate }) };

/// The end of bets in dialects where one message is both finish and query, whichever call writes it.
fn finish_and_query(dialect: Dialect, out: &mut Vec<u8>) {
    dialect.put_finish(AGENCY, out);
    dialect.put_query(AGENCY, out);
}

fn case_id() -> Vec<Exchange> {
    let d = dialect("case-id");
    let winner = [bet(ANA)];
    let winners = Reply::Winners { agency: AGENCY, bets: &winner };
    let failed = Reply::Finished { batches: 0, bets: 0, all_stored: false };
    let bets = vec![
        u8(1, "case: bets"),
        u32(51, "bytes that follow"),
        u32(3, "agency"),
        u32(3, "length of the first name"),
        text("Ana", "first name"),
        u32(6, "length of the last name, in bytes"),
        text("Pérez", "last name"),
        u32(8, "length of the document"),
        text("30904465", "document"),
        u32(10, "length of the birthdate"),
        text("1999-03-17", "birthdate"),
        u32(7574, "number"),
    ];
    let none = Reply::Winners { agency: AGENCY, bets: &[] };
    vec![
        Exchange {
            name: "case-id batch",
            messages: vec![client("a batch of one bet", |out| batch(d, 0, &[ANA], out), bets)],
        },
        Exchange {
            name: "case-id finish",
            messages: vec![
                client("finish", |out| d.put_finish(AGENCY, out), vec![u8(2, "case: finish")]),
                hub(d, "every batch is stored", &FINISHED, vec![u8(2, "stored")]),
                hub(d, "or: a batch was rejected", &failed, vec![u8(0, "rejected")]),
            ],
        },
        Exchange {
            name: "case-id query",
            messages: vec![
                client("query", |out| d.put_query(AGENCY, out), vec![u8(3, "case: query"), u32(3, "agency")]),
                hub(
                    d,
                    "one winner, then the hub closes",
                    &winners,
                    vec![u32(12, "bytes that follow"), u32(8, "length of the document"), text("30904465", "document")],
                ),
                hub(d, "or: no winner", &none, vec![u32(0, "bytes that follow")]),
            ],
        },
    ]
}

fn plain_text() -> Vec<Exchange> {
    let d = dialect("text");
    let winner = [bet(ANA)];
    let bets = vec![
        text("73\n", "length of the message, in bytes"),
        text("Ana|Pérez|30904465|1999-03-17|7574|3", "a bet"),
        text("\n", "between bets; allowed after the last, too"),
        text("Zoë|Gil|00001234|2004-02-29|2201|3", "a bet"),
    ];
    let row = vec![text("37\n", "length"), text("Ana|Pérez|30904465|1999-03-17|7574|3", "a winner's bet")];
    vec![
        Exchange {
            name: "text batch",
            messages: vec![
                client("a batch of two bets", |out| batch(d, 0, &[ANA, ZOE], out), bets),
                hub(d, "it is stored", &STORED, vec![text("3\n", "length"), text("ACK", "stored")]),
                hub(
                    d,
                    "or: a bet is not valid",
                    &BAD_BET,
                    vec![text("19\n", "length"), text("ERROR_INVALID_BATCH", "rejected")],
                ),
            ],
        },
        Exchange {
            name: "text query",
            messages: vec![
                client(
                    "query",
                    |out| d.put_query(AGENCY, out),
                    vec![text("13\n", "length"), text("GET_WINNERS|3", "query")],
                ),
                hub(d, "one winner", &Reply::Winners { agency: AGENCY, bets: &winner }, row),
                hub(d, "or: no winner", &Reply::Winners { agency: AGENCY, bets: &[] }, vec![text("0\n", "length")]),
                hub(
                    d,
                    "or: not yet, where early queries are rejected",
                    &Reply::NotDrawn,
                    vec![text("25\n", "length"), text("ERROR_LOTTERY_HASNT_ENDED", "query again")],
                ),
            ],
        },
    ]
}

fn key_value() -> Vec<Exchange> {
    let d = dialect("key-value");
    let two = [bet(ANA), bet(ZOE)];
    let bets = vec![
        u32(116, "length of the payload"),
        text("BATCH_SIZE:1|", "how many bets"),
        text("BET_1:", "the first bet: pairs whose bars are escaped"),
        text("NOMBRE:Ana\\|", "first name"),
        text("APELLIDO:Pérez\\|", "last name"),
        text("DOCUMENTO:30904465\\|", "document"),
        text("NACIMIENTO:1999-03-17\\|", "birthdate"),
        text("NUMERO:7574\\|", "number"),
        text("AGENCY_ID:3", "agency"),
        text("\n", "end of the payload"),
    ];
    let [stored, rejected] = [&STORED, &BAD_BET].map(|reply| {
        let mut bytes = Vec::new();
        d.encode(reply, &mut bytes);
        bytes.len() - 4
    });
    let words = |payload: usize, status: &str, what: &str| {
        let size = u32::try_from(payload).expect("a short answer");
        let pairs = format!("STATUS:{status}|MESSAGE:");
        vec![
            u32(size, "length of the payload"),
            text(&pairs, what),
            any(payload - pairs.len() - 1, "message text"),
            text("\n", "end"),
        ]
    };
    let finish = vec![u32(34, "length"), text("ACTION:FINISH_BETTING|AGENCY_ID:3\n", "finish")];
    let won = vec![u32(41, "length"), text("STATUS:SUCCESS|WINNERS:30904465,00001234\n", "winners")];
    let none = vec![u32(24, "length"), text("STATUS:SUCCESS|WINNERS:\n", "winners: none")];
    vec![
        Exchange {
            name: "key-value batch",
            messages: vec![
                client("a batch of one bet", |out| batch(d, 0, &[ANA], out), bets),
                hub(d, "it is stored", &STORED, words(stored, "SUCCESS", "stored")),
                hub(d, "or: a bet is not valid", &BAD_BET, words(rejected, "ERROR", "rejected")),
            ],
        },
        Exchange {
            name: "key-value finish",
            messages: vec![
                client("finish", |out| finish_and_query(d, out), finish),
                hub(
                    d,
                    "after the draw, two winners, then the hub closes",
                    &Reply::Winners { agency: AGENCY, bets: &two },
                    won,
                ),
                hub(d, "or: no winner", &Reply::Winners { agency: AGENCY, bets: &[] }, none),
            ],
        },
    ]
}

fn binary() -> Vec<Exchange> {
    let d = dialect("binary");
    let bets = vec![
        u32(1, "type: batch"),
        u32(37, "length of the rest"),
        u32(3, "agency"),
        u32(1, "bets"),
        u32(3, "length of the first name"),
        text("Ana", "first name"),
        u32(6, "length of the last name, in bytes"),
        text("Pérez", "last name"),
        u32(30_904_465, "document"),
        u32(19_990_317, "birthdate 1999-03-17"),
        u32(7574, "number"),
    ];
    vec![
        Exchange {
            name: "binary batch",
            messages: vec![
                client("a batch of one bet", |out| batch(d, 0, &[ANA], out), bets),
                hub(d, "it is stored", &STORED, vec![u8(0, "stored")]),
                hub(d, "or: a bet is not valid", &BAD_BET, vec![u8(1, "rejected")]),
            ],
        },
        Exchange {
            name: "binary finish",
            messages: vec![
                client(
                    "finish",
                    |out| d.put_finish(AGENCY, out),
                    vec![u32(2, "type: finished"), u32(4, "length of the rest"), u32(3, "agency")],
                ),
                hub(d, "the finish is stored", &FINISHED, vec![u8(0, "stored")]),
            ],
        },
        binary_query(d),
    ]
}

fn binary_query(d: Dialect) -> Exchange {
    let two = [bet(ANA), bet(ZOE)];
    // The other order is the clients' choice: the hub reads both, and the project's own client writes one.
    let documented = [&12u32.to_be_bytes()[..], &3u32.to_be_bytes(), &3u32.to_be_bytes()].concat();
    let context = loteria::wire::Context { frame_bytes_max: 1 << 20, opening: true, scanned: 0 };
    assert!(d.decode(&documented, &context).is_ok(), "the hub reads the documents' header order");
    Exchange {
        name: "binary query",
        messages: vec![
            client(
                "query",
                |out| d.put_query(AGENCY, out),
                vec![u32(3, "type: query"), u32(4, "length of the rest"), u32(3, "agency")],
            ),
            client(
                "or: the same, length first",
                |out| out.extend(&documented),
                vec![u32(12, "length of the whole message"), u32(3, "type: query"), u32(3, "agency")],
            ),
            hub(
                d,
                "two winners",
                &Reply::Winners { agency: AGENCY, bets: &two },
                vec![u8(0, "drawn"), u32(2, "winners"), u32(30_904_465, "document"), u32(1234, "document 00001234")],
            ),
            hub(
                d,
                "or: no winner",
                &Reply::Winners { agency: AGENCY, bets: &[] },
                vec![u8(0, "drawn"), u32(0, "winners")],
            ),
            hub(d, "or: not yet, where early queries are rejected", &Reply::NotDrawn, vec![u8(1, "query again")]),
        ],
    }
}

fn csv() -> Vec<Exchange> {
    let d = dialect("csv");
    let two = [bet(ANA), bet(ZOE)];
    let bets = vec![
        u8(1, "kind: bets"),
        u16(70, "length of the text"),
        text("Ana,Pérez,30904465,1999-03-17,7574,", "a bet, its last comma included"),
        text("Zoë,Gil,00001234,2004-02-29,2201,", "the next"),
    ];
    let won = vec![u8(3, "kind: winners"), u16(17, "length of the text"), text("30904465,00001234", "documents")];
    vec![
        Exchange {
            name: "csv batch",
            messages: vec![
                client("a batch of two bets", |out| batch(d, 0, &[ANA, ZOE], out), bets),
                hub(d, "it is stored", &STORED, vec![u8(2, "stored")]),
                hub(d, "or: a bet is not valid", &BAD_BET, vec![u8(0xFF, "rejected")]),
            ],
        },
        Exchange {
            name: "csv finish",
            messages: vec![
                client("end of bets", |out| finish_and_query(d, out), vec![u8(0xFF, "no more bets")]),
                hub(
                    d,
                    "after the draw, two winners, then the hub closes",
                    &Reply::Winners { agency: AGENCY, bets: &two },
                    won,
                ),
                hub(
                    d,
                    "or: no winner",
                    &Reply::Winners { agency: AGENCY, bets: &[] },
                    vec![u8(3, "kind: winners"), u16(0, "length of the text")],
                ),
            ],
        },
    ]
}

fn echo() -> Vec<Exchange> {
    let line = "[CLIENT 1] Message N°1\n";
    vec![Exchange {
        name: "echo",
        messages: vec![
            client("a line", |out| out.extend(line.bytes()), vec![text(line, "any bytes up to a line feed")]),
            hub(dialect("echo"), "the same, then the hub closes", &Reply::Echo(line.as_bytes()), vec![text(line, "")]),
        ],
    }]
}
