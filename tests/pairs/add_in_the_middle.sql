-- kinds: add, order, rename. An added column stands where it is written, between old ones.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, z text);
INSERT INTO t SELECT n, 'a' || n, 'z' || n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (
  z text,
  m boolean DEFAULT true,
  id int PRIMARY KEY,
  b text -- pcrd: renamed_from a
);
-- [by hand]
ALTER TABLE t ADD m boolean DEFAULT true;
ALTER TABLE t RENAME a TO b;
