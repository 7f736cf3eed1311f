-- kinds: merge, table_rename. Two names are not enough for two sources of one table: a column must tell their rows apart.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: renamed_from east
-- pcrd: renamed_from west
CREATE TABLE world (id int PRIMARY KEY, v text);
-- [refused]
-- `renamed_from` is said twice of the same object
-- -- pcrd: merged_from east with region = 'east'
