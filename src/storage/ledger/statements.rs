//! The statements that the hub prepares, and their parameters in PostgreSQL's binary format.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend::{self, BindError};
use postgres_protocol::{IsNull, Oid};

use super::leases::{self, Leases};
use super::work::Work;
use crate::limits;
use crate::lottery::AgencyId;

const BOOLS: Oid = 1000;
const INTS: Oid = 1007;
const TEXTS: Oid = 1009;
const LONGS: Oid = 1016;
const BOOL: Oid = 16;
const LONG: Oid = 20;
const INT: Oid = 23;
const TEXT: Oid = 25;
const UUID: Oid = 2950;

/// Parameters and results are in binary (1), all of them.
const BINARY: [i16; 1] = [1];

/// The portal to which `write` is bound before the agencies are locked: a megabyte of rows must not come under locks.
const WRITE_PORTAL: &str = "w";

/// A statement that is prepared on every connection.
pub(super) struct Statement {
    pub name: &'static str,
    sql: &'static str,
    parameters: &'static [Oid],
}

/// All of them. `write` and `lock` are two on purpose: each statement has a snapshot of its own, so that `write`, which begins
/// when `lock` holds the rows, sees them as they are.
pub(super) const PREPARED: [Statement; 10] = [
    Statement {
        name: "fence",
        sql: "INSERT INTO loteria.instances (instance, name) VALUES ($1, $2)
ON CONFLICT (instance) DO UPDATE SET epoch = instances.epoch + 1, seen = now() RETURNING epoch, turn",
        parameters: &[UUID, TEXT],
    },
    // The instance first, then the agencies by number: turns of two instances never wait for each other in a circle.
    Statement {
        name: "lock",
        sql:
            "WITH l AS (SELECT 1 FROM loteria.instances WHERE instance = $1 AND epoch = $2 AND turn = $3 - 1 FOR UPDATE)
SELECT agency, batches, bets, standing FROM loteria.agencies
WHERE draw = $4 AND agency = ANY($5) AND EXISTS (SELECT FROM l) ORDER BY agency FOR UPDATE",
        parameters: &[UUID, LONG, LONG, INT, INTS],
    },
    Statement {
        name: "compare",
        sql: "SELECT b.agency, b.batch, b.bets, b.crc FROM loteria.batches b
JOIN unnest($2::int[], $3::bigint[]) AS asked(agency, batch) USING (agency, batch) WHERE b.draw = $1",
        parameters: &[INT, INTS, LONGS],
    },
    Statement {
        name: "write",
        sql: "WITH a AS (
  UPDATE loteria.agencies g SET batches = g.batches + h.n, bets = g.bets + h.bets, seen = now(),
         standing = CASE WHEN h.finishes THEN 'finished' ELSE g.standing END
  FROM unnest($5::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bool[]) AS h(agency, first, n, bets, finishes)
  WHERE g.draw = $4 AND g.agency = h.agency AND (h.first < 0 OR g.batches = h.first) AND g.standing = 'betting'
    AND EXISTS (SELECT FROM loteria.instances WHERE instance = $1 AND epoch = $2 AND turn = $3 - 1)
  RETURNING g.agency, g.batches - h.n AS first),
i AS (
  INSERT INTO loteria.batches (draw, agency, batch, bets, crc, rows, winners, instance, turn)
  SELECT $4, b.agency, a.first + b.nth, b.bets, b.crc, b.rows, nullif(b.winners, ''), $1, $3
  FROM unnest($10::int[], $11::bigint[], $12::int[], $13::int[], $14::text[], $15::text[])
       AS b(agency, nth, bets, crc, rows, winners)
  JOIN a USING (agency))
UPDATE loteria.instances SET turn = $3, whole = ((SELECT count(*) FROM a) = cardinality($5::int[])), seen = now()
WHERE instance = $1 AND epoch = $2 AND turn = $3 - 1",
        parameters: &[UUID, LONG, LONG, INT, INTS, LONGS, LONGS, LONGS, BOOLS, INTS, LONGS, INTS, INTS, TEXTS, TEXTS],
    },
    Statement {
        name: "survey_draw",
        sql: "SELECT winning_number, left(held, 300), drawn_at IS NOT NULL FROM loteria.draws WHERE draw = $1",
        parameters: &[INT],
    },
    Statement {
        name: "survey_agencies",
        sql: "SELECT agency, batches, bets, standing FROM loteria.agencies WHERE draw = $1 ORDER BY agency",
        parameters: &[INT],
    },
    // A row that a turn has locked is skipped: the turn renews it. So this waits for no lock, while it holds some.
    Statement {
        name: "lease",
        sql: "WITH here AS (
  SELECT agency FROM loteria.agencies WHERE draw = $1 AND agency = ANY($2) AND standing = 'betting' AND bets > 0
    AND coalesce(seen, '-infinity') < now() - $3 * interval '1 ms' FOR UPDATE SKIP LOCKED),
lost AS (
  SELECT agency FROM loteria.agencies WHERE draw = $1 AND agency <> ALL($2) AND standing = 'betting' AND bets > 0
    AND coalesce(seen, '-infinity') < now() - $4 * interval '1 ms' AND extract(epoch FROM now()) * 1000 < $5
    AND EXISTS (SELECT FROM loteria.draws WHERE draw = $1 AND held IS NULL) FOR UPDATE SKIP LOCKED),
r AS (UPDATE loteria.agencies g SET seen = now() FROM here WHERE g.draw = $1 AND g.agency = here.agency),
x AS (UPDATE loteria.agencies g SET standing = 'excluded' FROM lost WHERE g.draw = $1 AND g.agency = lost.agency RETURNING 1)
SELECT (extract(epoch FROM now()) * 1000)::bigint, (SELECT count(*) FROM x)",
        parameters: &[INT, INTS, LONG, LONG, LONG],
    },
    // There is a row for each run of a hub's server, and earlier runs are of no interest: of each name the last one counts. Machines
    // that are copies of one may share a name: those that were seen just now are hubs of their own.
    Statement {
        name: "survey_instances",
        sql: "SELECT instance = $1, left(name, 64), turn, (extract(epoch FROM now() - seen) * 1000)::bigint
FROM (SELECT *, max(seen) OVER (PARTITION BY name) AS last FROM loteria.instances WHERE seen > now() - interval '1 day') AS i
WHERE seen = last OR seen > now() - interval '5 s' ORDER BY seen DESC LIMIT $2",
        parameters: &[UUID, INT],
    },
    Statement {
        name: "winners",
        sql: "SELECT b.agency, b.winners FROM loteria.batches b JOIN loteria.agencies a USING (draw, agency)
WHERE b.draw = $1 AND b.winners IS NOT NULL AND a.standing = 'finished' ORDER BY b.agency, b.batch",
        parameters: &[INT],
    },
    Statement {
        name: "draw",
        sql: "WITH d AS (
  UPDATE loteria.draws d SET drawn_at = now(), drawn_by = $2,
         bets = (SELECT sum(bets) FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'finished')
  WHERE d.draw = $1 AND d.drawn_at IS NULL AND d.held IS NULL
    AND NOT EXISTS (SELECT FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'betting')
    AND EXISTS (SELECT FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'finished')
  RETURNING draw)
SELECT pg_notify('loteria', draw::text) FROM d",
        parameters: &[INT, UUID],
    },
];

/// Whose turn it is: the instance, and the epoch of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub instance: [u8; 16],
    pub epoch: i64,
    pub draw: i32,
}

/// Has the engine prepare all statements.
pub(super) fn prepare_all(out: &mut BytesMut) {
    for statement in &PREPARED {
        frontend::parse(statement.name, statement.sql, statement.parameters.iter().copied(), out)
            .expect("the statements have no zero bytes");
    }
    frontend::sync(out);
}

/// Begins an epoch.
pub(super) fn fence(instance: &[u8; 16], name: &str, out: &mut BytesMut) {
    bind("", "fence", 2, out, |parameter, out| match parameter {
        1 => out.put_slice(instance),
        _ => out.put_slice(name.as_bytes()),
    });
    execute("", out);
    frontend::sync(out);
}

/// Locks the agencies of a turn and reads them.
pub(super) fn lock(sender: &Sender, turn: i64, agencies: impl Iterator<Item = AgencyId> + Clone, out: &mut BytesMut) {
    bind("", "lock", 5, out, |parameter, out| match parameter {
        1..=4 => put_sender(sender, turn, parameter, out),
        _ => put_ints(agencies.clone().map(number), out),
    });
    execute("", out);
}

/// Reads the batches that a turn asks about.
pub(super) fn compare(draw: i32, work: &Work, out: &mut BytesMut) {
    let asks = || work.asks.iter();
    bind("", "compare", 3, out, |parameter, out| match parameter {
        1 => out.put_i32(draw),
        2 => put_ints(asks().map(|ask| number(ask.agency)), out),
        _ => put_longs(asks().map(|ask| i64::try_from(ask.sequence).unwrap_or(i64::MAX)), out),
    });
    execute("", out);
}

/// Hands over what a turn writes: it goes first. [`write`] has it done.
pub(super) fn bind_write(sender: &Sender, turn: i64, work: &Work, out: &mut BytesMut) {
    let (heads, batches) = (|| work.heads.iter(), || work.batches.iter());
    out.reserve(work.rows.len() + work.winners.len() + 64 * work.batches.len() + 512);
    bind(WRITE_PORTAL, "write", 15, out, |parameter, out| match parameter {
        1..=4 => put_sender(sender, turn, parameter, out),
        5 => put_ints(heads().map(|head| number(head.agency)), out),
        6 => put_longs(heads().map(|head| head.first), out),
        7 => put_longs(heads().map(|head| head.batches), out),
        8 => put_longs(heads().map(|head| head.bets), out),
        9 => put_bools(heads().map(|head| head.finishes), out),
        10 => put_ints(batches().map(|batch| number(batch.agency)), out),
        11 => put_longs(batches().map(|batch| batch.nth), out),
        12 => put_ints(batches().map(|batch| batch.bets.cast_signed()), out),
        13 => put_ints(batches().map(|batch| batch.checksum.cast_signed()), out),
        14 => put_elements(TEXT, batches().len(), &work.rows, out),
        _ => put_elements(TEXT, batches().len(), &work.winners, out),
    });
}

/// Does what [`bind_write`] has handed over, and ends the turn.
pub(super) fn write(out: &mut BytesMut) {
    execute(WRITE_PORTAL, out);
    frontend::sync(out);
}

/// A statement whose only parameter is the draw.
pub(super) fn read_draw(statement: &str, draw: i32, out: &mut BytesMut) {
    bind("", statement, 1, out, |_, out| out.put_i32(draw));
    execute("", out);
}

/// Renews the leases of agencies that are here, and excludes those whose lease is older than `grace`, where the turn begins before
/// `exclude_before`.
pub(super) fn lease(draw: i32, leases: &Leases, grace: Option<Duration>, out: &mut BytesMut) {
    bind("", "lease", 5, out, |parameter, out| match parameter {
        1 => out.put_i32(draw),
        2 => put_ints(leases.here.iter().copied().map(number), out),
        3 => out.put_i64(leases::millis(limits::ENGINE_LEASE_RENEWAL)),
        4 => out.put_i64(grace.map_or(0, leases::millis)),
        _ => out.put_i64(leases.exclude_before(grace)),
    });
    execute("", out);
}

/// Reads the instances that were seen last.
pub(super) fn read_instances(sender: &Sender, out: &mut BytesMut) {
    bind("", "survey_instances", 2, out, |parameter, out| match parameter {
        1 => out.put_slice(&sender.instance),
        _ => out.put_i32(limits::ENGINE_INSTANCES_MAX),
    });
    execute("", out);
}

/// Makes the draw if it is due.
pub(super) fn draw(sender: &Sender, out: &mut BytesMut) {
    bind("", "draw", 2, out, |parameter, out| match parameter {
        1 => out.put_i32(sender.draw),
        _ => out.put_slice(&sender.instance),
    });
    execute("", out);
    frontend::sync(out);
}

fn put_sender(sender: &Sender, turn: i64, parameter: usize, out: &mut BytesMut) {
    match parameter {
        1 => out.put_slice(&sender.instance),
        2 => out.put_i64(sender.epoch),
        3 => out.put_i64(turn),
        _ => out.put_i32(sender.draw),
    }
}

fn bind(
    portal: &str,
    statement: &str,
    parameters: usize,
    out: &mut BytesMut,
    mut put: impl FnMut(usize, &mut BytesMut),
) {
    let put = |parameter, out: &mut BytesMut| {
        put(parameter, out);
        Ok(IsNull::No)
    };
    let bound = frontend::bind(portal, statement, BINARY, 1..=parameters, put, BINARY, out);
    assert!(
        !matches!(bound, Err(BindError::Conversion(_) | BindError::Serialization(_))),
        "a turn is much shorter than 2 GiB"
    );
}

fn execute(portal: &str, out: &mut BytesMut) {
    frontend::execute(portal, 0, out).expect("a portal's name has no zero byte");
}

/// An agency's number as the engine has it. Those that do not fit are refused at the start.
fn number(agency: AgencyId) -> i32 {
    agency.0.cast_signed()
}

/// An array of one dimension: dimensions, "has no NULL", the elements' type, how many, the first one's index; then the
/// elements. An empty one has no dimension.
fn put_header(element: Oid, count: usize, out: &mut BytesMut) {
    out.put_i32(i32::from(count > 0));
    out.put_i32(0);
    out.put_u32(element);
    if count > 0 {
        out.put_i32(i32::try_from(count).expect("a turn is much shorter than 2 GiB"));
        out.put_i32(1);
    }
}

fn put_ints(values: impl Iterator<Item = i32> + Clone, out: &mut BytesMut) {
    put_header(INT, values.clone().count(), out);
    for value in values {
        out.put_i32(4);
        out.put_i32(value);
    }
}

fn put_longs(values: impl Iterator<Item = i64> + Clone, out: &mut BytesMut) {
    put_header(LONG, values.clone().count(), out);
    for value in values {
        out.put_i32(8);
        out.put_i64(value);
    }
}

fn put_bools(values: impl Iterator<Item = bool> + Clone, out: &mut BytesMut) {
    put_header(BOOL, values.clone().count(), out);
    for value in values {
        out.put_i32(1);
        out.put_u8(u8::from(value));
    }
}

fn put_elements(element: Oid, count: usize, elements: &[u8], out: &mut BytesMut) {
    put_header(element, count, out);
    out.put_slice(elements);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::keep::Place;

    #[test]
    fn arrays_are_in_postgresqls_binary_format() {
        let mut out = BytesMut::new();
        put_ints([7, -1].into_iter(), &mut out);
        let expected: [i32; 9] = [1, 0, 23, 2, 1, 4, 7, 4, -1];
        assert_eq!(out[..], expected.map(i32::to_be_bytes).concat());
        out.clear();
        put_longs([].into_iter(), &mut out);
        assert_eq!(out[..], [0, 0, 20].map(i32::to_be_bytes).concat(), "an empty array has no dimension");
        out.clear();
        put_bools([true].into_iter(), &mut out);
        assert_eq!(out[20..], [0, 0, 0, 1, 1]);
    }

    #[test]
    fn the_rows_of_a_turn_go_before_its_locks() {
        let mut work = Work::default();
        work.add_batch((AgencyId(3), Place::Numbered(0)), 1, u32::MAX, b"3,Ana\r\n", b"");
        let sender = Sender { instance: [9; 16], epoch: 2, draw: 1 };
        let mut out = BytesMut::new();
        bind_write(&sender, 5, &work, &mut out);
        lock(&sender, 5, work.agencies(), &mut out);
        write(&mut out);
        let at = |what: &[u8]| memchr::memmem::find(&out, what).unwrap_or_else(|| panic!("{what:?}"));
        assert!(out.starts_with(b"B") && at(b"w\0write\0") < at(b"3,Ana\r\n") && at(b"3,Ana\r\n") < at(b"\0lock\0"));
        assert!(out.ends_with(b"S\0\0\0\x04"));
        // Fifteen parameters, the first of which is the instance.
        assert!(memchr::memmem::find(&out, &[[0, 15, 0, 0, 0, 16].as_slice(), &[9; 16]].concat()).is_some());
    }
}
