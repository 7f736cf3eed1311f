-- kinds: drop, order. `drops` of a column, `using` of a table, and one twice.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
-- pcrd: using a
-- pcrd: order keep
-- pcrd: order packed
CREATE TABLE t (
  id int PRIMARY KEY,
  a text -- pcrd: drops a
);
-- [refused]
-- pcrd::directive::misplaced
-- pcrd::directive::duplicate
