-- kinds: generated. The target would compute other values than the source stores.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, g int);
INSERT INTO t VALUES (1, 1, 2), (2, 2, 5), (3, NULL, 0);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED);
-- [refused]
-- public.t.g: 2 of 3 rows another value than the target would compute
