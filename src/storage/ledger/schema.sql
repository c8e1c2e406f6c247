-- The schema of a draw that several hubs share. A person runs it once, as the database's owner, after the hubs' role was made:
--
--   server --schema | psql -d loteria
--
-- The hub never changes it.

CREATE SCHEMA loteria;
SET search_path = loteria;

-- One row: which schema this is. A hub refuses another format.
CREATE TABLE format (version int PRIMARY KEY CHECK (version = 1));
INSERT INTO format VALUES (1);

CREATE TABLE draws (
  draw           int PRIMARY KEY,
  winning_number bigint NOT NULL,           -- a number of 32 bits without a sign
  created_at     timestamptz NOT NULL DEFAULT now(),
  held           text,                      -- why the draw is not made; NULL: nothing is wrong. A person clears it
  drawn_at       timestamptz,
  drawn_by       uuid,
  bets           bigint
);

CREATE TABLE agencies (
  draw     int NOT NULL REFERENCES draws,
  agency   int NOT NULL,
  batches  bigint NOT NULL DEFAULT 0,       -- also the number of its next batch
  bets     bigint NOT NULL DEFAULT 0,
  standing text NOT NULL DEFAULT 'betting' CHECK (standing IN ('betting', 'finished', 'excluded')),
  seen     timestamptz,                     -- the last time an instance stored something of it, or said that it is there
  PRIMARY KEY (draw, agency)
) WITH (fillfactor = 20);

-- One row for each run of a hub's server.
CREATE TABLE instances (
  instance uuid PRIMARY KEY,
  epoch    bigint NOT NULL DEFAULT 1,       -- rises with every connection: what an earlier one left behind is void
  turn     bigint NOT NULL DEFAULT 0,       -- the last turn that is whole
  whole    boolean NOT NULL DEFAULT true CONSTRAINT turn_is_whole CHECK (whole),
  name     text,
  seen     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

CREATE TABLE batches (
  draw     int NOT NULL,
  agency   int NOT NULL,
  batch    bigint NOT NULL,
  bets     int NOT NULL CHECK (bets > 0),
  crc      int NOT NULL,                    -- CRC-32C of rows, its 32 bits as a number with a sign
  rows     text NOT NULL,                   -- as bets.csv has them
  winners  text,                            -- those of the rows that are on the winning number
  instance uuid NOT NULL,
  turn     bigint NOT NULL,
  PRIMARY KEY (draw, agency, batch)
);
ALTER TABLE batches ALTER rows SET STORAGE EXTERNAL;
CREATE INDEX winners ON batches (draw, agency, batch) WHERE winners IS NOT NULL;

-- A row a bet, for people: SELECT * FROM loteria.bets WHERE agency = 3 AND number = 7574
CREATE VIEW bets AS
SELECT b.draw, b.agency, b.batch, t.n AS position, q.f[2] AS first_name, q.f[3] AS last_name,
       q.f[4] AS document, q.f[5]::date AS birthdate, q.f[6]::bigint AS number
FROM batches b,
LATERAL string_to_table(rtrim(b.rows, E'\r\n'), E'\r\n') WITH ORDINALITY AS t(line, n),
LATERAL (SELECT CASE WHEN strpos(t.line, '"') = 0 THEN string_to_array(t.line, ',')
  ELSE ARRAY(SELECT coalesce(replace(m[1], '""', '"'), m[2])
             FROM regexp_matches(t.line, '(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))', 'g') AS m) END AS f) q;

-- The hubs' role can add bets, and change or delete none. A role of another name needs the same rights.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'loteria') THEN
    GRANT USAGE ON SCHEMA loteria TO loteria;
    GRANT SELECT ON ALL TABLES IN SCHEMA loteria TO loteria;
    GRANT INSERT ON draws, agencies, instances, batches TO loteria;
    GRANT UPDATE ON draws, agencies, instances TO loteria;
  ELSE
    RAISE WARNING 'there is no role loteria: grant the rights at the end of the schema to the role of the hubs';
  END IF;
END $$;

-- For those who only read:
--
--   GRANT USAGE ON SCHEMA loteria TO auditor;
--   GRANT SELECT ON ALL TABLES IN SCHEMA loteria TO auditor;
