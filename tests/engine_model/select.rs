//! Reads of one row: lists of columns, and of settings of the server.

use super::tables::{Agency, Draw};
use super::wire::Value;

/// One expression of a `SELECT`'s list, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item(String);

/// What the server says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub in_recovery: bool,
    pub replicas: bool,
    pub version: i32,
    pub fsync: bool,
    pub format: i32,
}

/// The list of a `SELECT` (or the setting of a `SHOW`) and what is behind its `FROM`.
pub fn items(sql: &str) -> (Vec<Item>, Option<&str>) {
    if sql.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("SHOW ")) {
        return (vec![Item(sql[5..].to_owned())], None);
    }
    let list = sql.get("SELECT ".len()..).unwrap_or_default();
    let mut depth = 0_i32;
    let mut found = vec![String::new()];
    for (at, character) in list.char_indices() {
        depth += i32::from(character == '(') - i32::from(character == ')');
        if depth == 0 && list.get(at..at + 6).is_some_and(|word| word.eq_ignore_ascii_case(" FROM ")) {
            return (found.into_iter().map(Item).collect(), list.get(at + 6..));
        }
        match character {
            ',' if depth == 0 => found.push(String::new()),
            _ => found.iter_mut().last().expect("never empty").push(character),
        }
    }
    (found.into_iter().map(Item).collect(), None)
}

impl Item {
    fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// The type of its value.
    pub fn oid(&self) -> i32 {
        match self {
            item if item.has("::text") => 25,
            item if item.has("IS NOT NULL") || item.has("IS NULL") || item.has("pg_is_in_recovery") => 16,
            item if item.has("::int") || item.0.trim() == "agency" => 23,
            item if item.has("version FROM") || item.0.trim() == "version" => 23,
            item if item.has("winning_number") || item.has("batches") || item.has("bets") || item.has("::bigint") => 20,
            item if item.has("drawn_at") => 1184,
            _ => 25,
        }
    }

    pub fn of_draw(&self, row: &Draw) -> Value {
        let value = if self.has("drawn_at") {
            row.drawn.map_or(Value::Null, |(at, _)| Value::Time(i64::try_from(at).unwrap()))
        } else if self.has("held") {
            row.held.as_deref().map_or(Value::Null, Value::text)
        } else if self.has("winning_number") {
            Value::Int8(row.winning_number)
        } else {
            row.bets.map_or(Value::Null, Value::Int8)
        };
        self.null_test(value)
    }

    fn null_test(&self, value: Value) -> Value {
        if self.has("IS NOT NULL") {
            Value::Bool(value != Value::Null)
        } else if self.has("IS NULL") {
            Value::Bool(value == Value::Null)
        } else {
            value
        }
    }

    pub fn of_agency(&self, number: i32, row: Agency) -> Value {
        match self.0.trim() {
            "agency" => Value::Int4(number),
            "batches" => Value::Int8(row.batches),
            "bets" => Value::Int8(row.bets),
            "standing" => Value::text(row.standing.text()),
            _ => Value::Null,
        }
    }

    /// What the server says of itself; `None`: the model does not know it.
    pub fn of_server(&self, settings: Settings) -> Option<Value> {
        let on = |value| if value { "on" } else { "off" };
        if self.has("string_agg(needed") {
            return Some(Value::Null);
        }
        let text = if self.has("pg_is_in_recovery") {
            let text = if settings.in_recovery { "true" } else { "false" };
            return Some(if self.oid() == 25 { Value::text(text) } else { Value::Bool(settings.in_recovery) });
        } else if self.has("version_num") {
            settings.version.to_string()
        } else if self.has("full_page_writes") {
            "on".to_owned()
        } else if self.has("fsync") {
            on(settings.fsync).to_owned()
        } else if self.has("synchronous_standby_names") {
            if settings.replicas { "ANY 1 (one, two, three)" } else { "" }.to_owned()
        } else if self.has("server_encoding") {
            "UTF8".to_owned()
        } else if self.has("synchronous_commit") {
            "on".to_owned()
        } else if self.has("transaction_read_only") {
            "off".to_owned()
        } else if self.has("default_transaction_isolation") {
            "read committed".to_owned()
        } else if self.has("version") {
            settings.format.to_string()
        } else if self.0.trim() == "1" {
            "1".to_owned()
        } else {
            return None;
        };
        match self.oid() {
            23 => text.parse().ok().map(Value::Int4),
            20 => text.parse().ok().map(Value::Int8),
            _ => Some(Value::text(&text)),
        }
    }
}
