//! `loteria winners`: from a running hub, or from what is stored.

use std::io::{self, Write};
use std::path::Path;

use super::ask::{parsed, refused, report};
use super::failure::Failure;
use super::http::Hub;
use super::place::Place;
use super::source::Source;
use super::text::{clean, counted};
use crate::limits::WINNERS_ASKED_MAX;
use crate::lottery::AgencyId;
use crate::status::report::{VERSION, Winner, Winners};
use crate::storage::{DrawnWinners, Waiting, check, drawn_winners};

/// Said before the draw.
const NOT_DRAWN: &str = "the draw has not been made, so there are no winners yet";

/// How winners are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table for a person.
    Table,
    /// A header, then a row a winner (RFC 4180).
    Csv,
    /// As the hub's `/winners.json`.
    Json,
}

/// Whose winners are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WinnersOf {
    /// The draw of the engine's that the configuration names; `None`: it names none.
    pub draw: Option<i32>,
    /// One agency; `None`: all.
    pub agency: Option<u32>,
}

/// Prints the winners of all agencies, or of one. A running hub is asked; where none runs, or `place` is `None`, what is stored
/// is read: `stored` says where that is, or that it is not known.
///
/// # Errors
/// The draw has not been made, or the hub is of another one; neither hub nor stored bets are there; they are damaged.
pub fn winners<N: Waiting>(
    place: Option<&Place>,
    stored: impl FnOnce() -> Result<Option<Source<N>>, Failure>,
    of: WinnersOf,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let agency = of.agency;
    let asked = place.map_or(Err(Failure::NoSocket), |place| {
        let hub = place.hub()?;
        of.draw.map_or(Ok(()), |draw| serves(&hub, draw))?;
        ask(&hub, agency)
    });
    let found = match asked {
        Err(away @ (Failure::NotRunning { .. } | Failure::NoSocket)) => match stored()? {
            Some(source) => read(source, agency)?,
            None => return Err(away),
        },
        asked => asked?,
    };
    print(&found, format, out).map_err(Failure::Output)
}

/// A hub goes on with the draw of its start, whatever its configuration says by now.
fn serves(hub: &Hub, draw: i32) -> Result<(), Failure> {
    match report(hub)?.engine.filter(|engine| engine.draw != draw) {
        Some(other) => {
            let other = other.draw;
            let why = format!("the hub serves draw {other}, and [LOTTERY] DRAW is {draw}; --stored reads draw {draw}");
            Err(Failure::Answer(why))
        }
        None => Ok(()),
    }
}

/// The winners of a running hub, which it tells in parts.
fn ask(hub: &Hub, agency: Option<u32>) -> Result<Winners, Failure> {
    let mut all = part(hub, agency, 0)?;
    while all.left_out > 0 {
        let next = part(hub, agency, all.winners.len())?;
        all.left_out = if next.winners.is_empty() { 0 } else { next.left_out };
        all.winners.extend(next.winners);
        if all.winners.len() > WINNERS_ASKED_MAX {
            let many = format!("the hub has more than {WINNERS_ASKED_MAX} winners; ask for one agency");
            return Err(Failure::Answer(many));
        }
    }
    all.winners.retain(|winner| agency.is_none_or(|id| winner.agency == id));
    Ok(all)
}

/// The winners without the first `from` ones, as many as the hub tells at once.
fn part(hub: &Hub, agency: Option<u32>, from: usize) -> Result<Winners, Failure> {
    let agency_asked = agency.is_some();
    let agency = agency.map(|id| format!("agency={id}"));
    let from = (from > 0).then(|| format!("from={from}"));
    let query = [agency, from].into_iter().flatten().collect::<Vec<_>>().join("&");
    let path = if query.is_empty() { "/winners.json".to_owned() } else { format!("/winners.json?{query}") };
    let answer = hub.get(&path)?;
    match answer.status {
        200 => parsed(&path, &answer),
        409 => Err(Failure::Answer(NOT_DRAWN.to_owned())),
        // An agency that is not of this draw.
        404 if agency_asked && !answer.line().is_empty() => Err(Failure::Answer(answer.line())),
        _ => Err(refused(&path, &answer)),
    }
}

/// The winners that are stored.
fn read<N: Waiting>(source: Source<N>, agency: Option<u32>) -> Result<Winners, Failure> {
    let name = clean(source.name());
    let found = match source {
        Source::Files(store) => read_files(&store, agency)?,
        Source::Engine(mut reader, _) => drawn_winners(&mut reader, agency.map(AgencyId))?,
    };
    let DrawnWinners { winning_number, winners } =
        found.ok_or_else(|| Failure::Answer(format!("{name}: {NOT_DRAWN}")))?;
    let winners = winners.iter().map(|(id, bet)| Winner::new(*id, bet)).collect();
    Ok(Winners { version: VERSION, left_out: 0, winning_number, winners })
}

/// The winning number and the winners in a store of files; `None` before the draw.
fn read_files(store: &Path, agency: Option<u32>) -> Result<Option<DrawnWinners>, Failure> {
    let checked = check(store, |_, _| {})?;
    let Some(winning_number) = checked.drawn else { return Ok(None) };
    // Every agency of the draw has finished or was excluded, so that the store has something of it.
    if let Some(id) = agency.filter(|id| checked.agencies.iter().all(|(known, _)| known.0 != *id)) {
        return Err(Failure::Answer(format!("{}: agency {id} is not of this draw", clean(store.display()))));
    }
    let agencies = checked.agencies.into_iter().filter(|(id, _)| agency.is_none_or(|only| id.0 == only));
    let winners = agencies.flat_map(|(id, agency)| agency.winners.into_iter().map(move |bet| (id, bet)));
    Ok(Some(DrawnWinners { winning_number, winners: winners.collect() }))
}

fn print(found: &Winners, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, found)?;
            writeln!(out)
        }
        Format::Csv => {
            let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
            rows.write_record(["agency", "first_name", "last_name", "document", "birthdate", "number"])?;
            for winner in &found.winners {
                let (agency, number) = (winner.agency.to_string(), found.winning_number.to_string());
                let Winner { first_name, last_name, document, birthdate, .. } = winner;
                rows.write_record([&agency, first_name, last_name, document, birthdate, &number])?;
            }
            rows.flush()
        }
        Format::Table => {
            let count = counted(found.winners.len() as u64, "winner", "winners");
            writeln!(out, "winning number {}: {count}", found.winning_number)?;
            if !found.winners.is_empty() {
                writeln!(out, "{:>8}  {:<10}  {:<10}  name", "agency", "document", "birthdate")?;
            }
            for winner in &found.winners {
                let name = clean(format!("{} {}", winner.first_name, winner.last_name));
                let (document, birthdate) = (clean(&winner.document), clean(&winner.birthdate));
                writeln!(out, "{:>8}  {document:<10}  {birthdate:<10}  {name}", winner.agency)?;
            }
            Ok(())
        }
    }
}
