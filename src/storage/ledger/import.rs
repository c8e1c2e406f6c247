//! A store of files becomes a draw of the engine's, in one transaction: all of it is there afterwards, or nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::audit::{agency_rows, draw_row, number, winning_rows};
use super::keeper::uuid;
use super::network::Waiting;
use super::options::roster_of;
use super::reader::Reader;
use super::start::{make_draw, quoted};
use super::tool_error::EngineError;
use crate::lottery::{AgencyId, Standing};
use crate::storage::keep::Known;
use crate::storage::open::stopped::{StoppedStore, StoredBatch};

/// The columns of a batch, as the copy has them.
const COPY: &str = "COPY loteria.batches (draw, agency, batch, bets, crc, rows, winners, instance, turn) \
    FROM STDIN WITH (FORMAT binary)";

/// How a copy in binary begins: its signature, no flags, no extension.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// How it ends.
const COPY_END: [u8; 2] = (-1i16).to_be_bytes();

/// All batches of an import are of one turn.
const TURN: i64 = 1;

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Batches of all agencies.
    pub batches: u64,
    /// Their bets.
    pub bets: u64,
    /// The draw had been made.
    pub drawn: bool,
}

/// What was written of one agency: the checksum is over the numbers and checksums of its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    batches: u64,
    bets: u64,
    crc: u32,
}

impl Digest {
    fn add(&mut self, batch: u64, bets: u64, checksum: u32) {
        self.batches += 1;
        self.bets += bets;
        self.crc = crc32c::crc32c_append(self.crc, &batch.to_be_bytes());
        self.crc = crc32c::crc32c_append(self.crc, &checksum.to_be_bytes());
    }
}

/// Brings the batches of a store, with their numbers, its finishes, exclusions and draw into the draw of the reader's options,
/// which must have no bets. Everything is read again and compared before the one commit. `name` is the store's, for people who
/// look at the table of instances.
///
/// # Errors
/// Store and draw do not fit, and why; the store cannot be read; the engine refuses. Nothing has changed then, but for
/// [`EngineError::InDoubt`].
pub fn import_store<N: Waiting>(
    reader: &mut Reader<N>,
    store: &mut StoppedStore,
    name: &str,
) -> Result<Imported, EngineError> {
    let agencies = store.agencies();
    fits(reader, &agencies, store.drawn())?;
    reader.run("BEGIN")?;
    reader.run(&make_draw(reader.options()))?;
    check_empty(reader)?;
    let instance = uuid(&reader.options().instance);
    let name = quoted(&format!("import of {name}"));
    // It is no hub, and hubs are those that were seen lately.
    reader.run(&format!(
        "INSERT INTO loteria.instances (instance, turn, name, seen) VALUES ('{instance}', {TURN}, {name}, '-infinity')"
    ))?;
    let written = copy(reader, store)?;
    compare(reader, &written)?;
    set_agencies(reader, &agencies)?;
    if store.drawn().is_some() {
        set_drawn(reader, &instance)?;
    }
    reader.commit("COMMIT")?;
    let (batches, bets) = (agencies.iter().map(|it| it.batches).sum(), agencies.iter().map(|it| it.bets).sum());
    Ok(Imported { batches, bets, drawn: store.drawn().is_some() })
}

/// Whether the store can be the draw of these options.
fn fits<N: Waiting>(reader: &Reader<N>, agencies: &[Known], drawn: Option<u32>) -> Result<(), EngineError> {
    let options = reader.options();
    let wrong = |what: String| Err(EngineError::Import(what));
    let roster = &options.roster;
    if let Some(other) = agencies.iter().find(|it| !roster.contains(it.agency)) {
        let stored = roster_of(agencies.iter().map(|it| it.agency));
        return wrong(format!(
            "the store has bets or a finish of agency {}, and [LOTTERY] AGENCIES is {roster}: the store has agencies {stored}",
            other.agency
        ));
    }
    let Some(number) = drawn else { return Ok(()) };
    if number != options.winning_number {
        let ours = options.winning_number;
        return wrong(format!("the store's draw was made on {number}, and [LOTTERY] WINNING_NUMBER is {ours}"));
    }
    let ended = |id: &&AgencyId| agencies.iter().any(|it| it.agency == **id && it.standing != Standing::Betting);
    match roster.ids().iter().find(|id| !ended(id)) {
        Some(id) => {
            let stored = roster_of(agencies.iter().map(|it| it.agency));
            wrong(format!(
                "the store's draw was made without agency {id}: it has agencies {stored}, and [LOTTERY] AGENCIES is {roster}"
            ))
        }
        None => Ok(()),
    }
}

/// Locks the draw and its agencies, and looks whether the draw is as a start would make it.
fn check_empty<N: Waiting>(reader: &mut Reader<N>) -> Result<(), EngineError> {
    let draw = reader.options().draw;
    reader.run(&format!(
        "SELECT FROM loteria.draws WHERE draw = {draw} FOR UPDATE; \
         SELECT FROM loteria.agencies WHERE draw = {draw} ORDER BY agency FOR UPDATE"
    ))?;
    let (row, agencies) = (draw_row(reader)?, agency_rows(reader)?);
    let ids: Vec<AgencyId> = agencies.keys().copied().collect();
    reader.options().check_draw(i64::from(row.winning_number), &ids).map_err(EngineError::Mend)?;
    let mut stored = 0u64;
    let sql = format!("SELECT count(*) FROM (SELECT FROM loteria.batches WHERE draw = {draw} LIMIT 1) AS b");
    reader.query(&sql, |mut columns| {
        stored = number(&mut columns)?;
        Ok::<_, EngineError>(())
    })?;
    let betting = |standing| standing == Standing::Betting;
    let used = stored > 0 || agencies.values().any(|it| it.batches > 0 || !betting(it.standing));
    if used || row.drawn || row.held.is_some() {
        return Err(EngineError::Import(format!(
            "draw {draw} is in use: a store goes only into a draw without bets and finishes; give it another [LOTTERY] DRAW"
        )));
    }
    Ok(())
}

/// Copies all batches.
fn copy<N: Waiting>(
    reader: &mut Reader<N>,
    store: &mut StoppedStore,
) -> Result<BTreeMap<AgencyId, Digest>, EngineError> {
    let (draw, winning_number, instance) =
        (reader.options().draw, reader.options().winning_number, reader.options().instance);
    let mut written: BTreeMap<AgencyId, Digest> = BTreeMap::new();
    reader.begin_copy(COPY)?;
    reader.put(COPY_HEADER)?;
    let mut row = BytesMut::new();
    store.each_batch(|batch| {
        let StoredBatch { agency, sequence, bets, checksum, rows } = *batch;
        let won = winning_rows(agency, winning_number, rows, |_| {}).ok_or_else(|| {
            EngineError::Import(format!(
                "batch {sequence} of agency {agency} has a row that is another agency's, or not as hubs write them"
            ))
        })?;
        row.clear();
        row.put_i16(9);
        put(&mut row, &draw.to_be_bytes());
        put(&mut row, &agency.0.to_be_bytes());
        put(&mut row, &sequence.to_be_bytes());
        put(&mut row, &bets.to_be_bytes());
        put(&mut row, &checksum.to_be_bytes());
        put(&mut row, rows);
        if won.is_empty() {
            row.put_i32(-1);
        } else {
            put(&mut row, &won);
        }
        put(&mut row, &instance);
        put(&mut row, &TURN.to_be_bytes());
        written.entry(agency).or_default().add(sequence, u64::from(bets), checksum);
        reader.put(&row)
    })?;
    reader.put(&COPY_END)?;
    reader.end_copy()?;
    Ok(written)
}

/// A column of a copy. A batch's rows are much shorter than 2 GiB.
fn put(row: &mut BytesMut, column: &[u8]) {
    row.put_u32(u32::try_from(column.len()).unwrap_or(u32::MAX));
    row.put_slice(column);
}

/// Reads all batches again: their rows must be what the store has.
fn compare<N: Waiting>(reader: &mut Reader<N>, written: &BTreeMap<AgencyId, Digest>) -> Result<(), EngineError> {
    let draw = reader.options().draw;
    let sql =
        format!("SELECT agency, batch, bets, rows FROM loteria.batches WHERE draw = {draw} ORDER BY agency, batch");
    let mut read: BTreeMap<AgencyId, Digest> = BTreeMap::new();
    reader.query(&sql, |mut columns| {
        let (agency, batch, bets) = (AgencyId(number(&mut columns)?), number(&mut columns)?, number(&mut columns)?);
        let checksum = crc32c::crc32c(columns.next()?.unwrap_or_default());
        read.entry(agency).or_default().add(batch, bets, checksum);
        Ok::<_, EngineError>(())
    })?;
    let ids = written.keys().chain(read.keys());
    match ids.copied().find(|id| written.get(id) != read.get(id)) {
        Some(id) => Err(EngineError::Import(format!(
            "the engine has other batches of agency {id} than the store: nothing was imported"
        ))),
        None => Ok(()),
    }
}

/// Counts and standings.
fn set_agencies<N: Waiting>(reader: &mut Reader<N>, agencies: &[Known]) -> Result<(), EngineError> {
    if agencies.is_empty() {
        return Ok(());
    }
    let draw = reader.options().draw;
    let mut values = String::new();
    for known in agencies {
        let standing = match known.standing {
            Standing::Betting => "betting",
            Standing::Finished => "finished",
            Standing::Excluded => "excluded",
        };
        let separator = if values.is_empty() { "" } else { "," };
        let Known { agency, batches, bets, .. } = known;
        write!(values, "{separator}({agency},{batches},{bets},'{standing}')").expect("a String takes everything");
    }
    reader.run(&format!(
        "UPDATE loteria.agencies g SET batches = v.batches, bets = v.bets, standing = v.standing, seen = now() \
         FROM (VALUES {values}) AS v(agency, batches, bets, standing) WHERE g.draw = {draw} AND g.agency = v.agency"
    ))
}

fn set_drawn<N: Waiting>(reader: &mut Reader<N>, instance: &str) -> Result<(), EngineError> {
    let draw = reader.options().draw;
    reader.run(&format!(
        "UPDATE loteria.draws d SET drawn_at = now(), drawn_by = '{instance}', bets = (SELECT coalesce(sum(bets), 0) \
         FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'finished') WHERE draw = {draw}; \
         SELECT pg_notify('loteria', '{draw}')::text"
    ))
}
