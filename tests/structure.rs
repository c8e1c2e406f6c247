//! What keeps the sources easy to find one's way in: no import circles between files, no structs of many fields.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Fields that a struct of the layers in [`SMALL`] may have.
const FIELDS_MAX: usize = 12;
/// The layers whose structs have few fields.
const SMALL: [&str; 3] = ["hub", "reactor", "agency"];

/// A module's path from the crate's root.
type Module = Vec<String>;

/// An import: the path, and whether it is a re-export.
type Import = (Vec<String>, bool);

/// Every module of the library, and its code without comments and unit tests.
fn modules() -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    collect(Path::new("src"), &mut found);
    found
}

fn collect(folder: &Path, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("bin") && !path.ends_with("tests") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let inside = path.strip_prefix("src").unwrap().with_extension("");
            let mut module: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if matches!(module.last().unwrap().as_str(), "mod" | "lib") {
                module.pop();
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.insert(module, lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The imports at the top level of a file.
fn imports(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    for statement in code.split_inclusive(';') {
        let Some(start) = statement.lines().position(|line| line.contains("use ") && !line.starts_with(' ')) else {
            continue;
        };
        let statement = statement.lines().skip(start).collect::<Vec<_>>().join(" ");
        let Some((before, path)) = statement.trim_end_matches(';').split_once("use ") else { continue };
        if before.is_empty() || before.starts_with("pub") {
            expand(&[], path, !before.is_empty(), &mut found);
        }
    }
    found
}

/// Takes `a::{b, c::d}` apart.
fn expand(prefix: &[String], path: &str, is_export: bool, found: &mut Vec<Import>) {
    let Some((head, group)) = path.split_once('{') else {
        let path = path.split(" as ").next().unwrap();
        let parts = path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
        found.push((prefix.iter().cloned().chain(parts).collect(), is_export));
        return;
    };
    let head = head.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
    let prefix: Vec<String> = prefix.iter().cloned().chain(head).collect();
    let (mut depth, mut item) = (0, String::new());
    for letter in group.trim_end().trim_end_matches('}').chars().chain([',']) {
        match letter {
            ',' if depth == 0 => {
                if !item.trim().is_empty() {
                    expand(&prefix, item.trim(), is_export, found);
                }
                item.clear();
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        item.push(letter);
    }
}

/// Where a path of `module` leads, from the crate's root; `None`: out of the crate.
fn absolute(modules: &BTreeMap<Module, String>, module: &Module, path: &[String]) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let child: Module = module.iter().chain(path.first()).cloned().collect();
    match path.first().map(String::as_str) {
        Some("crate") => Some(path[1..].to_vec()),
        Some("super") => Some(module[..module.len() - ups].iter().chain(&path[ups..]).cloned().collect()),
        Some("self") => Some(module.iter().chain(&path[1..]).cloned().collect()),
        Some(_) if modules.contains_key(&child) => Some(module.iter().chain(path).cloned().collect()),
        _ => None,
    }
}

/// The file that defines what a path names, through re-exports.
fn definition(modules: &BTreeMap<Module, String>, path: &[String], steps: usize) -> Module {
    let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth])).unwrap();
    let module = path[..depth].to_vec();
    let Some(name) = path.get(depth).filter(|_| steps > 0) else { return module };
    let exported = imports(&modules[&module]).into_iter().find(|(import, _)| import.last() == Some(name));
    let path = exported.and_then(|(import, _)| absolute(modules, &module, &import));
    path.map_or(module, |path| definition(modules, &path, steps - 1))
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let modules = modules();
    let mut uses: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, code) in &modules {
        let paths = imports(code).into_iter().filter(|(_, is_export)| !is_export);
        let paths = paths.filter_map(|(path, _)| absolute(&modules, module, &path));
        uses.insert(module, paths.map(|path| definition(&modules, &path, 8)).filter(|used| used != module).collect());
    }
    assert!(uses[&vec!["hub".to_owned(), "commit".to_owned()]].contains(&vec!["hub".to_owned()]), "imports are read");
    // Files that use no other file are taken away until none is left, or only circles are.
    while let Some(free) = uses.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| (*module).clone()) {
        uses.remove(&free);
        uses.values_mut().for_each(|used| _ = used.remove(&free));
    }
    let circles: Vec<String> = uses.iter().map(|(module, used)| format!("{module:?} uses {used:?}")).collect();
    assert!(circles.is_empty(), "in circles, or above them:\n{}", circles.join("\n"));
}

#[test]
fn structs_have_few_fields() {
    let mut structs = 0;
    let is_small = |module: &Module| module.first().is_some_and(|layer| SMALL.contains(&layer.as_str()));
    for (module, code) in modules().iter().filter(|(module, _)| is_small(module)) {
        for body in code.split("struct ").skip(1) {
            let (head, body) = body.split_once('{').unwrap_or((body, ""));
            if head.contains(';') || head.contains('(') {
                continue;
            }
            let fields = body.split("\n}").next().unwrap().lines();
            let fields =
                fields.filter(|line| line.starts_with("    ") && !line.starts_with("     ") && line.contains(": "));
            let fields = fields.filter(|line| !line.trim_start().starts_with('#')).count();
            structs += 1;
            assert!(
                fields <= FIELDS_MAX,
                "src/{}.rs: {} has {fields} fields, at most {FIELDS_MAX}: give those that belong together a struct of their own",
                module.join("/"),
                head.trim()
            );
        }
    }
    assert!(structs > 60, "{structs} structs are found");
}
