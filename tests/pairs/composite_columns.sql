-- kinds: composite, rename, add. Columns of a row type are kept, renamed and made.
-- [source]
CREATE TYPE addr AS (street text, no int);
CREATE TABLE t (id int PRIMARY KEY, a addr, s text);
INSERT INTO t VALUES (1, ROW('x, y', 1), 'a'), (2, NULL, 'b"'), (3, ROW(NULL, NULL), NULL), (4, ROW('', -1), '');
-- [desired]
CREATE TYPE addr AS (street text, no int);
CREATE TABLE t (
  id int PRIMARY KEY,
  home addr, -- pcrd: renamed_from a
  s text,
  other addr
);
-- [by hand]
ALTER TABLE t RENAME a TO home;
ALTER TABLE t ADD other addr;
