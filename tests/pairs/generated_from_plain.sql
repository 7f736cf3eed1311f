-- kinds: generated, check. A plain column whose values agree becomes generated.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, net numeric(10,2), gross numeric(10,2));
INSERT INTO t SELECT n, n, n * 1.2 FROM generate_series(1, 12) AS n;
INSERT INTO t VALUES (13, NULL, NULL);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  net numeric(10,2) CHECK (net > 0),
  gross numeric(10,2) GENERATED ALWAYS AS (net * 1.2) STORED
);
-- [by hand]
SELECT 1;
