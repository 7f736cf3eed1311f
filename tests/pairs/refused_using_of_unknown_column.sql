-- kinds: using, computed. An expression over a column that the source does not have.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
INSERT INTO t VALUES (1, 'a');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text, -- pcrd: using upper(aa)
  b text -- pcrd: backfill no_such_function(a)
);
-- [refused]
-- column "aa" does not exist
-- function no_such_function(text) does not exist
