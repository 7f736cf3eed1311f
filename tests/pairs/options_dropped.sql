-- kinds: options, rename, order. All parameters go, columns move.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int) WITH (fillfactor = 50, log_autovacuum_min_duration = 10);
INSERT INTO t SELECT n, NULL, n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (
  b int,
  id int PRIMARY KEY,
  aa text -- pcrd: renamed_from a
);
-- [by hand]
ALTER TABLE t RENAME a TO aa;
