-- kinds: drop, rename. A column that is missing in the file: the two lines, one of which must be added.
-- [source]
CREATE TABLE customers (id int PRIMARY KEY, surname text);
-- [desired]
CREATE TABLE customers (id int PRIMARY KEY, last_name text);
-- [refused]
-- pcrd::schema::column_missing
-- -- pcrd: renamed_from surname
-- -- pcrd: drops surname
