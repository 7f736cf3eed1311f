-- kinds: exclude, check. No two ranges may overlap.
-- [source]
CREATE TABLE booking (id int PRIMARY KEY, during int4range);
INSERT INTO booking SELECT n, int4range(n * 10, n * 10 + 10) FROM generate_series(1, 10) AS n;
INSERT INTO booking VALUES (11, NULL), (12, 'empty'), (13, NULL);
-- [desired]
CREATE TABLE booking (
  id int PRIMARY KEY,
  during int4range CHECK (NOT lower_inf(during)),
  EXCLUDE USING gist (during WITH &&)
);
-- [by hand]
SELECT 1;
