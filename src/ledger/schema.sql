CREATE SCHEMA IF NOT EXISTS pcrd;
CREATE TABLE IF NOT EXISTS pcrd.migration (
  id text PRIMARY KEY,
  format integer NOT NULL,
  epoch bigint NOT NULL,
  state text NOT NULL,
  source_system text NOT NULL,
  source_database_oid bigint NOT NULL,
  slot text NOT NULL,
  publication text NOT NULL,
  tables text[] NOT NULL,
  host text NOT NULL,
  pid integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  heartbeat_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);
CREATE TABLE IF NOT EXISTS pcrd.progress (
  migration text PRIMARY KEY REFERENCES pcrd.migration,
  epoch bigint NOT NULL,
  slot_lsn pg_lsn NOT NULL,
  slot_snapshot text NOT NULL,
  source_timeline bigint NOT NULL,
  applied_lsn pg_lsn NOT NULL,
  applied_xid bigint NOT NULL,
  discarded jsonb NOT NULL DEFAULT '[]',
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS pcrd.whole_copy (
  migration text REFERENCES pcrd.migration,
  tbl text,
  rows bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration, tbl)
);
CREATE TABLE IF NOT EXISTS pcrd.lane (
  migration text REFERENCES pcrd.migration,
  tbl text,
  lane integer,
  lo jsonb,
  hi jsonb,
  PRIMARY KEY (migration, tbl, lane)
);
CREATE TABLE IF NOT EXISTS pcrd.chunk (
  migration text,
  tbl text,
  lane integer,
  seq integer,
  lo jsonb,
  hi jsonb,
  snapshot text NOT NULL,
  lsn_hi pg_lsn NOT NULL,
  rows bigint NOT NULL,
  bytes bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration, tbl, lane, seq),
  FOREIGN KEY (migration, tbl, lane) REFERENCES pcrd.lane
);
CREATE TABLE IF NOT EXISTS pcrd.reread (
  migration text REFERENCES pcrd.migration,
  tbl text,
  key jsonb,
  snapshot text NOT NULL,
  lsn_hi pg_lsn NOT NULL,
  PRIMARY KEY (migration, tbl, key)
);
CREATE TABLE IF NOT EXISTS pcrd.frozen (
  migration text REFERENCES pcrd.migration,
  tbl text,
  col text,
  value text,
  PRIMARY KEY (migration, tbl, col)
);
CREATE TABLE IF NOT EXISTS pcrd.step (
  migration text REFERENCES pcrd.migration,
  step text,
  status text NOT NULL,
  epoch bigint NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (migration, step)
);
CREATE TABLE IF NOT EXISTS pcrd.request (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration text NOT NULL REFERENCES pcrd.migration,
  kind text NOT NULL,
  argument text,
  by text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  taken_at timestamptz,
  ended_at timestamptz,
  outcome text,
  ok boolean
);
CREATE TABLE IF NOT EXISTS pcrd.cutover (
  migration text PRIMARY KEY REFERENCES pcrd.migration,
  epoch bigint NOT NULL,
  state text NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  nonce_sha256 text,
  fence_lsn pg_lsn,
  sequences jsonb,
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS pcrd.hook (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration text NOT NULL REFERENCES pcrd.migration,
  epoch bigint NOT NULL,
  attempt integer NOT NULL,
  hook text NOT NULL,
  host text NOT NULL,
  output text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  outcome text,
  detail text
);
CREATE TABLE IF NOT EXISTS pcrd.verified (
  migration text REFERENCES pcrd.migration,
  tbl text,
  state text NOT NULL,
  rows bigint NOT NULL,
  chunks bigint NOT NULL,
  differences bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration, tbl)
);
CREATE TABLE IF NOT EXISTS pcrd.repair (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration text NOT NULL REFERENCES pcrd.migration,
  tbl text NOT NULL,
  by text NOT NULL,
  reason text NOT NULL,
  ranges jsonb NOT NULL,
  rows_deleted bigint NOT NULL,
  rows_copied bigint NOT NULL,
  keys_spared bigint NOT NULL,
  snapshot text NOT NULL,
  lsn pg_lsn NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pcrd.skipped (
  migration text REFERENCES pcrd.migration,
  lsn pg_lsn,
  tbl text,
  key jsonb,
  reason text NOT NULL,
  by text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  met_at timestamptz,
  PRIMARY KEY (migration, lsn, tbl, key)
);
CREATE TABLE IF NOT EXISTS pcrd.added_column (
  migration text REFERENCES pcrd.migration,
  tbl text,
  attnum smallint,
  definition jsonb NOT NULL,
  default_tree text,
  missing text,
  followed boolean NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  dropped_at timestamptz,
  PRIMARY KEY (migration, tbl, attnum)
);
CREATE TABLE IF NOT EXISTS pcrd.setting (
  migration text REFERENCES pcrd.migration,
  name text,
  value text NOT NULL,
  PRIMARY KEY (migration, name)
);
CREATE TABLE IF NOT EXISTS pcrd.restarted (
  migration text REFERENCES pcrd.migration,
  tbl text,
  lsn pg_lsn NOT NULL,
  timeline bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration, tbl)
);
CREATE TABLE IF NOT EXISTS pcrd.unreadable (
  migration text REFERENCES pcrd.migration,
  tbl text,
  relation bigint,
  lsn pg_lsn NOT NULL,
  why text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration, tbl, relation)
);
CREATE TABLE IF NOT EXISTS pcrd.adoption (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  before text NOT NULL REFERENCES pcrd.migration,
  after text NOT NULL REFERENCES pcrd.migration,
  kept text[] NOT NULL,
  restarted text[] NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS pcrd.way_back (
  migration text PRIMARY KEY REFERENCES pcrd.migration,
  epoch bigint NOT NULL,
  state text NOT NULL,
  fence_lsn pg_lsn,
  reason text,
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS pcrd.given (
  migration text REFERENCES pcrd.migration,
  object jsonb,
  before jsonb NOT NULL,
  PRIMARY KEY (migration, object)
);
CREATE TABLE IF NOT EXISTS pcrd.not_given (
  migration text NOT NULL REFERENCES pcrd.migration,
  step text NOT NULL,
  statement text,
  reason text NOT NULL
);
