-- kinds: order, rename, add, drop. The source's order stays, whatever the file's; added columns come last.
-- [source]
CREATE TABLE t (z int, id int PRIMARY KEY, gone int, a text);
INSERT INTO t SELECT n, n, n, 'a' FROM generate_series(1, 10) AS n;
-- [desired]
-- pcrd: order keep
-- pcrd: drops gone
CREATE TABLE t (
  id int PRIMARY KEY,
  added int DEFAULT 5,
  b text, -- pcrd: renamed_from a
  z int
);
-- [direct]
CREATE TABLE t (z int, id int PRIMARY KEY, b text, added int DEFAULT 5);
-- [by hand]
ALTER TABLE t DROP gone;
ALTER TABLE t RENAME a TO b;
ALTER TABLE t ADD added int DEFAULT 5;
