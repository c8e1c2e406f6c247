//! Reading all batches of a draw, and whether they are what hubs have stored.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;

use super::answers::{Columns, parse_rows};
use super::network::Waiting;
use super::reader::Reader;
use super::tool_error::EngineError;
use crate::lottery::{Agency, AgencyId, Bet, Standing};
use crate::storage::format::row::parse::{count_rows, parse_row};
use crate::storage::open::check::Checked;

/// All that is read of a draw is of one moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A draw that was checked.
#[derive(Debug)]
pub struct CheckedDraw {
    /// What it has.
    pub checked: Checked,
    /// Why it is held, if it is.
    pub held: Option<String>,
}

/// A draw that has been made.
#[derive(Debug)]
pub struct DrawnWinners {
    /// On which number.
    pub winning_number: u32,
    /// By agency, in the order in which they were stored.
    pub winners: Vec<(AgencyId, Bet)>,
}

/// A row of `loteria.draws`.
#[derive(Debug)]
pub(super) struct DrawRow {
    pub winning_number: u32,
    pub held: Option<String>,
    pub drawn: bool,
    /// Bets in the draw, once it is made.
    pub bets: Option<u64>,
}

/// A row of `loteria.batches`.
struct BatchRow<'a> {
    agency: AgencyId,
    batch: u64,
    bets: u64,
    crc: i32,
    rows: &'a [u8],
    winners: &'a [u8],
}

/// Checks all batches of the draw and gives each bet to `take`, by agency and in the order in which they were stored. Hubs may
/// be at work: all is of one moment.
///
/// # Errors
/// The draw is damaged, is not there, or cannot be read.
pub fn check_draw<N: Waiting>(
    reader: &mut Reader<N>,
    mut take: impl FnMut(AgencyId, &Bet),
) -> Result<CheckedDraw, EngineError> {
    let number = reader.options().draw;
    reader.run(BEGIN)?;
    let mut audit = Audit::begin(reader)?;
    each_batch(reader, |batch| {
        audit.batch(batch)?;
        let of = |what| EngineError::in_batch(number, batch.agency, batch.batch, what);
        let winning_number = audit.row.winning_number;
        let mut winners = Vec::new();
        let won = winning_rows(batch.agency, winning_number, batch.rows, |bet| {
            if bet.number() == winning_number {
                winners.push(bet.clone());
            }
            take(batch.agency, bet);
        });
        let won = won.ok_or_else(|| of("it has a row that is not as hubs write them"))?;
        if won != batch.winners {
            return Err(of("its winners are not those of its rows"));
        }
        audit.agency(batch.agency)?.found.winners.append(&mut winners);
        Ok::<_, EngineError>(())
    })?;
    reader.run("COMMIT")?;
    audit.end()
}

/// Gives the bytes of all batches to `take`, by agency and number: what a store of files has, but for the order of agencies.
/// Returns how many bets there are. Each batch is checked before it is given.
///
/// # Errors
/// As [`check_draw`], and those of `take`.
pub fn export_draw<N: Waiting, E: From<EngineError>>(
    reader: &mut Reader<N>,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    reader.run(BEGIN)?;
    let mut audit = Audit::begin(reader)?;
    each_batch(reader, |batch| {
        audit.batch(batch)?;
        take(batch.rows)
    })?;
    reader.run("COMMIT")?;
    let checked = audit.end()?.checked;
    Ok(checked.agencies.iter().map(|(_, agency)| agency.bets).sum())
}

/// The number of the draw and its winners, of all agencies or of one, by agency and in the order in which they were stored;
/// `None`: it has not been made. What is returned is as durable as the engine makes it.
///
/// # Errors
/// There is no such draw, or the agency is not of it; it cannot be read.
pub fn drawn_winners<N: Waiting>(
    reader: &mut Reader<N>,
    agency: Option<AgencyId>,
) -> Result<Option<DrawnWinners>, EngineError> {
    let draw = reader.options().draw;
    let row = draw_row(reader)?;
    if let Some(id) = agency
        && !agency_rows(reader)?.contains_key(&id)
    {
        return Err(EngineError::NoAgency(id));
    }
    if !row.drawn {
        return Ok(None);
    }
    let only = agency.map(|id| format!("AND b.agency = {id} ")).unwrap_or_default();
    let sql = format!(
        "SELECT b.agency, b.batch, b.winners FROM loteria.batches b JOIN loteria.agencies a USING (draw, agency) \
         WHERE b.draw = {draw} {only}AND b.winners IS NOT NULL AND a.standing = 'finished' ORDER BY b.agency, b.batch"
    );
    let mut found = Vec::new();
    reader.query(&sql, |mut columns| {
        let (id, batch) = (AgencyId(number(&mut columns)?), number(&mut columns)?);
        let bets = parse_rows(columns.next()?.unwrap_or_default());
        let unreadable = || EngineError::in_batch(draw, id, batch, "its winners are not as hubs write them");
        found.extend(bets.ok_or_else(unreadable)?.into_iter().map(|bet| (id, bet)));
        Ok::<_, EngineError>(())
    })?;
    reader.confirm()?;
    Ok(Some(DrawnWinners { winning_number: row.winning_number, winners: found }))
}

/// The row of the draw.
pub(super) fn draw_row<N: Waiting>(reader: &mut Reader<N>) -> Result<DrawRow, EngineError> {
    let draw = reader.options().draw;
    let mut found = None;
    let sql =
        format!("SELECT winning_number, held, drawn_at IS NOT NULL, bets::text FROM loteria.draws WHERE draw = {draw}");
    reader.query(&sql, |mut columns| {
        let winning_number = number(&mut columns)?;
        let held = columns.next()?.map(|why| String::from_utf8_lossy(why).into_owned());
        let drawn = columns.text()? == "t";
        let bets = columns.text()?.parse().ok();
        found = Some(DrawRow { winning_number, held, drawn, bets });
        Ok::<_, EngineError>(())
    })?;
    found.ok_or(EngineError::NoDraw(draw))
}

/// The agencies of the draw, ascending: their standings, batches and bets.
pub(super) fn agency_rows<N: Waiting>(reader: &mut Reader<N>) -> Result<BTreeMap<AgencyId, Agency>, EngineError> {
    let mut agencies = BTreeMap::new();
    let draw = reader.options().draw;
    let sql = format!("SELECT agency, batches, bets, standing FROM loteria.agencies WHERE draw = {draw}");
    reader.query(&sql, |mut columns| {
        let id = AgencyId(number(&mut columns)?);
        let (batches, bets) = (number(&mut columns)?, number(&mut columns)?);
        let standing = match columns.text()? {
            "finished" => Standing::Finished,
            "excluded" => Standing::Excluded,
            _ => Standing::Betting,
        };
        let mut agency = Agency::default();
        (agency.standing, agency.batches, agency.bets) = (standing, batches, bets);
        agencies.insert(id, agency);
        Ok::<_, EngineError>(())
    })?;
    Ok(agencies)
}

fn each_batch<N: Waiting, E: From<EngineError>>(
    reader: &mut Reader<N>,
    mut take: impl FnMut(&BatchRow<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let draw = reader.options().draw;
    let sql = format!(
        "SELECT agency, batch, bets, crc, rows, winners FROM loteria.batches WHERE draw = {draw} ORDER BY agency, batch"
    );
    reader.query(&sql, |columns| take(&batch_row(columns).map_err(EngineError::from)?))
}

fn batch_row(mut columns: Columns<'_>) -> io::Result<BatchRow<'_>> {
    Ok(BatchRow {
        agency: AgencyId(number(&mut columns)?),
        batch: number(&mut columns)?,
        bets: number(&mut columns)?,
        crc: number(&mut columns)?,
        rows: columns.next()?.unwrap_or_default(),
        winners: columns.next()?.unwrap_or_default(),
    })
}

/// A column that is a number, as text.
pub(super) fn number<T: FromStr>(columns: &mut Columns<'_>) -> io::Result<T> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "PostgreSQL has answered with no number");
    columns.text()?.parse().map_err(|_| unreadable())
}

/// The rows that are on the winning number; each bet is given to `take`. `None`: a row is not as hubs write it, or is another
/// agency's.
pub(super) fn winning_rows(
    agency: AgencyId,
    winning_number: u32,
    rows: &[u8],
    mut take: impl FnMut(&Bet),
) -> Option<Vec<u8>> {
    let mut won = Vec::new();
    for row in rows.split_inclusive(|byte| *byte == b'\n') {
        let (of, bet) = parse_row(row)?;
        if of != agency {
            return None;
        }
        if bet.number() == winning_number {
            won.extend_from_slice(row);
        }
        take(&bet);
    }
    Some(won)
}

/// What the draw says of an agency, and what was found of it.
#[derive(Debug, Default)]
struct Audited {
    said: Agency,
    found: Agency,
}

/// Batches as they come, by agency and number.
struct Audit {
    draw: i32,
    row: DrawRow,
    agencies: BTreeMap<AgencyId, Audited>,
    rows_bytes: u64,
}

impl Audit {
    fn begin<N: Waiting>(reader: &mut Reader<N>) -> Result<Audit, EngineError> {
        let (draw, row) = (reader.options().draw, draw_row(reader)?);
        let agencies = agency_rows(reader)?.into_iter();
        let agencies = agencies.map(|(id, said)| (id, Audited { said, found: Agency::default() })).collect();
        Ok(Audit { draw, row, agencies, rows_bytes: 0 })
    }

    fn agency(&mut self, agency: AgencyId) -> Result<&mut Audited, EngineError> {
        let what = || format!("agency {agency} has batches, and is none of the draw's");
        let draw = self.draw;
        self.agencies.get_mut(&agency).ok_or_else(|| EngineError::Damaged { draw, what: what() })
    }

    fn batch(&mut self, row: &BatchRow<'_>) -> Result<(), EngineError> {
        let of = |what: &str| EngineError::in_batch(self.draw, row.agency, row.batch, what);
        if crc32c::crc32c(row.rows) != row.crc.cast_unsigned() {
            return Err(of("its rows are not those stored: their CRC-32C is another"));
        }
        if count_rows(row.rows) as u64 != row.bets {
            return Err(of("it has another number of rows than of bets"));
        }
        let draw = self.draw;
        let found = &mut self.agency(row.agency)?.found;
        if row.batch != found.batches {
            let what = "it is missing, and later ones are there";
            return Err(EngineError::in_batch(draw, row.agency, found.batches, what));
        }
        found.batches += 1;
        found.bets += row.bets;
        self.rows_bytes += row.rows.len() as u64;
        Ok(())
    }

    /// There are no more batches: compares the counts.
    fn end(self) -> Result<CheckedDraw, EngineError> {
        let draw = self.draw;
        let damaged = |what: String| Err(EngineError::Damaged { draw, what });
        let mut in_draw = 0;
        for (id, Audited { said, found }) in &self.agencies {
            if (said.batches, said.bets) != (found.batches, found.bets) {
                return damaged(format!(
                    "agency {id} has {} batches with {} bets, and its row says {} with {}",
                    found.batches, found.bets, said.batches, said.bets
                ));
            }
            if self.row.drawn && said.standing == Standing::Betting {
                return damaged(format!("it has been made, and agency {id} has not finished"));
            }
            in_draw += if said.standing == Standing::Finished { found.bets } else { 0 };
        }
        if self.row.drawn && self.row.bets != Some(in_draw) {
            let said = self.row.bets.map_or("none".to_owned(), |bets| bets.to_string());
            return damaged(format!("its agencies have {in_draw} bets, and its row says {said}"));
        }
        let drawn = self.row.drawn.then_some(self.row.winning_number);
        let agencies = self.agencies.into_iter().map(|(id, Audited { said, mut found })| {
            found.standing = said.standing;
            found.keep_winners_of_draw(drawn.is_some());
            (id, found)
        });
        let agencies = agencies.collect();
        let checked = Checked { agencies, drawn, rows_bytes: self.rows_bytes, ..Checked::default() };
        Ok(CheckedDraw { checked, held: self.row.held })
    }
}
