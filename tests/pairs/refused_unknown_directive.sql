-- kinds: rename. A misspelled directive, one without a colon, one in a block comment.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  b text, -- pcrd: renamed_form a
  c text, -- pcrd backfill 'x'
  d text /* pcrd: backfill 'x' */
);
-- [refused]
-- pcrd::directive::unknown
-- there is no directive `renamed_form`
-- did you mean `renamed_from`?
-- write `-- pcrd: backfill …`
-- pcrd::directive::misplaced
-- a directive is a line comment
