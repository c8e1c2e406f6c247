SELECT string_agg(needed, ', '), current_setting('transaction_read_only') FROM unnest(ARRAY[
  'draws.draw integer', 'draws.winning_number bigint', 'draws.held text', 'draws.drawn_at timestamp with time zone',
  'draws.drawn_by uuid', 'draws.bets bigint',
  'agencies.draw integer', 'agencies.agency integer', 'agencies.batches bigint', 'agencies.bets bigint', 'agencies.standing text',
  'agencies.seen timestamp with time zone',
  'instances.instance uuid', 'instances.epoch bigint', 'instances.turn bigint', 'instances.whole boolean', 'instances.name text',
  'instances.seen timestamp with time zone',
  'batches.draw integer', 'batches.agency integer', 'batches.batch bigint', 'batches.bets integer', 'batches.crc integer',
  'batches.rows text', 'batches.winners text', 'batches.instance uuid', 'batches.turn bigint',
  'PRIMARY KEY (draw) on draws', 'PRIMARY KEY (draw, agency) on agencies', 'PRIMARY KEY (instance) on instances',
  'PRIMARY KEY (draw, agency, batch) on batches', 'turn_is_whole on instances',
  'SELECT on draws', 'SELECT on agencies', 'SELECT on instances', 'SELECT on batches',
  'INSERT on draws', 'INSERT on agencies', 'INSERT on instances', 'INSERT on batches',
  'UPDATE on draws', 'UPDATE on agencies', 'UPDATE on instances',
  'DISABLE ROW LEVEL SECURITY on draws', 'DISABLE ROW LEVEL SECURITY on agencies', 'DISABLE ROW LEVEL SECURITY on instances',
  'DISABLE ROW LEVEL SECURITY on batches'
]) AS needed WHERE needed NOT IN (
  SELECT relname || '.' || attname || ' ' || format_type(atttypid, NULL)
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'loteria'::regnamespace AND attnum > 0
  UNION ALL
  SELECT CASE contype WHEN 'p' THEN pg_get_constraintdef(k.oid) ELSE conname END || ' on ' || relname
  FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid WHERE relnamespace = 'loteria'::regnamespace
  UNION ALL
  SELECT granted || ' on ' || relname FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS granted
  WHERE relnamespace = 'loteria'::regnamespace AND relkind IN ('r', 'p') AND has_table_privilege(oid, granted)
  UNION ALL
  SELECT 'DISABLE ROW LEVEL SECURITY on ' || relname FROM pg_class
  WHERE relnamespace = 'loteria'::regnamespace AND relkind IN ('r', 'p') AND NOT row_security_active(oid)
)
