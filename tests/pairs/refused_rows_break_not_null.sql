-- kinds: not_null, rename. NULLs in a column that is to be NOT NULL, at its old address.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
INSERT INTO t VALUES (1, NULL, 1), (2, '', NULL), (3, NULL, 3);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  aa text NOT NULL, -- pcrd: renamed_from a
  b int NOT NULL
);
-- [refused]
-- public.t.a: 2 of 3 rows NULL
-- public.t.b: 1 of 3 rows NULL
