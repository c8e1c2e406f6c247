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
  seen     timestamptz,                     -- the last time an instance stored something of it
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
