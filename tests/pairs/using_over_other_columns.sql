-- kinds: using, widen, computed. A column's new value depends on its neighbours.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, amount int, currency char(3), rate numeric(8,4));
INSERT INTO t VALUES (1, 100, 'EUR', 1), (2, 100, 'USD', 0.9123), (3, NULL, 'XXX', NULL), (4, 2147483647, NULL, 9999.9999);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  amount numeric, -- pcrd: using amount * coalesce(rate, 1)
  currency char(3),
  rate numeric(8,4),
  label text -- pcrd: using coalesce(currency, '?') || ' ' || amount
);
-- [by hand]
ALTER TABLE t ADD label text;
UPDATE t SET label = coalesce(currency, '?') || ' ' || amount;
ALTER TABLE t ALTER amount TYPE numeric USING amount * coalesce(rate, 1);
