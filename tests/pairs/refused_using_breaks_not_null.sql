-- kinds: computed, not_null. A computed NOT NULL column that is NULL for some rows.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b text);
INSERT INTO t VALUES (1, 'a', 'b'), (2, 'a', NULL), (3, NULL, NULL);
-- [desired]
-- pcrd: drops a, b
CREATE TABLE t (
  id int PRIMARY KEY,
  ab text NOT NULL -- pcrd: using a || b
);
-- [refused]
-- public.t.ab: 2 of 3 rows NULL
