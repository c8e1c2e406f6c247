//! What the hub's statements do, in `READ COMMITTED`: which rows each one locks, and what it does when it has them.

use std::collections::BTreeSet;
use std::rc::Rc;

use loteria::mutants::{self, Mutant};

use super::lease;
use super::select::{self, Item};
use super::tables::{Agency, Batch, Change, Draw, Instance, Standing, Uuid, View};
use super::wire::{Params, Report, Value};

/// What a row lock is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Instance(Uuid),
    Agency(i32, i32),
    Draw(i32),
}

/// A statement that the model knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Fence,
    Lock,
    Compare,
    Write,
    SurveyDraw(Vec<Item>),
    SurveyAgencies(Vec<Item>),
    SurveyInstances,
    /// Renews the leases of agencies, and excludes those that have none.
    Lease,
    Winners,
    Draw,
    /// Adds a reason to `held`, if it is not there.
    Hold {
        draw: i32,
        why: String,
    },
    /// The draw and its roster, if there is no such draw.
    MakeDraw {
        draw: i32,
        winning_number: i64,
        agencies: Vec<i32>,
    },
    Listen,
    /// Settings of the server, and the schema's version.
    Read(Vec<Item>),
}

/// What a statement did.
#[derive(Default)]
pub struct Outcome {
    pub rows: Vec<Vec<Value>>,
    pub tag: String,
    pub changes: Vec<Change>,
    /// The draw that its notification names.
    pub notify: Option<i32>,
}

impl Outcome {
    pub fn rows(rows: Vec<Vec<Value>>) -> Outcome {
        Outcome { tag: format!("SELECT {}", rows.len()), rows, ..Outcome::default() }
    }

    fn changed(verb: &str, changes: Vec<Change>) -> Outcome {
        Outcome { tag: format!("{verb} {}", changes.len()), changes, ..Outcome::default() }
    }
}

impl Kind {
    /// The statement with this name, or with this text.
    pub fn of(name: &str, sql: &str) -> Option<Kind> {
        let flat = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let flat = flat.trim_end_matches(';');
        match name {
            "fence" => return Some(Kind::Fence),
            "lock" => return Some(Kind::Lock),
            "compare" => return Some(Kind::Compare),
            "write" => return Some(Kind::Write),
            "winners" => return Some(Kind::Winners),
            "survey_instances" => return Some(Kind::SurveyInstances),
            "lease" => return Some(Kind::Lease),
            "draw" => return Some(Kind::Draw),
            _ => {}
        }
        let starts = |text: &str| flat.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
        if starts("LISTEN ") {
            Some(Kind::Listen)
        } else if starts("INSERT INTO loteria.instances") {
            Some(Kind::Fence)
        } else if starts("WITH d AS (INSERT INTO loteria.draws") {
            make_draw(flat)
        } else if starts("UPDATE loteria.draws SET held = concat_ws('; ', held, '") {
            hold(flat)
        } else if starts("SELECT ") || starts("SHOW ") {
            let (items, from) = select::items(flat);
            Some(match from {
                Some(table) if table.starts_with("loteria.draws") => Kind::SurveyDraw(items),
                Some(table) if table.starts_with("loteria.agencies") => Kind::SurveyAgencies(items),
                _ => Kind::Read(items),
            })
        } else {
            None
        }
    }

    /// The types of its result's columns, by their OIDs; empty: it returns no rows.
    pub fn columns(&self) -> Vec<(&'static str, i32)> {
        match self {
            Kind::Fence => vec![("epoch", 20), ("turn", 20)],
            Kind::Lock => vec![("agency", 23), ("batches", 20), ("bets", 20), ("standing", 25)],
            Kind::Compare => vec![("agency", 23), ("batch", 20), ("bets", 23), ("crc", 23)],
            Kind::Winners => vec![("agency", 23), ("winners", 25)],
            Kind::SurveyInstances => vec![("here", 16), ("name", 25), ("turn", 20), ("seen", 20)],
            Kind::Lease => vec![("at", 20), ("excluded", 20)],
            Kind::Draw => vec![("pg_notify", 2278)],
            Kind::SurveyDraw(items) | Kind::SurveyAgencies(items) | Kind::Read(items) => {
                items.iter().map(|item| ("column", item.oid())).collect()
            }
            Kind::Write | Kind::Hold { .. } | Kind::MakeDraw { .. } | Kind::Listen => Vec::new(),
        }
    }

    /// Whether a server that only reads refuses it.
    pub fn writes(&self) -> bool {
        match self {
            Kind::Fence | Kind::Lock | Kind::Write | Kind::Lease | Kind::Draw => true,
            Kind::Hold { .. } | Kind::MakeDraw { .. } => true,
            Kind::Compare | Kind::SurveyDraw(_) | Kind::SurveyAgencies(_) | Kind::Winners => false,
            Kind::SurveyInstances | Kind::Listen | Kind::Read(_) => false,
        }
    }

    /// Whether it leaves alone what others have locked, and does not wait for it.
    pub fn skips_locked(&self) -> bool {
        *self == Kind::Lease
    }

    /// Which rows it locks, in this order, as far as its snapshot shows.
    pub fn wanted(&self, params: &Params, view: View<'_>, now: u64) -> Result<Vec<Key>, Report> {
        Ok(match self {
            Kind::Lease => lease::wanted(params, view, now)?,
            Kind::Fence if only_read(&params.uuid(1)?, view).is_some() => Vec::new(),
            Kind::Fence => vec![Key::Instance(params.uuid(1)?)],
            Kind::Lock if turn_follows(params, view)? => {
                let draw = params.int4(4)?;
                let asked: BTreeSet<i32> = params.int4s(5)?.into_iter().collect();
                let there = asked.into_iter().filter(|agency| view.agency(draw, *agency).is_some());
                let agencies = there.map(|agency| Key::Agency(draw, agency));
                std::iter::once(Key::Instance(params.uuid(1)?)).chain(agencies).collect()
            }
            Kind::Write if turn_follows(params, view)? => {
                let draw = params.int4(4)?;
                let agencies = Heads::read(params)?.fitting(draw, view);
                let agencies = agencies.into_iter().map(|(agency, _)| Key::Agency(draw, agency));
                agencies.chain([Key::Instance(params.uuid(1)?)]).collect()
            }
            Kind::Draw if is_due(params.int4(1)?, view) => vec![Key::Draw(params.int4(1)?)],
            Kind::Hold { draw, why } if view.draw(*draw).is_some_and(|row| row.held_with(why).is_some()) => {
                vec![Key::Draw(*draw)]
            }
            Kind::MakeDraw { draw, .. } if view.draw(*draw).is_none() => vec![Key::Draw(*draw)],
            Kind::Lock | Kind::Write | Kind::Draw | Kind::Hold { .. } | Kind::MakeDraw { .. } | Kind::Compare => {
                Vec::new()
            }
            Kind::SurveyDraw(_) | Kind::SurveyAgencies(_) | Kind::SurveyInstances | Kind::Winners => Vec::new(),
            Kind::Listen | Kind::Read(_) => Vec::new(),
        })
    }

    /// Whether it goes on to lock what is behind its first row, now that it has that one.
    pub fn goes_on(&self, params: &Params, view: View<'_>) -> Result<bool, Report> {
        if *self == Kind::Lock { turn_follows(params, view) } else { Ok(true) }
    }

    /// What it does, with its rows locked. `now` is when its transaction began, as in PostgreSQL.
    pub fn finish(&self, params: &Params, view: View<'_>, locked: &[Key], now: u64) -> Result<Outcome, Report> {
        match self {
            Kind::Lease => lease::finish(params, view, locked, now),
            Kind::Fence => fence(params, view),
            Kind::Lock => lock(params, view),
            Kind::Compare => compare(params, view),
            Kind::Write => write(params, view, now),
            Kind::Draw => draw(params, view, now),
            Kind::Winners => {
                let draw = params.int4(1)?;
                let stored = view.tables.batches.range((draw, i32::MIN, 0)..=(draw, i32::MAX, i64::MAX));
                let takes_part =
                    |agency| view.agency(draw, agency).is_some_and(|row| row.standing == Standing::Finished);
                let won = stored.filter(|(key, _)| takes_part(key.1));
                let won = won.filter_map(|(key, batch)| Some((key.1, batch.winners.as_ref()?)));
                Ok(Outcome::rows(
                    won.map(|(agency, text)| vec![Value::Int4(agency), Value::Text(text.to_vec())]).collect(),
                ))
            }
            // Without names and times, on which no hub decides anything.
            Kind::SurveyInstances => {
                let asks = params.uuid(1)?;
                let row = |(id, row): (&Uuid, &Instance)| {
                    vec![Value::Bool(*id == asks), Value::Null, Value::Int8(row.turn), Value::Int8(0)]
                };
                Ok(Outcome::rows(view.tables.instances.iter().map(row).collect()))
            }
            Kind::SurveyDraw(items) => {
                let row = view.draw(params.int4(1)?).map(|row| items.iter().map(|item| item.of_draw(row)).collect());
                Ok(Outcome::rows(row.into_iter().collect()))
            }
            Kind::SurveyAgencies(items) => {
                let rows = view.agencies(params.int4(1)?).into_iter();
                let rows = rows.map(|(number, row)| items.iter().map(|item| item.of_agency(number, row)).collect());
                Ok(Outcome::rows(rows.collect()))
            }
            Kind::Hold { draw, why } => {
                let held =
                    view.draw(*draw).and_then(|row| Some(Draw { held: Some(row.held_with(why)?), ..row.clone() }));
                Ok(Outcome::changed("UPDATE", held.map(|row| Change::Draw(*draw, row)).into_iter().collect()))
            }
            Kind::MakeDraw { draw, winning_number, agencies } => Ok(made_draw(*draw, *winning_number, agencies, view)),
            Kind::Listen => Ok(Outcome { tag: "LISTEN".to_owned(), ..Outcome::default() }),
            Kind::Read(_) => Err(Report::error("XX000", "the node answers this")),
        }
    }
}

/// The numbers in `text`, up to what is none.
fn numbers(text: &str) -> Vec<i64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || ", -".contains(c))).unwrap_or(text.len());
    text[..end].split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

fn make_draw(sql: &str) -> Option<Kind> {
    let values = numbers(sql.split_once("VALUES (")?.1);
    let agencies = numbers(sql.split_once("unnest('{")?.1);
    let agencies = agencies.into_iter().map(i32::try_from).collect::<Result<_, _>>().ok()?;
    Some(Kind::MakeDraw { draw: i32::try_from(*values.first()?).ok()?, winning_number: *values.get(1)?, agencies })
}

fn hold(sql: &str) -> Option<Kind> {
    let (why, rest) = sql.split_once("held, '")?.1.split_once("') WHERE draw = ")?;
    let draw = i32::try_from(*numbers(rest).first()?).ok()?;
    Some(Kind::Hold { draw, why: why.replace("''", "'") })
}

fn made_draw(draw: i32, winning_number: i64, agencies: &[i32], view: View<'_>) -> Outcome {
    if view.draw(draw).is_some() {
        return Outcome::changed("INSERT 0", Vec::new());
    }
    let row = Agency { batches: 0, bets: 0, standing: Standing::Betting, seen: None };
    let roster = agencies.iter().map(|agency| Change::Agency((draw, *agency), row));
    let mut outcome = Outcome::changed("INSERT 0", roster.collect());
    outcome.changes.push(Change::Draw(draw, Draw { winning_number, held: None, drawn: None, bets: None }));
    outcome
}

/// `instance = $1 AND epoch = $2 AND turn = $3 - 1`
fn turn_follows(params: &Params, view: View<'_>) -> Result<bool, Report> {
    let (epoch, turn) = (params.int8(2)?, params.int8(3)?);
    Ok(view
        .instance(&params.uuid(1)?)
        .is_some_and(|row| (row.epoch == epoch || mutants::is(Mutant::IgnoreEpoch)) && row.turn == turn - 1))
}

fn is_due(draw: i32, view: View<'_>) -> bool {
    let agencies = view.agencies(draw);
    let any = |standing| agencies.iter().any(|(_, row)| row.standing == standing);
    let again = mutants::is(Mutant::DrawAgain);
    let is_open = view.draw(draw).is_some_and(|row| again || row.drawn.is_none() && row.held.is_none());
    is_open && (!any(Standing::Betting) || mutants::is(Mutant::DrawEarly)) && any(Standing::Finished)
}

/// What a turn does to its agencies.
struct Heads(Vec<Head>);

#[derive(Clone, Copy)]
struct Head {
    agency: i32,
    first: i64,
    batches: i64,
    bets: i64,
    finishes: bool,
}

impl Heads {
    fn read(params: &Params) -> Result<Heads, Report> {
        let (agency, first, batches) = (params.int4s(5)?, params.int8s(6)?, params.int8s(7)?);
        let (bets, finishes) = (params.int8s(8)?, params.bools(9)?);
        if [first.len(), batches.len(), bets.len(), finishes.len()] != [agency.len(); 4] {
            return Err(Report::error("22023", "the model's heads are of one length"));
        }
        let head = |at: usize| Head {
            agency: agency[at],
            first: first[at],
            batches: batches[at],
            bets: bets[at],
            finishes: finishes[at],
        };
        Ok(Heads((0..agency.len()).map(head).collect()))
    }

    /// The agencies that take their heads, by number.
    fn fitting(&self, draw: i32, view: View<'_>) -> Vec<(i32, Head)> {
        let fits = |head: &&Head| {
            let row = view.agency(draw, head.agency);
            row.is_some_and(|row| {
                let bets = row.standing == Standing::Betting || mutants::is(Mutant::BetAfterFinish);
                let is_next = head.first < 0 || row.batches == head.first || mutants::is(Mutant::IgnoreNumbers);
                bets && is_next
            })
        };
        let mut fitting: Vec<(i32, Head)> = self.0.iter().filter(fits).map(|head| (head.agency, *head)).collect();
        fitting.sort_by_key(|(agency, _)| *agency);
        fitting.dedup_by_key(|(agency, _)| *agency);
        fitting
    }
}

/// The row of an instance, where a mutant's fence only reads it.
fn only_read(instance: &Uuid, view: View<'_>) -> Option<Instance> {
    view.instance(instance).filter(|_| mutants::is(Mutant::ReadFence))
}

fn fence(params: &Params, view: View<'_>) -> Result<Outcome, Report> {
    let instance = params.uuid(1)?;
    if let Some(row) = only_read(&instance, view) {
        let rows = vec![vec![Value::Int8(row.epoch), Value::Int8(row.turn)]];
        return Ok(Outcome { rows, ..Outcome::changed("INSERT 0", Vec::new()) });
    }
    let before = view.instance(&instance);
    let row = before.map_or(Instance { epoch: 1, turn: 0 }, |row| Instance { epoch: row.epoch + 1, ..row });
    Ok(Outcome {
        rows: vec![vec![Value::Int8(row.epoch), Value::Int8(row.turn)]],
        ..Outcome::changed("INSERT 0", vec![Change::Instance(instance, row)])
    })
}

fn lock(params: &Params, view: View<'_>) -> Result<Outcome, Report> {
    if !turn_follows(params, view)? {
        return Ok(Outcome::rows(Vec::new()));
    }
    let draw = params.int4(4)?;
    let asked: BTreeSet<i32> = params.int4s(5)?.into_iter().collect();
    let found = asked.into_iter().filter_map(|agency| Some((agency, view.agency(draw, agency)?)));
    let row = |(agency, row): (i32, Agency)| {
        vec![Value::Int4(agency), Value::Int8(row.batches), Value::Int8(row.bets), Value::text(row.standing.text())]
    };
    Ok(Outcome::rows(found.map(row).collect()))
}

fn compare(params: &Params, view: View<'_>) -> Result<Outcome, Report> {
    let draw = params.int4(1)?;
    let asked = params.int4s(2)?.into_iter().zip(params.int8s(3)?);
    let found = asked.filter_map(|(agency, batch)| Some((agency, batch, view.batch((draw, agency, batch))?)));
    let row = |(agency, number, batch): (i32, i64, &Batch)| {
        vec![Value::Int4(agency), Value::Int8(number), Value::Int4(batch.bets), Value::Int4(batch.crc)]
    };
    Ok(Outcome::rows(found.map(row).collect()))
}

fn write(params: &Params, view: View<'_>, now: u64) -> Result<Outcome, Report> {
    if !turn_follows(params, view)? {
        return Ok(Outcome::changed("UPDATE", Vec::new()));
    }
    let (instance, turn, draw) = (params.uuid(1)?, params.int8(3)?, params.int4(4)?);
    let heads = Heads::read(params)?;
    let fitting = heads.fitting(draw, view);
    if fitting.len() != heads.0.len() {
        return Err(Report::broken("turn_is_whole", "23514"));
    }
    let mut changes = batches(params, &fitting, view)?;
    for (agency, head) in fitting {
        let Some(row) = view.agency(draw, agency) else { continue };
        let row = Agency {
            batches: row.batches + head.batches,
            bets: row.bets + head.bets,
            standing: if head.finishes { Standing::Finished } else { row.standing },
            seen: Some(now),
        };
        changes.push(Change::Agency((draw, agency), row));
    }
    changes.push(Change::Instance(instance, Instance { epoch: params.int8(2)?, turn }));
    Ok(Outcome { tag: "UPDATE 1".to_owned(), changes, ..Outcome::default() })
}

/// The batches of a turn, at their places behind those that are stored.
fn batches(params: &Params, fitting: &[(i32, Head)], view: View<'_>) -> Result<Vec<Change>, Report> {
    let (instance, turn, draw) = (params.uuid(1)?, params.int8(3)?, params.int4(4)?);
    let (agency, nth, bets) = (params.int4s(10)?, params.int8s(11)?, params.int4s(12)?);
    let (crc, rows, winners) = (params.int4s(13)?, params.texts(14)?, params.texts(15)?);
    if [nth.len(), bets.len(), crc.len(), rows.len(), winners.len()] != [agency.len(); 5] {
        return Err(Report::error("22023", "the model's batches are of one length"));
    }
    let mut changes = Vec::new();
    let mut taken = BTreeSet::new();
    for at in 0..agency.len() {
        let number = agency[at];
        if !fitting.iter().any(|(fits, _)| *fits == number) {
            continue;
        }
        let Some(row) = view.agency(draw, number) else { continue };
        let key = (draw, number, row.batches + nth[at]);
        if bets[at] <= 0 {
            return Err(Report::broken("batches_bets_check", "23514"));
        }
        if view.batch(key).is_some() || !taken.insert(key) {
            return Err(Report::broken("batches_pkey", "23505"));
        }
        let won = (!winners[at].is_empty()).then(|| Rc::from(&*winners[at]));
        let batch = Batch { bets: bets[at], crc: crc[at], rows: Rc::from(&*rows[at]), winners: won, instance, turn };
        changes.push(Change::Batch(key, batch));
    }
    Ok(changes)
}

fn draw(params: &Params, view: View<'_>, now: u64) -> Result<Outcome, Report> {
    let (key, instance) = (params.int4(1)?, params.uuid(2)?);
    let Some(row) = view.draw(key).filter(|_| is_due(key, view)) else { return Ok(Outcome::rows(Vec::new())) };
    let finished = view.agencies(key).into_iter().filter(|(_, row)| row.standing == Standing::Finished);
    let bets = Some(finished.map(|(_, row)| row.bets).sum());
    let made = Draw { drawn: Some((now, instance)), bets, ..row.clone() };
    Ok(Outcome { changes: vec![Change::Draw(key, made)], notify: Some(key), ..Outcome::rows(vec![vec![Value::Void]]) })
}
