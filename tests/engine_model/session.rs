//! One connection at its node: what of its messages needs nothing of the node, its transaction, and what it waits for.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::Link;
use super::statements::{Key, Kind};
use super::tables::Change;
use super::wire::{self, Params, Reader, Report};

/// The server's buffer for what it sends (`PQ_SEND_BUFFER_SIZE` in `pqcomm.c`).
const SEND_BLOCK: usize = 8192;

/// A connection.
#[derive(Default)]
pub struct Session {
    pub node: usize,
    /// Bytes that are on their way here.
    pub network: VecDeque<u8>,
    /// They stay there until they are delivered.
    pub held: bool,
    pub inbox: Vec<u8>,
    pub out: VecDeque<u8>,
    /// What the server has said and not sent: it sends when it waits for the client, reports something, is told to, or has a
    /// block full.
    pub(super) unsent: VecDeque<u8>,
    /// It sends everything at once instead, as it may: `UPDATE 1` long before the commit.
    pub eager: bool,
    /// The server has ended it.
    pub ended: bool,
    /// Its client will send nothing more.
    pub client_gone: bool,
    /// The network has ended it, for the client.
    pub is_reset: bool,
    pub(super) begun: bool,
    /// Nothing of a transaction is open, and the client has been told.
    pub(super) idle: bool,
    pub(super) lock_timeout: Option<u64>,
    /// When it looks for a circle of locks; as PostgreSQL's, a second where nothing else is said.
    pub(super) deadlock_timeout: Option<u64>,
    pub(super) statements: BTreeMap<String, Kind>,
    pub(super) portals: BTreeMap<String, Portal>,
    pub(super) transaction: Transaction,
    /// After an error: what comes before the next `Sync` is skipped.
    pub(super) skips: bool,
    pub(super) wait: Option<Wait>,
    /// Numbers waits, so that a time-out ends only its own.
    pub(super) waits: u64,
    /// What is left of a simple query.
    pub(super) script: Option<VecDeque<String>>,
    /// The last statement of a simple query is said to be complete after its commit.
    pub(super) tag: Option<String>,
    pub(super) listens: bool,
    pub(super) notes: Vec<i32>,
    /// Its next turn fails with this code.
    pub fails_next: Option<&'static str>,
}

#[derive(Clone)]
pub struct Portal {
    pub(super) kind: Kind,
    pub(super) params: Rc<Params>,
    pub(super) binary: bool,
}

#[derive(Default)]
pub struct Transaction {
    /// When its first statement began: `now()`, in microseconds of the model's time.
    pub(super) began: Option<u64>,
    pub(super) changes: Vec<Change>,
    pub(super) notify: Option<i32>,
    /// It has locked or written something, so that its end is in the log.
    pub(super) has_id: bool,
    pub(super) locks: Vec<Key>,
}

/// A statement that is being executed.
pub struct Running {
    pub(super) portal: Portal,
    pub(super) wanted: Vec<Key>,
    pub(super) next: usize,
}

pub enum Wait {
    Lock(Key, Running),
    Standby,
}

impl Session {
    pub fn new(node: usize, eager: bool) -> Session {
        Session { node, eager, ..Session::default() }
    }

    pub fn waits_for_lock(&self) -> bool {
        matches!(self.wait, Some(Wait::Lock(..)))
    }

    pub fn waits_for_standby(&self) -> bool {
        matches!(self.wait, Some(Wait::Standby))
    }

    /// The number of its wait for a lock.
    pub fn current_wait(&self) -> Option<u64> {
        self.waits_for_lock().then_some(self.waits)
    }

    /// The key it waits for.
    pub(super) fn awaited(&self) -> Option<Key> {
        match self.wait {
            Some(Wait::Lock(key, _)) => Some(key),
            Some(Wait::Standby) | None => None,
        }
    }

    pub(super) fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.unsent.extend(bytes);
        while self.unsent.len() > SEND_BLOCK {
            self.out.extend(self.unsent.drain(..SEND_BLOCK));
        }
        if self.eager {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        self.out.append(&mut self.unsent);
    }

    pub(super) fn report(&mut self, report: &Report) {
        self.say(|out| wire::put_report(out, report));
        self.flush();
    }

    pub(super) fn say_ready(&mut self, link: Link) {
        self.idle = true;
        self.say_notes(link);
        self.say(|out| wire::put(out, b'Z', b"I"));
        self.flush();
    }

    pub(super) fn say_notes(&mut self, link: Link) {
        for draw in std::mem::take(&mut self.notes) {
            let body = [&link.0.to_be_bytes()[..], b"loteria\0", draw.to_string().as_bytes(), b"\0"].concat();
            self.say(|out| wire::put(out, b'A', &body));
        }
    }

    pub(super) fn begin(&mut self, link: Link, body: &[u8]) -> Result<(), Report> {
        let mut reader = Reader(body);
        match reader.i32()? {
            80_877_103 | 80_877_104 => {
                self.out.push_back(b'N'); // Neither TLS nor GSSAPI.
                return Ok(());
            }
            196_608 => {}
            _ => return Err(Report::fatal("0A000", "unsupported frontend protocol")),
        }
        while reader.0.first().is_some_and(|byte| *byte != 0) {
            let (name, value) = (reader.text()?, reader.text()?);
            let options = if name == "options" { value } else { format!("-c {name}={value}") };
            if let Some((_, rest)) = options.split_once(" lock_timeout=") {
                self.lock_timeout = microseconds(rest).filter(|time| *time > 0);
            }
            if let Some((_, rest)) = options.split_once(" deadlock_timeout=") {
                self.deadlock_timeout = microseconds(rest);
            }
        }
        self.begun = true;
        self.say(|out| {
            wire::put(out, b'R', &0_i32.to_be_bytes());
            for pair in
                ["server_version\u{0}15.18\u{0}", "client_encoding\u{0}UTF8\u{0}", "integer_datetimes\u{0}on\u{0}"]
            {
                wire::put(out, b'S', pair.as_bytes());
            }
            wire::put(out, b'K', &[link.0.to_be_bytes(), [0; 4]].concat());
        });
        self.say_ready(link);
        Ok(())
    }

    pub(super) fn parse(&mut self, body: &[u8]) -> Result<(), Report> {
        let mut reader = Reader(body);
        let (name, sql) = (reader.text()?, reader.text()?);
        let kind = Kind::of(&name, &sql).ok_or_else(|| unknown(&sql))?;
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Report::error("42P05", "prepared statement already exists"));
        }
        self.statements.insert(name, kind);
        self.say(|out| wire::put(out, b'1', &[]));
        Ok(())
    }

    pub(super) fn bind(&mut self, body: &[u8]) -> Result<(), Report> {
        let mut reader = Reader(body);
        let (portal, statement) = (reader.text()?, reader.text()?);
        let kind = self.statements.get(&statement).cloned();
        let kind = kind.ok_or_else(|| Report::error("26000", "prepared statement does not exist"))?;
        let formats = (0..reader.i16()?).map(|_| reader.i16()).collect::<Result<Vec<i16>, _>>()?;
        let count = reader.i16()?;
        let values = (0..count).map(|_| Ok(reader.value()?.map(<[u8]>::to_vec))).collect::<Result<Vec<_>, Report>>()?;
        let results = (0..reader.i16()?).map(|_| reader.i16()).collect::<Result<Vec<i16>, _>>()?;
        if !values.is_empty() && (formats.is_empty() || formats.contains(&0)) {
            return Err(Report::error("0A000", "the model takes parameters in binary format only"));
        }
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(Report::error("42P03", "cursor already exists"));
        }
        let binary = results.first() == Some(&1);
        self.portals.insert(portal, Portal { kind, params: Rc::new(Params(values)), binary });
        self.say(|out| wire::put(out, b'2', &[]));
        Ok(())
    }

    pub(super) fn describe(&mut self, body: &[u8]) -> Result<(), Report> {
        let mut reader = Reader(body);
        let (what, name) = (reader.u8()?, reader.text()?);
        let portal = self.portals.get(&name).filter(|_| what == b'P');
        let kind = if what == b'P' { portal.map(|portal| &portal.kind) } else { self.statements.get(&name) };
        let kind = kind.cloned().ok_or_else(|| Report::error("26000", "nothing of that name to describe"))?;
        let binary = portal.is_some_and(|portal| portal.binary);
        self.say(|out| {
            if what == b'S' {
                wire::put(out, b't', &[0, 0]); // The hub knows its own parameters.
            }
            match kind.columns() {
                columns if columns.is_empty() => wire::put(out, b'n', &[]),
                columns => wire::put_columns(out, &columns, binary),
            }
        });
        Ok(())
    }
}

pub(super) fn unknown(sql: &str) -> Report {
    Report::error("42601", &format!("the model does not know: {sql}"))
}

/// The statements of a simple query.
pub(super) fn statements_of(sql: &str) -> VecDeque<String> {
    let mut in_text = false;
    let parts = sql.split(|character| {
        in_text ^= character == '\'';
        character == ';' && !in_text
    });
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A time as a setting has it: milliseconds where there is no unit.
fn microseconds(text: &str) -> Option<u64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = if text[digits.len()..].starts_with('s') { 1_000_000 } else { 1000 };
    digits.parse::<u64>().ok().map(|number| number * unit)
}
