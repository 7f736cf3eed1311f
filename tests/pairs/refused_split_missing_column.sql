-- kinds: split, drop. A column that one of the targets has must be dropped by name in the other.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n int, s text);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, n int, s text);
-- pcrd: renamed_from t
CREATE TABLE numbers (id int PRIMARY KEY, n int);
-- [refused]
-- the source's column s of public.numbers is not in the file
-- if it is not wanted any more, write above the table:
-- -- pcrd: drops s
