//! `docs/LOGS.md` has a row for every line that the programs log, and no other.
//!
//! A line is known by its program, action, result, level and keys. Fixed texts of reasons are compared too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Actions with a placeholder, the file that has its values, and what stands before each value there.
const VARYING: [(&str, &str, &str); 2] =
    [("…", "src/agency/report.rs", "=> \""), ("close_…", "src/agency/run.rs", ".closed(\"")];
/// The programs that log the lines of a file, by how its path begins.
const PROGRAMS: [(&str, &[&str]); 6] = [
    ("src/logging/", &["server", "client"]),
    ("src/agency/", &["client"]),
    ("src/hub/", &["server"]),
    ("src/reactor/", &["server"]),
    ("src/storage/", &["server"]),
    ("src/bin/server/", &["server"]),
];

/// Program, action, result, level and keys.
type Line = (&'static str, String, String, String, Vec<String>);

struct Source {
    path: String,
    /// Without comments and unit tests. A string literal is on one line.
    code: String,
}

fn sources(folder: &Path) -> Vec<Source> {
    let is_test = |path: &Path| path.ends_with("tests") || path.to_str().unwrap().ends_with("tests.rs");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in paths.filter(|path| !is_test(path)) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = lines.join("\n").split("\\\n").map(str::trim_start).collect();
            found.push(Source { path: path.to_str().unwrap().to_owned(), code });
        }
    }
    found
}

fn programs(path: &str) -> &'static [&'static str] {
    let found = PROGRAMS.iter().find(|(folder, _)| path.starts_with(folder));
    found.unwrap_or_else(|| panic!("{path} logs, and has no program in PROGRAMS")).1
}

/// Each string literal that has `before` in front of its text. A placeholder is shown as `…`.
fn literals(code: &str, before: &str) -> Vec<String> {
    let shown = |text: &str| {
        let mut parts = text.split('{');
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |shown, part| shown + "…" + part.split_once('}').unwrap().1)
    };
    code.split(before).skip(1).map(|rest| shown(rest.split('"').next().unwrap())).collect()
}

/// The level of the macro whose first string literal is at the end of `before`.
fn level(path: &str, before: &str) -> &'static str {
    let call = before.rfind("!(").unwrap_or_else(|| panic!("{path}: a line outside of a macro"));
    let name = before[..call].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
    match (name, before[call + 2..].trim()) {
        ("error", "") => "ERROR",
        ("error", target) if target.starts_with("target: ") && target.ends_with("CRITICAL,") => "CRITICAL",
        ("warn", "") => "WARNING",
        ("info", "") => "INFO",
        ("debug", "") => "DEBUG",
        ("log", "level,") => "INFO or DEBUG",
        _ => panic!("{path}: {name}! does not log with a level of its own"),
    }
}

fn line(program: &'static str, level: &str, text: &str) -> Line {
    let fields = text.split(" | ").map(|field| field.split_once(": ").unwrap_or_else(|| panic!("no colon: {text}")));
    let (keys, values): (Vec<&str>, Vec<&str>) = fields.unzip();
    assert_eq!(keys[..2], ["action", "result"], "{text}");
    let details = keys[2..].iter().map(|key| (*key).to_owned()).collect();
    (program, values[0].to_owned(), values[1].to_owned(), level.to_owned(), details)
}

/// The fixed texts in the reason of a line.
fn reasons(text: &str) -> Vec<String> {
    let is_reason = |field: &&str| ["reason: ", "error: ", "warning: "].iter().any(|key| field.starts_with(key));
    let reasons = text.split(" | ").filter(is_reason).map(|field| field.split_once(": ").unwrap().1);
    let fixed = reasons.flat_map(|reason| reason.split('…')).map(|part| part.trim_matches([' ', ',']));
    fixed.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The values of an action that may have a placeholder.
fn values(action: &str, sources: &[Source]) -> Vec<String> {
    let varying = VARYING.iter().find(|varying| varying.0 == action);
    varying.map_or(vec![action.to_owned()], |(_, file, before)| {
        let source = sources.iter().find(|source| source.path == *file).unwrap();
        literals(&source.code, before).iter().map(|value| action.replace('…', value)).collect()
    })
}

/// Every line that the code logs, and, with its program, every fixed text of a reason.
fn logged(sources: &[Source]) -> (BTreeSet<Line>, BTreeSet<(&'static str, String)>) {
    let (mut lines, mut fixed) = (BTreeSet::new(), BTreeSet::new());
    for Source { path, code } in sources {
        let texts = literals(code, "\"action: ");
        let calls = ["error!(", "warn!(", "info!(", "debug!(", "trace!(", " log!(", "::log!("];
        let calls: usize = calls.iter().map(|call| code.matches(call).count()).sum();
        assert_eq!(calls, texts.len(), "{path}: each macro that logs has a literal that begins with `action: `");
        for ((at, _), text) in code.match_indices("\"action: ").zip(texts) {
            let text = format!("action: {text}");
            let level = level(path, &code[..at]);
            for program in programs(path).iter().copied() {
                let (_, action, result, _, keys) = line(program, level, &text);
                let actions = values(&action, sources).into_iter();
                lines.extend(actions.map(|action| (program, action, result.clone(), level.to_owned(), keys.clone())));
                fixed.extend(reasons(&text).into_iter().map(|reason| (program, reason)));
            }
        }
        let optional = literals(code, "\" | ")
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(|text| format!("[\\| {}", text.trim_end_matches('…')));
        fixed.extend(optional.flat_map(|text| programs(path).iter().map(move |program| (*program, text.clone()))));
        // Reasons that reach a line as values.
        let of_hub = path.starts_with("src/hub/") || path.starts_with("src/wire/") && !path.ends_with("client.rs");
        let code = code.split("pub mod client {").next().unwrap();
        let closing = if path.ends_with("course_log.rs") { literals(code, "=> \"") } else { vec![] };
        let malformed = if of_hub { literals(code, "Malformed(\"") } else { vec![] };
        let shown =
            ["src/wire/message.rs", "src/lottery/draw.rs", "src/lottery/batch.rs", "src/reactor/proxy/header.rs"];
        let is_shown = shown.contains(&path.as_str());
        let errors = if is_shown { literals(code, "#[error(\"") } else { vec![] };
        let of_balancers = if path.ends_with("announced.rs") { literals(code, "&\"") } else { vec![] };
        let texts = [closing, malformed, errors, of_balancers].concat();
        fixed
            .extend(texts.iter().flat_map(|text| reasons(&format!("reason: {text}"))).map(|reason| ("server", reason)));
    }
    (lines, fixed)
}

/// What a row of the document says: fixed texts of reasons, and a line, unless it is a row of reasons.
fn read(program: &'static str, row: &str) -> (Vec<String>, Option<Line>) {
    let unescaped = row.replace("\\|", "\0");
    let cells: Vec<String> = unescaped.split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
    let texts: Vec<&str> = cells[1].split('`').skip(1).step_by(2).collect();
    if !texts[0].starts_with("action: ") {
        return (texts.iter().flat_map(|text| reasons(&format!("reason: {text}"))).collect(), None);
    }
    assert!(cells.len() == 6 && cells[2..5].iter().all(|cell| !cell.is_empty()), "a row of four cells: {row}");
    // What is in brackets is not in every line.
    let (before, rest) = texts[0].split_once(" [|").unwrap_or((texts[0], "]"));
    let always = format!("{before}{}", rest.split_once(']').unwrap().1);
    (reasons(texts[0]), Some(line(program, &cells[2], &always)))
}

/// How the document differs from the code.
fn differences(document: &str, sources: &[Source]) -> Vec<String> {
    let (lines, fixed) = logged(sources);
    let all_code: String = sources.iter().map(|source| source.code.as_str()).collect();
    let (mut wrong, mut rows) = (Vec::new(), BTreeSet::new());
    for (program, heading) in [("server", "\n## The server"), ("client", "\n## The client")] {
        let section = document.split_once(heading).unwrap_or_else(|| panic!("no section {heading}")).1;
        let section = section.split("\n## ").next().unwrap();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let (said, line) = read(program, row);
            rows.extend(line);
            let unsaid = said.into_iter().filter(|reason| !all_code.contains(reason.as_str()));
            wrong.extend(unsaid.map(|reason| format!("{program}: no code says '{reason}'")));
        }
        let spans = section.split('`').skip(1).step_by(2).collect::<Vec<_>>().join("\n");
        let missing = fixed.iter().filter(|(of, reason)| *of == program && !spans.contains(reason.as_str()));
        wrong.extend(missing.map(|(_, reason)| format!("{program}: the document lacks the reason '{reason}'")));
    }
    wrong.extend(lines.difference(&rows).map(|line| format!("the document lacks {line:?}")));
    wrong.extend(rows.difference(&lines).map(|line| format!("no code logs {line:?}")));
    wrong
}

#[test]
fn every_line_is_a_row_and_every_row_a_line() {
    let wrong = differences(&fs::read_to_string("docs/LOGS.md").unwrap(), &sources(Path::new("src")));
    assert!(wrong.is_empty(), "docs/LOGS.md:\n{}", wrong.join("\n"));
}

#[test]
fn a_row_that_is_gone_made_up_or_wrong_is_found() {
    let sources = sources(Path::new("src"));
    let document = fs::read_to_string("docs/LOGS.md").unwrap();
    let before = differences(&document, &sources).len();
    let row = document.lines().find(|line| line.contains("action: agency_lost ")).unwrap();
    for (changed, differences_expected) in [
        (String::new(), 1),
        (format!("{row}\n{}", row.replace("agency_lost", "agency_found")), 1),
        (row.replace("| WARNING |", "| ERROR |"), 2),
        (row.replace("agency: ", "agencia: "), 2),
        (row.replace("agency: N", "agency: N \\| reason: made up"), 3),
    ] {
        let found = differences(&document.replace(row, &changed), &sources);
        assert_eq!(found.len() - before, differences_expected, "{changed}: {found:#?}");
    }
}
