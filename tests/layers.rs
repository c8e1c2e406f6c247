//! The layers of `docs/ARCHITECTURE.md`: which layer may use which, and what each may touch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer of `src/`, the layers that it may use, and what it may not touch.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    ("arguments", &[], &["std::net", "std::fs", "mio::"]),
    ("config", &["logging", "lottery", "wire"], &["std::net::Tcp", "mio::"]),
    ("limits", &[], &["std::net", "std::fs", "mio::"]),
    ("mutants", &[], &["std::net", "std::fs", "mio::"]),
    ("timers", &[], &["std::net", "std::fs", "mio::", "Instant", "SystemTime"]),
    ("keepalive", &[], &["std::fs", "mio::", "Instant", "SystemTime"]),
    ("signals", &["limits"], &["std::net", "std::fs", "mio::"]),
    ("system", &[], &["std::net", "std::fs::write", "mio::", "Instant", "SystemTime"]),
    ("logging", &[], &["std::net", "mio::"]),
    ("lottery", &[], &["std::net", "std::fs", "std::io", "mio::", "Instant", "SystemTime", "Duration"]),
    ("wire", &["lottery", "limits"], &["std::net", "std::fs", "std::io", "mio::", "Instant", "Duration", "Lottery"]),
    ("session", &["wire", "lottery", "limits"], &["std::net", "std::fs", "std::io", "mio::", "Instant", "SystemTime"]),
    (
        "storage",
        &["lottery", "limits", "timers", "mutants", "system", "logging"],
        &["std::net", "mio::", "Instant", "SystemTime"],
    ),
    (
        "hub",
        &["session", "wire", "storage", "lottery", "limits", "timers", "logging", "mutants"],
        &["std::net", "std::fs", "mio::", "Instant", "SystemTime"],
    ),
    (
        "status",
        &["hub", "storage", "lottery", "wire", "limits", "timers", "logging"],
        &["std::fs", "mio::", "TcpStream", "UnixStream", "Instant", "Lottery::"],
    ),
    (
        "reactor",
        &["status", "hub", "storage", "lottery", "limits", "timers", "keepalive", "signals", "system", "logging"],
        &["RawBet", "Bet::", "std::fs::write"],
    ),
    (
        "operator",
        &["status", "storage", "agency", "lottery", "config", "limits", "system", "logging"],
        &["std::net", "mio::", "std::fs::write", "Lottery::"],
    ),
    ("agency", &["wire", "lottery", "config", "limits", "timers", "keepalive", "signals", "system", "logging"], &[]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The layer that a file of `src/` belongs to: its folder, or its own name.
fn layer_of(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The code of a file: without its comments, and without the tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every layer named after `crate::` in `code`.
fn used(code: &str) -> Vec<String> {
    let mut layers = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split("};").next().unwrap();
                layers.extend(group.split(',').map(|item| name(item.trim())));
            }
            None => layers.push(name(rest)),
        }
    }
    layers
}

#[test]
fn each_layer_uses_only_the_layers_below_it() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let layer = layer_of(&path);
        if layer == "bin" || layer == "lib" {
            continue;
        }
        let (_, allowed, untouched) = LAYERS
            .iter()
            .find(|(name, ..)| *name == layer)
            .unwrap_or_else(|| panic!("{layer} has no row in this test"));
        let code = code(&path);
        for other in used(&code) {
            let known = LAYERS.iter().any(|(name, ..)| *name == other);
            if known && other != layer && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: {layer} uses {other}", path.display()));
            }
        }
        for thing in untouched.iter().filter(|thing| code.contains(**thing)) {
            wrong.push(format!("{}: {layer} touches {thing}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_client_uses_none_of_the_servers_layers() {
    for path in sources(Path::new("src/bin")).into_iter().filter(|path| path.to_str().unwrap().contains("client")) {
        let code = code(&path);
        for layer in ["session", "hub", "reactor", "storage"] {
            assert!(!code.contains(&format!("loteria::{layer}")), "{} uses {layer}", path.display());
        }
    }
}

#[test]
fn source_files_have_at_most_520_lines() {
    // About five hundred lines: a file over that is asking to be two.
    let long: Vec<String> = sources(Path::new("src"))
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > 520)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
