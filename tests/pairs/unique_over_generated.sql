-- kinds: add, generated, unique. A new unique constraint over a new generated column is asked on the source through the expression.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, title text NOT NULL);
INSERT INTO t SELECT n, 'Title ' || n FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  title text NOT NULL,
  slug text GENERATED ALWAYS AS (lower(title)) STORED UNIQUE,
  seen date DEFAULT '2020-01-01' CHECK (seen > '1900-01-01')
);
-- [by hand]
ALTER TABLE t ADD slug text GENERATED ALWAYS AS (lower(title)) STORED, ADD seen date DEFAULT '2020-01-01';
