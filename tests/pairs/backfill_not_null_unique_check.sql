-- kinds: backfill, not_null, unique, check, add. An added column that must be filled, checked and unique.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO t SELECT n, repeat('ab ', n) FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  name text NOT NULL,
  slug text NOT NULL CHECK (slug ~ '^[a-f0-9]+$'), -- pcrd: backfill md5(name || id::text)
  UNIQUE (slug)
);
-- [by hand]
ALTER TABLE t ADD slug text;
UPDATE t SET slug = md5(name || id::text);
