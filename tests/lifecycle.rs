//! What the documents say of the code is true: files exist, functions stand where they are said to, counts are right.
//!
//! `docs/LIFECYCLE.md` lists the functions of a request's path, and how many they are. `docs/ARCHITECTURE.md` and
//! `CONTRIBUTING.md` name functions beside their files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// At most so many steps, and changes of file between them, has the path of a batch.
const STEPS_MAX: usize = 65;
const CHANGES_MAX: usize = 45;

/// A function and the file that a document says it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: String,
    name: String,
}

/// A row of a table of steps.
struct Step {
    place: Place,
    /// What begins before the next step, in order.
    between: Vec<Place>,
}

fn document(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The code spans of a line, each with the text before it.
fn spans(line: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = line.split('`').collect();
    parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn is_file(span: &str) -> bool {
    span.contains('/') && span.ends_with(".rs") && !span.contains(['<', '*', ' '])
}

/// The path of a file that a document names, from the root of the project or from `src/`.
fn full_path(file: &str) -> String {
    let from_root = ["src/", "tests/", "fuzz/", "benches/"].iter().any(|folder| file.starts_with(folder));
    if from_root { file.to_owned() } else { format!("src/{file}") }
}

/// Whether a span is a name of something in a file, such as `f`, `Type::f`, `Type` or `macro!`.
fn is_name(span: &str) -> bool {
    let letters = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = span.strip_suffix("()").or_else(|| span.strip_suffix('!')).unwrap_or(span);
    name.split("::").all(letters) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether `code` has the word, with something of `after` behind it.
fn has(code: &str, before: &str, word: &str, after: &[char]) -> bool {
    let wanted = format!("{before}{word}");
    code.match_indices(&wanted).any(|(at, _)| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins = !code[..at].ends_with(inside);
        let next = code[at + wanted.len()..].chars().next();
        begins && next.is_some_and(|next| if after.is_empty() { !inside(next) } else { after.contains(&next) })
    })
}

/// Whether the file has the function, field, macro, type, variant or constant.
fn is_there(place: &Place) -> bool {
    let Ok(code) = fs::read_to_string(full_path(&place.file)) else { return false };
    let name = place.name.trim_end_matches("()").rsplit("::").next().unwrap();
    if let Some(name) = name.strip_suffix('!') {
        return has(&code, "macro_rules! ", name, &[]);
    }
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return has(&code, "", name, &[]);
    }
    let is_function = has(&code, "fn ", name, &['(', '<']);
    is_function || has(&code, "", name, &[':'])
}

/// As [`is_there`], but it must be a function.
fn is_function(place: &Place) -> bool {
    let Ok(code) = fs::read_to_string(full_path(&place.file)) else { return false };
    has(&code, "fn ", &place.name, &['(', '<'])
}

/// Names, and files behind the names that are in them: "`a`, `b` (`file`); `c`". Without a file they are in `here`.
fn places(cell: &str, here: &str) -> Vec<Place> {
    cell.split(';')
        .flat_map(|group| {
            let spans: Vec<&str> = spans(group).into_iter().map(|(_, span)| span).collect();
            let file = spans.iter().copied().find(|span| span.ends_with(".rs")).unwrap_or(here).to_owned();
            let names = spans.into_iter().filter(|span| !span.ends_with(".rs")).map(str::to_owned);
            names.map(|name| Place { file: file.clone(), name }).collect::<Vec<_>>()
        })
        .collect()
}

/// The rows of all tables of steps below the heading.
fn steps(document: &str, heading: &str) -> Vec<Step> {
    let section = document.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, file, _, between] = cells[..] else { panic!("a row of four cells: {row}") };
        let file = file.trim_matches('`').to_owned();
        let place = Place { name: name.trim_matches('`').to_owned(), file };
        let between = places(between, &place.file);
        Step { place, between }
    })
    .collect()
}

/// How many different functions there are, and how often the file changes from one to the next.
fn counts(path: &[&Place]) -> (usize, usize) {
    let functions: BTreeSet<&Place> = path.iter().copied().collect();
    let changes = path.windows(2).filter(|pair| pair[0].file != pair[1].file).count();
    (functions.len(), changes)
}

/// The number in bold before the `unit`, by its place among those.
fn stated(document: &str, unit: &str, nth: usize) -> usize {
    let text = document.replace('\n', " ");
    let found = text.match_indices(&format!(" {unit}**")).nth(nth).unwrap_or_else(|| panic!("no count of {unit}")).0;
    text[..found].rsplit("**").next().unwrap().parse().unwrap()
}

/// Each name of a text that stands beside a file: "`file`, `a` and `b`", "`a` and `b` (`file`)", or "`a` in `file`".
fn named_beside_files(text: &str) -> Vec<Place> {
    let spans = spans(text);
    let joins = |between: &str| matches!(between, ", " | " and " | ", and " | ": ");
    let place = |file: &str, name: &str| Place { file: file.to_owned(), name: name.to_owned() };
    let mut found = Vec::new();
    let mut at = 0;
    while at < spans.len() {
        // A chain of spans that commas and "and" join.
        let more = spans[at + 1..].iter().take_while(|(between, _)| joins(between)).count();
        let chain: Vec<&str> = spans[at..=at + more].iter().map(|(_, span)| *span).collect();
        at += more + 1;
        let names =
            |spans: &[&str]| spans.iter().copied().filter(|span| is_name(span)).map(str::to_owned).collect::<Vec<_>>();
        match spans.get(at) {
            Some((" (" | " in ", file)) if is_file(file) => {
                let from = chain.iter().rposition(|span| is_file(span)).map_or(0, |file| file + 1);
                found.extend(names(&chain[from..]).iter().map(|name| place(file, name)));
            }
            _ => {
                let mut file = None;
                for span in chain {
                    if is_file(span) {
                        file = Some(span);
                    } else if let Some(file) = file.filter(|_| is_name(span)) {
                        found.push(place(file, span));
                    }
                }
            }
        }
    }
    found
}

/// A document's paragraphs, rows and items, each on one line.
fn blocks(document: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in document.lines() {
        let text = line.trim_start();
        let is_item = text.starts_with("- ") || text.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
        if text.is_empty() || text.starts_with('|') || is_item {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().unwrap();
        if !block.is_empty() {
            block.push(' ');
        }
        block.push_str(text);
    }
    blocks
}

/// What the document says of files and is not so, and how many names it says.
fn wrong_names(document: &str) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for block in blocks(document) {
        for (_, span) in spans(&block) {
            let is_source = span.starts_with("src/") || is_file(span);
            if is_source && !span.contains('<') && !Path::new(&full_path(span)).exists() {
                wrong.push(format!("{span} does not exist"));
            }
        }
        for place in named_beside_files(&block) {
            checked += 1;
            if !is_there(&place) {
                wrong.push(format!("{} has no {}", place.file, place.name));
            }
        }
    }
    (wrong, checked)
}

#[test]
fn the_functions_of_a_requests_path_are_where_the_document_says() {
    let document = document("docs/LIFECYCLE.md");
    let mut wrong = Vec::new();
    for heading in ["A batch", "A parked query"] {
        let steps = steps(&document, heading);
        assert!(steps.len() > 15, "{heading} has {} steps", steps.len());
        let all = steps.iter().flat_map(|step| [&step.place].into_iter().chain(&step.between));
        wrong.extend(
            all.filter(|place| !is_function(place)).map(|place| format!("{} has no {}", place.file, place.name)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_counts_of_a_batchs_path_are_those_of_its_tables_and_within_bounds() {
    let document = document("docs/LIFECYCLE.md");
    let path = steps(&document, "A batch");
    let (functions, changes) = counts(&path.iter().map(|step| &step.place).collect::<Vec<_>>());
    let all = path.iter().flat_map(|step| [&step.place].into_iter().chain(&step.between)).collect::<Vec<_>>();
    let (all_functions, all_changes) = counts(&all);
    let said = (stated(&document, "steps", 0), stated(&document, "changes of file", 0));
    assert_eq!((functions, changes), said, "steps and changes of file");
    let said = (stated(&document, "functions", 0), stated(&document, "changes of file", 1));
    assert_eq!((all_functions, all_changes), said, "functions and changes of file, all columns");
    assert!(functions <= STEPS_MAX && changes <= CHANGES_MAX, "{functions} steps, {changes} changes of file");
}

#[test]
fn what_documents_name_beside_files_is_in_them() {
    for (path, names_min) in [("docs/LIFECYCLE.md", 10), ("docs/ARCHITECTURE.md", 40), ("CONTRIBUTING.md", 20)] {
        let (wrong, checked) = wrong_names(&document(path));
        assert!(wrong.is_empty(), "{path}:\n{}", wrong.join("\n"));
        assert!(checked >= names_min, "{path} names {checked} things beside files");
    }
}

#[test]
fn names_that_are_not_there_are_found() {
    for (text, wrong) in [
        ("| Where? | `src/hub/apply.rs`, `store_batch` and `no_such_function` |", 1),
        ("- `no_such_function` (`src/hub/apply.rs`), `Hub::apply` (`src/hub/apply.rs`)", 1),
        ("`src/hub/no_such_file.rs`", 1),
        ("`src/hub/no_such_folder/`", 1),
        ("`src/hub/apply.rs`, `store_batch`, then `elsewhere`", 0),
        ("`src/wire/mod.rs` has `dialects!`; `store_batch` (`hub/apply.rs`)", 0),
    ] {
        assert_eq!(wrong_names(text).0.len(), wrong, "{text}");
    }
    let place = |name: &str| Place { file: "hub/apply.rs".to_owned(), name: name.to_owned() };
    assert!(
        is_function(&place("store_batch")) && !is_function(&place("store_batc")) && !is_function(&place("tore_batch"))
    );
}
