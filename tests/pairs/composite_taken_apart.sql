-- kinds: composite, computed, drop. A row type's fields become columns.
-- [source]
CREATE TYPE money_in AS (amount numeric(10,2), currency char(3));
CREATE TABLE t (id int PRIMARY KEY, price money_in);
INSERT INTO t VALUES (1, ROW(1.50, 'EUR')), (2, NULL), (3, ROW(NULL, 'USD'));
-- [desired]
CREATE TYPE money_in AS (amount numeric(10,2), currency char(3));
-- pcrd: drops price
CREATE TABLE t (
  id int PRIMARY KEY,
  amount numeric(10,2), -- pcrd: using (price).amount
  currency char(3) -- pcrd: using (price).currency
);
-- [by hand]
ALTER TABLE t ADD amount numeric(10,2), ADD currency char(3);
UPDATE t SET amount = (price).amount, currency = (price).currency;
ALTER TABLE t DROP price;
