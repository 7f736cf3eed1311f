-- kinds: lossy, rename, default. The acceptance stands in the config, at the source's address.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, price numeric DEFAULT 1.25);
INSERT INTO t SELECT n, n / 7.0 FROM generate_series(1, 15) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  cost real DEFAULT 1.25 -- pcrd: renamed_from price
);
-- [by hand]
ALTER TABLE t RENAME price TO cost;
ALTER TABLE t ALTER cost TYPE real;
-- [config]
accept: [{ code: LOSSY_CAST, address: public.t.price, reason: "shown with two digits" }]
