//! `docs/STATUS.md` has every field of the answers, as the sources describe it. `UPDATE_DOCS=1` writes the tables anew.

use std::fmt::Write as _;
use std::fs;

use loteria::limits;

const OPEN: &str = "<!-- fields -->\n";
const CLOSE: &str = "<!-- end -->";
/// The files, and whose fields of them are answered; none named: all.
const SOURCES: [(&str, &[&str]); 2] = [("src/status/report.rs", &[]), ("src/status/feed.rs", &["Kind", "Data"])];

/// A documented struct or enum, with its fields or values: name, type, documentation.
struct Item {
    name: String,
    is_enum: bool,
    meaning: String,
    rows: Vec<[String; 3]>,
}

/// The public structs and enums of a source.
fn items(source: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let (mut doc, mut is_open, mut is_left_out) = (String::new(), false, false);
    for line in source.split("#[cfg(test)]\nmod tests {").next().unwrap().lines() {
        let text = line.trim();
        if let Some(more) = text.strip_prefix("///") {
            doc.push_str(more);
        } else if let Some(head) = text.strip_prefix("pub struct ").or_else(|| text.strip_prefix("pub enum ")) {
            let name = head.trim_end_matches(" {").to_owned();
            let is_enum = text.starts_with("pub enum ");
            items.push(Item { name, is_enum, meaning: plain(&std::mem::take(&mut doc)), rows: Vec::new() });
            is_open = true;
        } else if line == "}" {
            is_open = false;
        } else if is_open && !text.starts_with('#') && !doc.is_empty() {
            let (name, kind) = text.trim_end_matches(',').split_once(": ").unwrap_or((text.trim_end_matches(','), ""));
            let kind = if is_left_out { kind.replacen("Option<", "LeftOut<", 1) } else { kind.to_owned() };
            items.last_mut().unwrap().rows.push([name.trim_start_matches("pub ").to_owned(), kind, plain(&doc)]);
            (doc, is_left_out) = (String::new(), false);
        } else if text.starts_with('#') {
            is_left_out |= text.contains("skip_serializing_if");
        } else {
            doc.clear();
        }
    }
    items
}

/// A comment as it stands in the document: no links of rustdoc, JSON's words, numbers for limits.
fn plain(doc: &str) -> String {
    let mut text = doc.trim().replace("[`", "`").replace("`]", "`").replace("`None`", "`null`").replace('|', "\\|");
    for (name, value) in [
        ("AGENCIES_REPORTED_MAX", limits::AGENCIES_REPORTED_MAX),
        ("CONNECTIONS_REPORTED_MAX", limits::CONNECTIONS_REPORTED_MAX),
        ("WINNERS_REPORTED_MAX", limits::WINNERS_REPORTED_MAX),
        ("ENGINE_INSTANCES_MAX", usize::try_from(limits::ENGINE_INSTANCES_MAX).unwrap()),
    ] {
        text = text.replace(&format!("`{name}` (`limits`)"), &value.to_string());
    }
    text
}

/// A type as JSON has it; `known`: types that have a table of their own.
fn json(kind: &str, known: &[String]) -> String {
    let inside = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    if let Some(inner) = inside("Option<") {
        return format!("{} or `null`", json(inner, known));
    }
    if let Some(inner) = inside("LeftOut<") {
        return format!("{}; may be absent", json(inner, known));
    }
    if let Some(inner) = inside("Vec<") {
        let inner = json(inner, known);
        return format!("list of {inner}{}", if inner == "number" { "s" } else { "" });
    }
    if let Some((name, count)) = kind.strip_prefix('(').and_then(|kind| kind.strip_suffix(')')?.split_once(", ")) {
        return format!("[{}, {}]", json(name, known), json(count, known));
    }
    match kind {
        "u32" | "u64" | "usize" | "i32" | "i64" | "f64" => "number".to_owned(),
        "bool" => "`true` or `false`".to_owned(),
        "String" | "&'static str" | "SocketAddr" => "text".to_owned(),
        _ if known.iter().any(|name| name == kind) => format!("[{kind}](#{})", kind.to_lowercase()),
        _ => panic!("a field has the type {kind}, for which tests/status_answers/fields.rs has no word"),
    }
}

/// `NeverSeen` as `never_seen`.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// The tables of every answered struct and enum.
fn tables() -> String {
    let mut answered = Vec::new();
    for (path, names) in SOURCES {
        let items = items(&fs::read_to_string(path).unwrap()).into_iter();
        answered.extend(items.filter(|item| names.is_empty() || names.contains(&item.name.as_str())));
    }
    let known: Vec<String> = answered.iter().map(|item| item.name.clone()).collect();
    let mut out = String::new();
    for Item { name, is_enum, meaning, rows } in &answered {
        let _ = write!(out, "\n### {name}\n\n{meaning}\n\n");
        out += if *is_enum { "| value | meaning |\n|---|---|\n" } else { "| field | | meaning |\n|---|---|---|\n" };
        for [field, kind, meaning] in rows {
            let _ = if *is_enum {
                writeln!(out, "| `{}` | {meaning} |", snake_case(field))
            } else {
                writeln!(out, "| `{field}` | {} | {meaning} |", json(kind, &known))
            };
        }
    }
    out + "\n"
}

#[test]
fn the_documentation_has_every_field_as_the_source_describes_it() {
    let path = "docs/STATUS.md";
    let stands = fs::read_to_string(path).unwrap();
    let (before, rest) = stands.split_once(OPEN).unwrap();
    let (_, after) = rest.split_once(CLOSE).unwrap();
    let made = format!("{before}{OPEN}{}{CLOSE}{after}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, made).unwrap();
    } else {
        let first = stands.lines().zip(made.lines()).find(|(stands, made)| stands != made);
        assert!(
            stands == made,
            "{path} differs from the sources, first in {first:?}; UPDATE_DOCS=1 cargo test --test status_answers writes it anew"
        );
    }
}
