//! What a hub sends, as bytes; and what a server sends, in words that can be compared.

use crate::engine_model::{Reader, Uuid, put};

const FENCE: &str = "INSERT INTO loteria.instances (instance, name) VALUES ($1, $2)
ON CONFLICT (instance) DO UPDATE SET epoch = instances.epoch + 1, seen = now() RETURNING epoch, turn";
const LOCK: &str =
    "WITH l AS (SELECT 1 FROM loteria.instances WHERE instance = $1 AND epoch = $2 AND turn = $3 - 1 FOR UPDATE)
SELECT agency, batches, bets, standing FROM loteria.agencies
WHERE draw = $4 AND agency = ANY($5) AND EXISTS (SELECT FROM l) ORDER BY agency FOR UPDATE";
const COMPARE: &str = "SELECT b.agency, b.batch, b.bets, b.crc FROM loteria.batches b
JOIN unnest($2::int[], $3::bigint[]) AS asked(agency, batch) USING (agency, batch) WHERE b.draw = $1";
const WRITE: &str = "WITH a AS (
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
WHERE instance = $1 AND epoch = $2 AND turn = $3 - 1";
const SURVEY_DRAW: &str =
    "SELECT winning_number, left(held, 300), drawn_at IS NOT NULL FROM loteria.draws WHERE draw = $1";
const SURVEY_AGENCIES: &str =
    "SELECT agency, batches, bets, standing FROM loteria.agencies WHERE draw = $1 ORDER BY agency";
const WINNERS: &str = "SELECT b.agency, b.winners FROM loteria.batches b JOIN loteria.agencies a USING (draw, agency)
WHERE b.draw = $1 AND b.winners IS NOT NULL AND a.standing = 'finished' ORDER BY b.agency, b.batch";
const LEASE: &str = "WITH here AS (
  SELECT agency FROM loteria.agencies WHERE draw = $1 AND agency = ANY($2) AND standing = 'betting' AND bets > 0
    AND coalesce(seen, '-infinity') < now() - $3 * interval '1 ms' FOR UPDATE SKIP LOCKED),
lost AS (
  SELECT agency FROM loteria.agencies WHERE draw = $1 AND agency <> ALL($2) AND standing = 'betting' AND bets > 0
    AND coalesce(seen, '-infinity') < now() - $4 * interval '1 ms' AND extract(epoch FROM now()) * 1000 < $5
    AND EXISTS (SELECT FROM loteria.draws WHERE draw = $1 AND held IS NULL) FOR UPDATE SKIP LOCKED),
r AS (UPDATE loteria.agencies g SET seen = now() FROM here WHERE g.draw = $1 AND g.agency = here.agency),
x AS (UPDATE loteria.agencies g SET standing = 'excluded' FROM lost WHERE g.draw = $1 AND g.agency = lost.agency RETURNING 1)
SELECT (extract(epoch FROM now()) * 1000)::bigint, (SELECT count(*) FROM x)";
const DRAW: &str = "WITH d AS (
  UPDATE loteria.draws d SET drawn_at = now(), drawn_by = $2,
         bets = (SELECT sum(bets) FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'finished')
  WHERE d.draw = $1 AND d.drawn_at IS NULL AND d.held IS NULL
    AND NOT EXISTS (SELECT FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'betting')
    AND EXISTS (SELECT FROM loteria.agencies a WHERE a.draw = d.draw AND a.standing = 'finished')
  RETURNING draw)
SELECT pg_notify('loteria', draw::text) FROM d";

/// What is prepared on each connection: name, text, and types of the parameters.
pub const PREPARED: [(&str, &str, &[i32]); 9] = [
    ("fence", FENCE, &[UUID, TEXT]),
    ("lock", LOCK, &[UUID, INT8, INT8, INT4, INT4S]),
    ("compare", COMPARE, &[INT4, INT4S, INT8S]),
    ("write", WRITE, &WRITE_PARAMETERS),
    ("survey_draw", SURVEY_DRAW, &[INT4]),
    ("survey_agencies", SURVEY_AGENCIES, &[INT4]),
    ("winners", WINNERS, &[INT4]),
    ("lease", LEASE, &[INT4, INT4S, INT8, INT8, INT8]),
    ("draw", DRAW, &[INT4, UUID]),
];
const WRITE_PARAMETERS: [i32; 15] =
    [UUID, INT8, INT8, INT4, INT4S, INT8S, INT8S, INT8S, BOOLS, INT4S, INT8S, INT4S, INT4S, TEXTS, TEXTS];

/// OIDs of types: <https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_type.dat>.
const INT4: i32 = 23;
const INT8: i32 = 20;
const BOOL: i32 = 16;
const TEXT: i32 = 25;
const UUID: i32 = 2950;
const BOOLS: i32 = 1000;
const INT4S: i32 = 1007;
const TEXTS: i32 = 1009;
const INT8S: i32 = 1016;

/// What a turn does to one agency.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub agency: i32,
    /// The number of its first batch; -1: what comes next.
    pub first: i64,
    pub batches: i64,
    pub bets: i64,
    pub finishes: bool,
}

/// One batch of a turn.
#[derive(Clone, Debug)]
pub struct Batch {
    pub agency: i32,
    pub nth: i64,
    pub bets: i32,
    pub rows: String,
    pub winners: String,
}

/// A turn.
#[derive(Clone, Debug)]
pub struct Turn {
    pub instance: Uuid,
    pub epoch: i64,
    pub number: i64,
    pub draw: i32,
    pub heads: Vec<Head>,
    pub batches: Vec<Batch>,
    /// Agencies that are read and have no head.
    pub looks: Vec<i32>,
    /// Batches to compare: agency and number.
    pub compared: Vec<(i32, i64)>,
}

/// The first message of a connection.
pub fn start_up(options: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    for (name, value) in [("user", "loteria"), ("database", "postgres")].iter().chain(options) {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    let length = i32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

/// Prepares all statements.
pub fn prepare() -> Vec<u8> {
    let mut out = Vec::new();
    for (name, sql, types) in PREPARED {
        let mut body = [name.as_bytes(), b"\0", sql.as_bytes(), b"\0"].concat();
        body.extend(i16::try_from(types.len()).unwrap().to_be_bytes());
        types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        put(&mut out, b'P', &body);
    }
    sync(&mut out);
    out
}

pub fn sync(out: &mut Vec<u8>) {
    put(out, b'S', &[]);
}

fn flush(out: &mut Vec<u8>) {
    put(out, b'H', &[]);
}

fn bind(out: &mut Vec<u8>, portal: &str, statement: &str, params: &[Vec<u8>]) {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &[0, 1, 0, 1]].concat();
    body.extend(i16::try_from(params.len()).unwrap().to_be_bytes());
    for param in params {
        body.extend(i32::try_from(param.len()).unwrap().to_be_bytes());
        body.extend(param);
    }
    body.extend([0, 1, 0, 1]);
    put(out, b'B', &body);
}

fn execute(out: &mut Vec<u8>, portal: &str) {
    put(out, b'E', &[portal.as_bytes(), &[0; 5]].concat());
}

/// One statement, as a transaction of its own.
fn alone(statement: &str, params: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    bind(&mut out, "", statement, params);
    execute(&mut out, "");
    sync(&mut out);
    out
}

fn array<T>(oid: i32, items: &[T], each: impl Fn(&T) -> Vec<u8>) -> Vec<u8> {
    let mut out = [i32::from(!items.is_empty()), 0, oid].map(i32::to_be_bytes).concat();
    if items.is_empty() {
        return out;
    }
    out.extend([i32::try_from(items.len()).unwrap(), 1].map(i32::to_be_bytes).concat());
    for item in items {
        let bytes = each(item);
        out.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend(bytes);
    }
    out
}

fn int4(value: i32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn int8(value: i64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

pub fn fence(instance: &Uuid) -> Vec<u8> {
    alone("fence", &[instance.to_vec(), b"a hub".to_vec()])
}

pub fn of_draw(statement: &str, draw: i32) -> Vec<u8> {
    alone(statement, &[int4(draw)])
}

pub fn draw(draw: i32, instance: &Uuid) -> Vec<u8> {
    alone("draw", &[int4(draw), instance.to_vec()])
}

/// Renews the leases of agencies, and excludes others whose lease is older than `grace` milliseconds, if it is before this moment.
pub fn lease(draw: i32, here: &[i32], grace: i64, exclude_before: i64) -> Vec<u8> {
    let here = array(INT4, here, |agency| int4(*agency));
    alone("lease", &[int4(draw), here, int8(0), int8(grace), int8(exclude_before)])
}

/// A simple query.
pub fn query(sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, b'Q', &[sql.as_bytes(), b"\0"].concat());
    out
}

impl Turn {
    /// In the three parts between which a test may do something else. The first two end with a `Flush`, so that their answers
    /// come.
    pub fn parts(&self) -> [Vec<u8>; 3] {
        let [mut first, mut second, third] = self.messages();
        flush(&mut first);
        flush(&mut second);
        [first, second, third]
    }

    fn messages(&self) -> [Vec<u8>; 3] {
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        bind(&mut first, "w", "write", &self.write_params());
        // As the hub: one that has no agencies locks only what `write` writes.
        if !self.heads.is_empty() || !self.looks.is_empty() {
            self.put_lock(&mut first);
        }
        if !self.compared.is_empty() {
            let asked = [
                int4(self.draw),
                array(INT4, &self.compared, |(agency, _)| int4(*agency)),
                array(INT8, &self.compared, |(_, number)| int8(*number)),
            ];
            bind(&mut first, "", "compare", &asked);
            execute(&mut first, "");
        }
        execute(&mut second, "w");
        sync(&mut third);
        [first, second, third]
    }

    /// Only its locks, so that a test can make circles of them.
    pub fn locks(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_lock(&mut out);
        flush(&mut out);
        out
    }

    /// As a hub sends it.
    pub fn bytes(&self) -> Vec<u8> {
        self.messages().concat()
    }

    fn put_lock(&self, out: &mut Vec<u8>) {
        let mut agencies: Vec<i32> =
            self.heads.iter().map(|head| head.agency).chain(self.looks.iter().copied()).collect();
        agencies.sort_unstable();
        agencies.dedup();
        let lock = [
            self.instance.to_vec(),
            int8(self.epoch),
            int8(self.number),
            int4(self.draw),
            array(INT4, &agencies, |agency| int4(*agency)),
        ];
        bind(out, "", "lock", &lock);
        execute(out, "");
    }

    fn write_params(&self) -> Vec<Vec<u8>> {
        let crc = |batch: &Batch| crc32c::crc32c(batch.rows.as_bytes()).cast_signed();
        vec![
            self.instance.to_vec(),
            int8(self.epoch),
            int8(self.number),
            int4(self.draw),
            array(INT4, &self.heads, |head| int4(head.agency)),
            array(INT8, &self.heads, |head| int8(head.first)),
            array(INT8, &self.heads, |head| int8(head.batches)),
            array(INT8, &self.heads, |head| int8(head.bets)),
            array(BOOL, &self.heads, |head| vec![u8::from(head.finishes)]),
            array(INT4, &self.batches, |batch| int4(batch.agency)),
            array(INT8, &self.batches, |batch| int8(batch.nth)),
            array(INT4, &self.batches, |batch| int4(batch.bets)),
            array(INT4, &self.batches, |batch| int4(crc(batch))),
            array(TEXT, &self.batches, |batch| batch.rows.clone().into_bytes()),
            array(TEXT, &self.batches, |batch| batch.winners.clone().into_bytes()),
        ]
    }
}

/// A message of a server in words, without what differs between servers: texts for people, numbers of processes.
pub fn in_words(tag: u8, body: &[u8]) -> String {
    match tag {
        b'1' => "parsed".to_owned(),
        b'2' => "bound".to_owned(),
        b'Z' => "ready".to_owned(),
        b'C' => String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(body)).into_owned(),
        b'D' => {
            let mut reader = Reader(body);
            let count = reader.i16().unwrap();
            let value = |value: Option<&[u8]>| match value {
                None => "NULL".to_owned(),
                Some(bytes) if is_clock(bytes) => "the clock".to_owned(),
                Some(bytes) => bytes.escape_ascii().to_string(),
            };
            let row: Vec<String> = (0..count).map(|_| value(reader.value().unwrap())).collect();
            format!("row {row:?}")
        }
        b'E' | b'N' => {
            let mut reader = Reader(body);
            let mut words = Vec::new();
            while let Ok(kind) = reader.u8() {
                if kind == 0 {
                    break;
                }
                let text = reader.text().unwrap();
                if matches!(kind, b'V' | b'C' | b'n') {
                    words.push(text);
                }
            }
            format!("report {}", words.join(" "))
        }
        b'T' => format!("{} columns", Reader(body).i16().unwrap()),
        b'A' => format!("notification {}", body[4..].escape_ascii()),
        other => format!("{} {body:?}", char::from(other)),
    }
}

/// Whether it is a number as milliseconds since 1970 are, which nothing else here is.
fn is_clock(value: &[u8]) -> bool {
    value.try_into().is_ok_and(|bytes| (1_000_000_000_000..10_000_000_000_000).contains(&i64::from_be_bytes(bytes)))
}
