-- kinds: check, unique, fk, index, not_null, default, comment, graph. Constraints of all kinds come and go.
-- [source]
CREATE TABLE customers (id int PRIMARY KEY, email text, born date);
CREATE TABLE orders (
  id int PRIMARY KEY,
  customer int,
  amount int,
  note varchar(40) DEFAULT 'none',
  CONSTRAINT old_check CHECK (amount > -5)
);
CREATE INDEX orders_note_idx ON orders (note);
INSERT INTO customers SELECT n, 'c' || n || '@example.org', date '2000-01-01' + n FROM generate_series(1, 30) AS n;
INSERT INTO orders SELECT n, 1 + n % 30, n, 'note ' || n FROM generate_series(1, 100) AS n;
-- [desired]
CREATE TABLE customers (
  id int PRIMARY KEY,
  email text NOT NULL UNIQUE,
  born date CHECK (born > '1900-01-01')
);
CREATE TABLE orders (
  id int PRIMARY KEY,
  customer int NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
  amount int DEFAULT 7,
  note varchar(40),
  CONSTRAINT amount_positive CHECK (amount > 0)
);
CREATE INDEX orders_customer_idx ON orders (customer) WHERE amount > 10;
COMMENT ON COLUMN orders.amount IS 'in cents';
-- [by hand]
ALTER TABLE customers ALTER COLUMN email SET NOT NULL, ADD UNIQUE (email), ADD CHECK (born > '1900-01-01');
ALTER TABLE orders ALTER COLUMN customer SET NOT NULL, ADD FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE;
ALTER TABLE orders DROP CONSTRAINT old_check, ADD CONSTRAINT amount_positive CHECK (amount > 0);
-- [config]
