-- kinds: add, backfill, not_null, default. Nullable, with a default, with a backfill, NOT NULL with either.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, name text);
INSERT INTO t VALUES (1, 'Ä'), (2, NULL), (3, ''), (4, 'x''y\z');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  name text,
  a text,
  b int DEFAULT 42,
  c timestamptz NOT NULL DEFAULT '2024-01-01 00:00:00+00',
  d int NOT NULL, -- pcrd: backfill coalesce(length(name), -1)
  e text DEFAULT 'new', -- pcrd: backfill upper(name)
  f int[] NOT NULL DEFAULT '{1,NULL}',
  g jsonb DEFAULT '{"a": "b''c"}'
);
-- [by hand]
ALTER TABLE t ADD a text, ADD b int DEFAULT 42, ADD c timestamptz DEFAULT '2024-01-01 00:00:00+00', ADD d int, ADD e text, ADD f int[] DEFAULT '{1,NULL}', ADD g jsonb DEFAULT '{"a": "b''c"}';
UPDATE t SET d = coalesce(length(name), -1), e = upper(name);
