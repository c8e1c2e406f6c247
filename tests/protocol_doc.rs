//! The hex dumps of `docs/PROTOCOLS.md` are what the code writes.
//!
//! Each dump stands between `<!-- dump: NAME -->` and `<!-- end -->` and is made here from real bytes: the
//! client's side by the wire's client encoders, the hub's by its own. `UPDATE_DOCS=1` writes them anew.

#![allow(clippy::panic, reason = "how a test fails")]

#[path = "protocol_doc/exchanges.rs"]
mod exchanges;
#[path = "protocol_doc/native.rs"]
mod native;
#[path = "protocol_doc/notes.rs"]
mod notes;

use std::collections::BTreeSet;
use std::path::Path;

use exchanges::Exchange;
use loteria::wire::Dialect;

const OPEN: &str = "<!-- dump: ";
const CLOSE: &str = "<!-- end -->";

/// The block of an exchange as it stands in the document, markers included.
fn block(exchange: &Exchange) -> String {
    let dumps: Vec<String> = exchange
        .messages
        .iter()
        .map(|message| message.dump().unwrap_or_else(|why| panic!("exchange {}: {why}", exchange.name)))
        .collect();
    format!("{OPEN}{} -->\n```text\n{}```\n{CLOSE}", exchange.name, dumps.join("\n"))
}

/// The document with every marked block replaced by `blocks(name)`.
fn render(document: &str, mut block_of: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = document;
    while let Some(start) = rest.find(OPEN) {
        let (before, marked) = rest.split_at(start);
        let name = marked[OPEN.len()..].split(" -->").next().expect("split gives a first part");
        let end = marked.find(CLOSE).unwrap_or_else(|| panic!("the dump {name} has no {CLOSE}"));
        out += before;
        out += &block_of(name);
        rest = &marked[end + CLOSE.len()..];
    }
    out + rest
}

/// The first lines that differ, for a person to see what changed.
fn difference(stands: &str, made: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut old, mut new) = (stands.lines(), made.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                lines.push(format!("line {number}\n  - {}\n  + {}", old.unwrap_or(""), new.unwrap_or("")));
            }
        }
        if lines.len() == 10 {
            lines.push("…".to_owned());
            break;
        }
    }
    lines.join("\n")
}

#[test]
fn the_dumps_of_the_document_are_the_bytes_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOLS.md");
    let stands = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let exchanges = exchanges::all();
    for dialect in Dialect::ALL {
        let has_one = exchanges.iter().any(|exchange| exchange.name.starts_with(dialect.name()));
        assert!(has_one, "tests/protocol_doc/exchanges.rs has no exchange of {}", dialect.name());
    }
    let mut shown = BTreeSet::new();
    let made = render(&stands, |name| {
        assert!(shown.insert(name.to_owned()), "the dump {name} stands twice in docs/PROTOCOLS.md");
        let exchange = exchanges.iter().find(|exchange| exchange.name == name);
        block(exchange.unwrap_or_else(|| panic!("docs/PROTOCOLS.md wants the dump {name}, which no test makes")))
    });
    for exchange in &exchanges {
        assert!(shown.contains(exchange.name), "docs/PROTOCOLS.md has no place for the dump {}", exchange.name);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else if made != stands {
        panic!(
            "docs/PROTOCOLS.md does not show what the code writes:\n{}\nUPDATE_DOCS=1 cargo test --test protocol_doc writes it anew",
            difference(&stands, &made)
        );
    }
}
