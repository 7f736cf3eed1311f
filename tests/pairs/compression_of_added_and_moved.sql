-- kinds: compression, move, add, backfill. Compression of an added column in a table that moves.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
INSERT INTO t SELECT n, repeat('a', n) FROM generate_series(1, 10) AS n;
-- [desired]
CREATE SCHEMA app;
-- pcrd: renamed_from public.t
CREATE TABLE app.t (
  id int PRIMARY KEY,
  a text,
  b text COMPRESSION pglz NOT NULL -- pcrd: backfill a || a
);
-- [by hand]
CREATE SCHEMA app;
ALTER TABLE t SET SCHEMA app;
ALTER TABLE app.t ADD b text;
UPDATE app.t SET b = a || a;
