-- kinds: index, widen, checked, using. Indexes over columns whose type changes.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a varchar(9), b text, c int);
CREATE INDEX i1 ON t (a varchar_pattern_ops);
CREATE INDEX i2 ON t (upper(b));
CREATE INDEX i3 ON t (c);
INSERT INTO t SELECT n, 'v' || n, n::text, n FROM generate_series(1, 15) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text,
  b int,
  c text -- pcrd: using to_hex(c)
);
CREATE INDEX i1 ON t (a text_pattern_ops);
CREATE INDEX i2 ON t (abs(b));
CREATE INDEX i3 ON t USING hash (c);
-- [by hand]
DROP INDEX i1, i2, i3;
ALTER TABLE t ALTER a TYPE text, ALTER b TYPE int USING b::int, ALTER c TYPE text USING to_hex(c);
