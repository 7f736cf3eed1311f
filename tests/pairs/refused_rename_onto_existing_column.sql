-- kinds: rename. The new name belongs to a column of which nothing is said.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b text);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  b text -- pcrd: renamed_from a
);
-- [refused]
-- pcrd::directive::contradiction
-- the source has a column b already; what becomes of it?
-- -- pcrd: drops b
-- -- pcrd: renamed_from b
