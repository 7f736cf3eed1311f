-- kinds: check, add. Checks with subtle text: NO INHERIT, regexes, dollar signs, casts and arrays.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, v text, d date);
INSERT INTO t VALUES (1, 'a$b', '2000-01-01'), (2, NULL, NULL), (3, 'zz', 'infinity');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  v text,
  d date,
  e int DEFAULT 3 CHECK (e = ANY (ARRAY[1, 2, 3])),
  CONSTRAINT c1 CHECK (v !~ '^\d+$') NO INHERIT,
  CONSTRAINT c2 CHECK (v <> $$it's$$),
  CONSTRAINT c3 CHECK (d > date '1999-12-31'),
  CONSTRAINT c4 CHECK (length(coalesce(v, '')) + 1 > 0 AND (v IS NULL OR NOT v = 'b'))
);
-- [by hand]
ALTER TABLE t ADD e int DEFAULT 3;
