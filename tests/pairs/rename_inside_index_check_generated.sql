-- kinds: rename, index, check, generated. Everything that mentions a renamed column follows.
-- [source]
CREATE TABLE t (
  id int PRIMARY KEY,
  price numeric(12,2) CONSTRAINT price_sane CHECK (price >= 0),
  qty int NOT NULL,
  total numeric GENERATED ALWAYS AS (price * qty) STORED
);
CREATE INDEX t_price_idx ON t (price DESC NULLS LAST) WHERE price > 10;
INSERT INTO t (id, price, qty) SELECT n, n * 3.33, n % 4 FROM generate_series(1, 20) AS n;
INSERT INTO t (id, price, qty) VALUES (21, NULL, 2147483647), (22, 9999999999.99, -1);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  unit_price numeric(12,2) CONSTRAINT price_sane CHECK (unit_price >= 0), -- pcrd: renamed_from price
  qty int NOT NULL,
  total numeric GENERATED ALWAYS AS (unit_price * qty) STORED
);
CREATE INDEX t_price_idx ON t (unit_price DESC NULLS LAST) WHERE unit_price > 10;
-- [by hand]
ALTER TABLE t RENAME price TO unit_price;
