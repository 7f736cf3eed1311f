-- kinds: generated, drop, rename, order. One generated column goes, another is renamed and moves.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, g1 int GENERATED ALWAYS AS (a * 2) STORED, g2 text GENERATED ALWAYS AS ((a::text || 'a')) STORED);
INSERT INTO t (id, a) SELECT n, nullif(n, 4) FROM generate_series(1, 9) AS n;
-- [desired]
-- pcrd: drops g1
CREATE TABLE t (
  label text GENERATED ALWAYS AS ((a::text || 'a')) STORED, -- pcrd: renamed_from g2
  id int PRIMARY KEY,
  a int
);
-- [by hand]
ALTER TABLE t DROP g1;
ALTER TABLE t RENAME g2 TO label;
