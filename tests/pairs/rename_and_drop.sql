-- kinds: rename, drop, order. One column renamed, one dropped.
-- [source]
CREATE TABLE customers (id int PRIMARY KEY, surname text, legacy bytea, active boolean NOT NULL DEFAULT true);
INSERT INTO customers SELECT n, 'name ' || n, '\x00ff', n % 2 = 0 FROM generate_series(1, 20) AS n;
-- [desired]
-- pcrd: drops legacy
-- pcrd: accept DELETES_DATA reason="nobody reads it"
CREATE TABLE customers (
  id int PRIMARY KEY,
  active boolean NOT NULL DEFAULT true,
  last_name text -- pcrd: renamed_from surname
);
-- [by hand]
ALTER TABLE customers DROP COLUMN legacy;
ALTER TABLE customers RENAME COLUMN surname TO last_name;
