//! Golden exchanges: what goes over the wire in each dialect, byte for byte, and what it means.
//!
//! A file per dialect, `<dialect>.txt`, of conversations on a connection each. A line's first word says what it is:
//!
//! | line | holds |
//! |---|---|
//! | `#` | a remark |
//! | `== name` | a new conversation, with a hub that has no bets yet |
//! | `:: agencies LIST` | the agencies of its draw, in the configuration's words; `3-3` where it is not said |
//! | `:: early reject` | `EARLY_QUERY = reject` |
//! | `:: silence` | the dialect shows only once the client has fallen silent after its first frame |
//! | `>>` | a frame of the client, and our own client writes these very bytes |
//! | `>` | a frame of some other client |
//! | `=` | what the frame asks for |
//! | `!` | what the hub makes of it; none where it holds the answer |
//! | `<` | the bytes of that; none where the dialect says nothing |
//! | `?` | what our client reads in them |
//! | `.` | `close`: the hub ends the connection |
//!
//! Bytes are hex digits and quoted text, in which `\n`, `\r`, `\"` and `\\` are escapes; a line that starts with a space goes on
//! with the bytes of the one before.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use loteria::wire::Dialect;

/// Some exchanges on one connection.
#[derive(Debug)]
pub struct Conversation {
    /// What it shows.
    pub name: String,
    /// The draw's agencies, as in the configuration.
    pub agencies: String,
    /// Whether early queries are rejected.
    pub early_reject: bool,
    /// Whether silence has to decide the dialect.
    pub silence: bool,
    /// What happens, in order.
    pub exchanges: Vec<Exchange>,
}

/// A frame and what comes of it; or, with an empty frame, what the hub says unasked.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The client's frame.
    pub frame: Vec<u8>,
    /// Whether our own client writes it so.
    pub canonical: bool,
    /// What it asks for.
    pub request: String,
    /// The hub's reply, in words.
    pub reply: Option<String>,
    /// The reply's bytes.
    pub bytes: Vec<u8>,
    /// What our client reads in them.
    pub answer: Option<String>,
    /// Whether the hub closes then.
    pub close: bool,
}

/// The conversations of every dialect.
pub fn all() -> impl Iterator<Item = (Dialect, Conversation)> {
    Dialect::ALL.iter().flat_map(|dialect| of(*dialect).into_iter().map(|conversation| (*dialect, conversation)))
}

/// The conversations of `dialect`.
pub fn of(dialect: Dialect) -> Vec<Conversation> {
    let path = format!("{}/tests/golden/{}.txt", env!("CARGO_MANIFEST_DIR"), dialect.name());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let conversations = read(&text);
    assert!(!conversations.is_empty(), "{path} has no conversations");
    conversations
}

fn read(text: &str) -> Vec<Conversation> {
    let text = text.replace("\n ", " ");
    let mut conversations = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mark == "==" {
            let (name, agencies) = (rest.to_owned(), "3-3".to_owned());
            let exchanges = Vec::new();
            conversations.push(Conversation { name, agencies, early_reject: false, silence: false, exchanges });
            continue;
        }
        let conversation = conversations.last_mut().expect("a conversation starts with ==");
        match mark {
            "::" => option(conversation, rest),
            ">" | ">>" => {
                let exchange = Exchange { frame: bytes(rest), canonical: mark == ">>", ..Exchange::default() };
                conversation.exchanges.push(exchange);
            }
            _ => part(conversation, mark, rest),
        }
    }
    conversations
}

fn option(conversation: &mut Conversation, rest: &str) {
    match rest.split_once(' ') {
        Some(("agencies", list)) => conversation.agencies = list.to_owned(),
        Some(("early", "reject")) => conversation.early_reject = true,
        None if rest == "silence" => conversation.silence = true,
        _ => panic!("{}: {rest:?} is no option", conversation.name),
    }
}

fn part(conversation: &mut Conversation, mark: &str, rest: &str) {
    let said = conversation.exchanges.last().is_some_and(|exchange| exchange.reply.is_some());
    if mark == "!" && said {
        conversation.exchanges.push(Exchange::default());
    }
    let exchange = conversation.exchanges.last_mut().expect("a conversation starts with a frame");
    match mark {
        "=" => exchange.request = rest.to_owned(),
        "!" => exchange.reply = Some(rest.to_owned()),
        "<" => exchange.bytes = bytes(rest),
        "?" => exchange.answer = Some(rest.to_owned()),
        "." if rest == "close" => exchange.close = true,
        _ => panic!("{}: {mark} {rest}: no such line", conversation.name),
    }
}

/// The bytes that hex digits and quoted text stand for.
fn bytes(notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = notation.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = text(quoted, &mut bytes);
        } else {
            let (digits, after) = rest.split_once(' ').unwrap_or((rest, ""));
            assert!(digits.len() % 2 == 0, "{digits} in {notation}: half a byte");
            for at in (0..digits.len()).step_by(2) {
                bytes.push(u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"));
            }
            rest = after;
        }
        rest = rest.trim_start();
    }
    bytes
}

/// Appends a quoted text; returns what follows its closing quote.
fn text<'a>(quoted: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        let meant = match character {
            '"' => return &quoted[at + 1..],
            '\\' => match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                other => panic!("{other:?} in {quoted}: no such escape"),
            },
            other => other,
        };
        bytes.extend(meant.encode_utf8(&mut [0; 4]).bytes());
    }
    panic!("{quoted}: no closing quote")
}
