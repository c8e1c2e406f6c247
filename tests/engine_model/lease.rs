//! The statement `lease`: which agencies it renews and excludes. It waits for no row that another transaction has locked.

use std::collections::BTreeSet;

use super::statements::{Key, Outcome};
use super::tables::{Agency, Change, Standing, View};
use super::wire::{Params, Report, Value};

/// The parameters.
struct Lease {
    draw: i32,
    here: BTreeSet<i32>,
    /// In microseconds: how old a lease is that is renewed, and one whose agency is excluded.
    renewal: u64,
    grace: u64,
    /// In milliseconds of the node's clock: nothing is excluded from then on.
    exclude_before: i64,
}

impl Lease {
    fn read(params: &Params) -> Result<Lease, Report> {
        let micros = |millis: i64| u64::try_from(millis).unwrap_or(0).saturating_mul(1000);
        Ok(Lease {
            draw: params.int4(1)?,
            here: params.int4s(2)?.into_iter().collect(),
            renewal: micros(params.int8(3)?),
            grace: micros(params.int8(4)?),
            exclude_before: params.int8(5)?,
        })
    }

    /// What becomes of an agency; `None`: nothing.
    fn of(&self, number: i32, row: &Agency, view: View<'_>, now: u64) -> Option<Agency> {
        if row.standing != Standing::Betting || row.bets == 0 {
            return None;
        }
        let is_older = |age: u64| row.seen.is_none_or(|seen| seen.saturating_add(age) < now);
        let is_held = || view.draw(self.draw).is_none_or(|draw| draw.held.is_some());
        if self.here.contains(&number) {
            is_older(self.renewal).then_some(Agency { seen: Some(now), ..*row })
        } else {
            let excludes = millis(now) < self.exclude_before && is_older(self.grace) && !is_held();
            excludes.then_some(Agency { standing: Standing::Excluded, ..*row })
        }
    }
}

/// When the model's time begins, in milliseconds since 1970.
const ORIGIN: i64 = 1_700_000_000_000;

fn millis(now: u64) -> i64 {
    ORIGIN.saturating_add_unsigned(now / 1000)
}

/// The rows that it locks, where no other transaction has them.
pub fn wanted(params: &Params, view: View<'_>, now: u64) -> Result<Vec<Key>, Report> {
    let lease = Lease::read(params)?;
    let changed = view.agencies(lease.draw).into_iter();
    let changed = changed.filter(|(number, row)| lease.of(*number, row, view, now).is_some());
    Ok(changed.map(|(number, _)| Key::Agency(lease.draw, number)).collect())
}

/// What it does with the rows that it has.
pub fn finish(params: &Params, view: View<'_>, locked: &[Key], now: u64) -> Result<Outcome, Report> {
    let lease = Lease::read(params)?;
    let has = |number| locked.contains(&Key::Agency(lease.draw, number));
    let rows = view.agencies(lease.draw).into_iter().filter(|(number, _)| has(*number));
    let changed: Vec<(i32, Agency)> =
        rows.filter_map(|(number, row)| Some((number, lease.of(number, &row, view, now)?))).collect();
    let excluded = changed.iter().filter(|(_, row)| row.standing == Standing::Excluded).count();
    let row = vec![Value::Int8(millis(now)), Value::Int8(i64::try_from(excluded).unwrap_or(i64::MAX))];
    let changes = changed.into_iter().map(|(number, row)| Change::Agency((lease.draw, number), row)).collect();
    Ok(Outcome { changes, ..Outcome::rows(vec![row]) })
}
