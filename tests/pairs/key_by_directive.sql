-- kinds: key, rename, index. Rows are found by another unique index than the primary key.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, v int);
CREATE UNIQUE INDEX t_code ON t (code);
ALTER TABLE t REPLICA IDENTITY USING INDEX t_code;
INSERT INTO t SELECT n, 'c' || n, n FROM generate_series(1, 20) AS n;
-- [desired]
-- pcrd: key (code)
CREATE TABLE t (
  id int PRIMARY KEY,
  short text NOT NULL, -- pcrd: renamed_from code
  v int
);
CREATE UNIQUE INDEX t_code ON t (short);
-- [by hand]
ALTER TABLE t RENAME code TO short;
