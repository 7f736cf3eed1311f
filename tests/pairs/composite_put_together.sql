-- kinds: composite, computed, drop, not_null. Columns become a row type.
-- [source]
CREATE TYPE xy AS (x bigint, y text);
CREATE TABLE t (id int PRIMARY KEY, x int, y text);
INSERT INTO t VALUES (1, 1, 'a,b'), (2, NULL, ''), (3, NULL, NULL);
-- [desired]
CREATE TYPE xy AS (x bigint, y text);
-- pcrd: drops x, y
CREATE TABLE t (
  id int PRIMARY KEY,
  p xy -- pcrd: using ROW(x, y)::public.xy
);
-- [by hand]
ALTER TABLE t ADD p xy;
UPDATE t SET p = ROW(x, y)::xy;
ALTER TABLE t DROP x, DROP y;
