-- kinds: add, generated, unique. Rows that collide under a new unique constraint over a new generated column are counted on the source.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, title text NOT NULL);
INSERT INTO t VALUES (1, 'A'), (2, 'a'), (3, 'b');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  title text NOT NULL,
  slug text GENERATED ALWAYS AS (lower(title)) STORED UNIQUE
);
-- [refused]
-- public.t.t_slug_key: 2 of 3 rows with the same values under the unique index t_slug_key
