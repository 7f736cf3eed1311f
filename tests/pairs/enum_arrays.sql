-- kinds: enum, array, add, backfill. Arrays of an enum, and one made of a column.
-- [source]
CREATE TYPE tag AS ENUM ('a', 'b, c', '"d"');
CREATE TABLE t (id int PRIMARY KEY, one tag, many tag[]);
INSERT INTO t VALUES (1, 'a', '{a,"b, c",NULL}'), (2, NULL, '{}'), (3, '"d"', NULL);
-- [desired]
CREATE TYPE tag AS ENUM ('a', 'b, c', '"d"');
CREATE TABLE t (
  id int PRIMARY KEY,
  one tag,
  many tag[] DEFAULT '{a}',
  all_of tag[] -- pcrd: backfill ARRAY[one]
);
-- [by hand]
ALTER TABLE t ADD all_of tag[];
UPDATE t SET all_of = ARRAY[one];
