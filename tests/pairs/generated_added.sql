-- kinds: generated, add, index. Generated columns are new, one of them indexed.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, first text, last text);
INSERT INTO t VALUES (1, 'Åsa', 'Ö'), (2, NULL, 'x'), (3, '', '');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  first text,
  last text,
  name text GENERATED ALWAYS AS (coalesce(first, '') || ' ' || coalesce(last, '')) STORED,
  words tsvector GENERATED ALWAYS AS (to_tsvector('simple', coalesce(first, ''))) STORED
);
CREATE INDEX ON t USING gin (words);
-- [by hand]
ALTER TABLE t ADD name text GENERATED ALWAYS AS (coalesce(first, '') || ' ' || coalesce(last, '')) STORED;
ALTER TABLE t ADD words tsvector GENERATED ALWAYS AS (to_tsvector('simple', coalesce(first, ''))) STORED;
