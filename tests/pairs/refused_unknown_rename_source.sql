-- kinds: rename. A rename from a column that never was names the nearest.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, surname text);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  last_name text -- pcrd: renamed_from surnam
);
-- [refused]
-- pcrd::schema::unknown
-- the source's public.t has no column surnam
-- did you mean `surname`?
-- pcrd::schema::column_missing
-- -- pcrd: renamed_from surname
