-- kinds: backfill, add, not_null, index. Expressions of all columns, NULL among them, and an index over what they give.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, price numeric(10,2), quantity int, sold timestamptz);
INSERT INTO t VALUES (1, 9.99, 3, '2024-02-29 23:59:59.999999+00'), (2, NULL, 0, NULL), (3, -0.01, -1, '2024-03-01 00:00:00+00');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  price numeric(10,2),
  quantity int,
  sold timestamptz,
  total numeric(14,2) NOT NULL DEFAULT 0, -- pcrd: backfill coalesce(price * quantity, 0)
  sold_on date, -- pcrd: backfill (sold AT TIME ZONE 'UTC')::date
  label text NOT NULL -- pcrd: backfill concat(id, '×', coalesce(price::text, 'free'))
);
CREATE INDEX t_total ON t (total DESC, sold_on) WHERE total > 0;
-- [by hand]
ALTER TABLE t ADD total numeric(14,2) DEFAULT 0, ADD sold_on date, ADD label text;
UPDATE t SET total = coalesce(price * quantity, 0), sold_on = (sold AT TIME ZONE 'UTC')::date, label = concat(id, '×', coalesce(price::text, 'free'));
