-- kinds: collation, index, rename. Three columns change how they sort, with indexes over them.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b text COLLATE "C", c varchar(20) COLLATE "C");
CREATE INDEX i ON t (a, b);
INSERT INTO t VALUES (1, 'ä', 'Z', 'a'), (2, 'a', 'z', 'B'), (3, NULL, '', NULL), (4, 'Z', 'é', '');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text COLLATE "C",
  b text COLLATE "POSIX",
  cc varchar(20) -- pcrd: renamed_from c
);
CREATE INDEX i ON t (a, b COLLATE "C" DESC);
-- [by hand]
ALTER TABLE t RENAME c TO cc;
