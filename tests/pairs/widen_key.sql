-- kinds: widen, key, serial. The serial key grows to bigint.
-- [source]
CREATE TABLE orders (
  id serial PRIMARY KEY,
  code text NOT NULL,
  total numeric(10,2) DEFAULT 0,
  CONSTRAINT total_positive CHECK (total >= 0)
);
CREATE INDEX orders_code_idx ON orders (lower(code));
INSERT INTO orders (code, total) SELECT 'c' || n, n FROM generate_series(1, 50) AS n;
-- [desired]
CREATE TABLE orders (
  id bigserial PRIMARY KEY,
  code text NOT NULL,
  total numeric(10,2) DEFAULT 0,
  CONSTRAINT total_positive CHECK (total >= 0)
);
CREATE INDEX orders_code_idx ON orders (lower(code));
-- [by hand]
ALTER TABLE orders ALTER COLUMN id TYPE bigint;
