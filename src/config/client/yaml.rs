//! A YAML file as a flat list of `group.key` and text.

use std::io::ErrorKind;
use std::path::Path;

use serde_yaml::Value;

use crate::config::{ConfigError, without_mark};

/// The entries of a file.
#[derive(Debug)]
pub struct Yaml {
    file: String,
    entries: Vec<(String, Entry)>,
}

#[derive(Debug)]
enum Entry {
    Text(String),
    /// A key without a value; it counts as absent.
    Nothing,
    /// A list, or another value that is not a scalar.
    Other,
}

impl Yaml {
    /// Reads `path`.
    ///
    /// # Errors
    /// A file that cannot be read, is no YAML, or has no keys at its top.
    pub fn read(path: &Path) -> Result<Yaml, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| wrong(path, &error.to_string()))?;
        Yaml::parse(path, &text)
    }

    /// Parses `text`, the content of the file at `path`.
    ///
    /// # Errors
    /// A text that is no YAML, or has no keys at its top.
    pub fn parse(path: &Path, text: &str) -> Result<Yaml, ConfigError> {
        let value: Value = serde_yaml::from_str(without_mark(text)).map_err(|error| syntax(path, &error))?;
        let mut entries = Vec::new();
        if !value.is_null() {
            flatten("", &value, &mut entries).ok_or_else(|| wrong(path, "must be keys and values, key: value"))?;
        }
        Ok(Yaml { file: path.display().to_string(), entries })
    }

    /// As [`read`](Self::read); without entries if there is no such file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_if_there(path: &Path) -> Result<Yaml, ConfigError> {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Yaml { file: path.display().to_string(), entries: Vec::new() })
            }
            Ok(_) | Err(_) => Yaml::read(path),
        }
    }

    /// The file's name, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The keys of the file, with the names of their groups before them.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// The value of `key` as text.
    ///
    /// # Errors
    /// A key whose value is not a scalar, or a group that is not one.
    pub fn scalar(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        let group = key.split_once('.').map(|(group, _)| group);
        for (name, entry) in &self.entries {
            let whole = Some(name.as_str()) == group;
            match entry {
                Entry::Text(_) | Entry::Other if whole => {
                    return Err(wrong(
                        Path::new(&self.file),
                        &format!("{name} must be a group of keys, such as {key}"),
                    ));
                }
                Entry::Text(text) if name == key => return Ok(Some(text)),
                Entry::Other if name == key => {
                    return Err(wrong(Path::new(&self.file), &format!("{key} must be a single value")));
                }
                Entry::Text(_) | Entry::Nothing | Entry::Other => {}
            }
        }
        let inner = format!("{key}.");
        match self.keys().find(|name| name.starts_with(&inner)) {
            Some(_) => Err(wrong(Path::new(&self.file), &format!("{key} must be a single value"))),
            None => Ok(None),
        }
    }
}

/// An error of syntax: where it is, what is wrong, and what to do. The parser's messages name tokens of its own.
fn syntax(path: &Path, error: &serde_yaml::Error) -> ConfigError {
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said);
    if let Some((_, key)) = what.split_once("duplicate entry with key ") {
        return wrong(path, &format!("the key {key} is there twice; keep one of them"));
    }
    let plain = PLAIN.iter().find(|(technical, _)| what.contains(technical)).map_or(what, |(_, plain)| plain);
    let place = error.location().map_or_else(String::new, |at| format!(" line {}, column {}", at.line(), at.column()));
    let (path, plain) = (path.display(), crate::logging::Value(plain));
    ConfigError(format!("{path}{place}: {plain}; {HOW}"))
}

/// What the parser says, and what it means in a file of keys and values.
const PLAIN: &[(&str, &str)] = &[
    ("cannot start any token", "a tab, or another character that may not be there"),
    ("mapping values are not allowed", "a second colon in the line, or a line indented further than the one before"),
    (
        "did not find expected key",
        "a line that is indented otherwise than those around it, or a quote that is not closed",
    ),
    ("could not find expected ':'", "a line without a colon behind its key"),
    ("unexpected end of", "a quote or a bracket that is not closed"),
];
/// What to do about an error of syntax.
const HOW: &str = "write each line as key: value, and the keys of a group below it, indented by two spaces";

fn wrong(path: &Path, what: &str) -> ConfigError {
    // The YAML crate's messages may quote the file; the error must stay one line.
    ConfigError(format!("{}: {}", path.display(), crate::logging::Value(what)))
}

/// Adds the keys of a group; `None` if it is not one.
fn flatten(prefix: &str, value: &Value, entries: &mut Vec<(String, Entry)>) -> Option<()> {
    for (key, value) in value.as_mapping()? {
        let name = match key {
            Value::String(name) => format!("{prefix}{name}"),
            Value::Number(number) => format!("{prefix}{number}"),
            Value::Bool(flag) => format!("{prefix}{flag}"),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => return None,
        };
        let entry = match value {
            Value::String(text) => Entry::Text(text.clone()),
            Value::Number(number) => Entry::Text(number.to_string()),
            Value::Bool(flag) => Entry::Text(flag.to_string()),
            Value::Null => Entry::Nothing,
            Value::Mapping(_) => {
                flatten(&format!("{name}."), value, entries)?;
                continue;
            }
            Value::Sequence(_) | Value::Tagged(_) => Entry::Other,
        };
        entries.push((name, entry));
    }
    Some(())
}
