-- kinds: checked, not_null, check, rename. A narrowing with new demands on the same column.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, code text, n bigint);
INSERT INTO t SELECT n, 'C' || lpad(n::text, 3, '0'), n * 1000 FROM generate_series(1, 30) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  short_code char(4) NOT NULL CHECK (short_code ~ '^C'), -- pcrd: renamed_from code
  n smallint NOT NULL CHECK (n > 0)
);
-- [by hand]
ALTER TABLE t RENAME code TO short_code;
ALTER TABLE t ALTER short_code TYPE char(4), ALTER n TYPE smallint;
