//! What a node of the model stores: the tables of the schema, and the log of transactions that made them so.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A random id of an instance.
pub type Uuid = [u8; 16];

/// How an agency stands, as the column `standing` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Betting,
    Finished,
    Excluded,
}

impl Standing {
    pub fn text(self) -> &'static str {
        match self {
            Standing::Betting => "betting",
            Standing::Finished => "finished",
            Standing::Excluded => "excluded",
        }
    }
}

/// A row of `draws`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    pub winning_number: i64,
    pub held: Option<String>,
    /// When, in microseconds of the model's time, and by which instance.
    pub drawn: Option<(u64, Uuid)>,
    pub bets: Option<i64>,
}

impl Draw {
    /// Why it is held with one more reason; `None`: it is held for that one already.
    pub fn held_with(&self, why: &str) -> Option<String> {
        match &self.held {
            None => Some(why.to_owned()),
            Some(held) if held.contains(why) => None,
            Some(held) => Some(format!("{held}; {why}")),
        }
    }
}

/// A row of `agencies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agency {
    pub batches: i64,
    pub bets: i64,
    pub standing: Standing,
    /// In microseconds of the model's time.
    pub seen: Option<u64>,
}

/// A row of `instances`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    pub epoch: i64,
    pub turn: i64,
}

/// A row of `batches`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub bets: i32,
    pub crc: i32,
    pub rows: Rc<[u8]>,
    pub winners: Option<Rc<[u8]>>,
    pub instance: Uuid,
    pub turn: i64,
}

/// One row as a transaction left it. Row locks keep transactions that write the same row apart, so that whole rows do.
#[derive(Clone, Debug)]
pub enum Change {
    Draw(i32, Draw),
    Agency((i32, i32), Agency),
    Instance(Uuid, Instance),
    Batch((i32, i32, i64), Batch),
}

/// A transaction in the log.
#[derive(Debug)]
pub struct Record {
    pub changes: Vec<Change>,
}

/// The tables as some transactions left them.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub draws: BTreeMap<i32, Draw>,
    /// By draw and agency.
    pub agencies: BTreeMap<(i32, i32), Agency>,
    pub instances: BTreeMap<Uuid, Instance>,
    /// By draw, agency and number.
    pub batches: BTreeMap<(i32, i32, i64), Batch>,
}

impl Tables {
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Draw(key, row) => drop(self.draws.insert(*key, row.clone())),
                Change::Agency(key, row) => drop(self.agencies.insert(*key, *row)),
                Change::Instance(key, row) => drop(self.instances.insert(*key, *row)),
                Change::Batch(key, row) => drop(self.batches.insert(*key, row.clone())),
            }
        }
    }

    pub fn replay(log: &[Rc<Record>]) -> Tables {
        let mut tables = Tables::default();
        log.iter().for_each(|record| tables.apply(&record.changes));
        tables
    }
}

/// What a transaction sees: what is visible to all, and what it has changed itself.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub tables: &'a Tables,
    pub own: &'a [Change],
}

impl<'a> View<'a> {
    pub fn draw(&self, draw: i32) -> Option<&'a Draw> {
        let own = self.own.iter().rev().find_map(|change| match change {
            Change::Draw(key, row) if *key == draw => Some(row),
            Change::Draw(..) | Change::Agency(..) | Change::Instance(..) | Change::Batch(..) => None,
        });
        own.or_else(|| self.tables.draws.get(&draw))
    }

    pub fn agency(&self, draw: i32, agency: i32) -> Option<Agency> {
        let own = self.own.iter().rev().find_map(|change| match change {
            Change::Agency(key, row) if *key == (draw, agency) => Some(*row),
            Change::Draw(..) | Change::Agency(..) | Change::Instance(..) | Change::Batch(..) => None,
        });
        own.or_else(|| self.tables.agencies.get(&(draw, agency)).copied())
    }

    pub fn instance(&self, instance: &Uuid) -> Option<Instance> {
        let own = self.own.iter().rev().find_map(|change| match change {
            Change::Instance(key, row) if key == instance => Some(*row),
            Change::Draw(..) | Change::Agency(..) | Change::Instance(..) | Change::Batch(..) => None,
        });
        own.or_else(|| self.tables.instances.get(instance).copied())
    }

    pub fn batch(&self, key: (i32, i32, i64)) -> Option<&'a Batch> {
        let own = self.own.iter().rev().find_map(|change| match change {
            Change::Batch(other, row) if *other == key => Some(row),
            Change::Draw(..) | Change::Agency(..) | Change::Instance(..) | Change::Batch(..) => None,
        });
        own.or_else(|| self.tables.batches.get(&key))
    }

    /// All agencies of a draw, by number.
    pub fn agencies(&self, draw: i32) -> Vec<(i32, Agency)> {
        let mut numbers: Vec<i32> =
            self.tables.agencies.range((draw, i32::MIN)..=(draw, i32::MAX)).map(|(k, _)| k.1).collect();
        numbers.extend(self.own.iter().filter_map(|change| match change {
            Change::Agency(key, _) if key.0 == draw => Some(key.1),
            Change::Draw(..) | Change::Agency(..) | Change::Instance(..) | Change::Batch(..) => None,
        }));
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(|number| Some((number, self.agency(draw, number)?))).collect()
    }
}
