-- kinds: generated, using. A generated column takes no expression of the user.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, g int);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a int,
  g int GENERATED ALWAYS AS (a * 2) STORED, -- pcrd: using a * 2
  h int GENERATED ALWAYS AS (a * 3) STORED -- pcrd: backfill 7
);
-- [refused]
-- pcrd::directive::contradiction
-- column `g` is generated: nothing is written to it
-- column `h` is generated: nothing is written to it
-- remove the directive
