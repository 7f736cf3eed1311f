-- kinds: split, table_rename. Two tables of the source cannot become one: a table of the file has one origin.
-- [source]
CREATE TABLE east (id int PRIMARY KEY);
CREATE TABLE west (id int PRIMARY KEY);
-- [desired]
-- pcrd: renamed_from east
-- pcrd: renamed_from west
CREATE TABLE world (id int PRIMARY KEY);
-- [refused]
-- `renamed_from` is said twice of the same object
-- several source tables cannot become one yet
