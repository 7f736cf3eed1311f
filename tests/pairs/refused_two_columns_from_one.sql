-- kinds: rename. One column cannot become two by renaming.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  b text, -- pcrd: renamed_from a
  c text -- pcrd: renamed_from a
);
-- [refused]
-- pcrd::directive::contradiction
-- two columns say that they are renamed from a
-- and this one
