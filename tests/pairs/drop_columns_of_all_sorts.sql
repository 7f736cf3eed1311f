-- kinds: drop, index, check, fk, graph. Dropped columns take their indexes, checks and foreign keys along.
-- [source]
CREATE TABLE far (id int PRIMARY KEY);
CREATE TABLE t (
  id int PRIMARY KEY,
  "Gone 1" int UNIQUE,
  gone2 int REFERENCES far,
  gone3 text CHECK (gone3 <> 'x'),
  gone4 int GENERATED ALWAYS AS (id * 2) STORED,
  stays text
);
CREATE INDEX ON t (stays, gone3);
INSERT INTO far SELECT generate_series(1, 3);
INSERT INTO t (id, "Gone 1", gone2, gone3, stays) SELECT n, n, 1 + n % 3, 'g', nullif('s' || n, 's3') FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE far (id int PRIMARY KEY);
-- pcrd: drops "Gone 1", gone2, gone3, gone4
CREATE TABLE t (id int PRIMARY KEY, stays text);
-- [by hand]
ALTER TABLE t DROP "Gone 1", DROP gone2, DROP gone3, DROP gone4;
