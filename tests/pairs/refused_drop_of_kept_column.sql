-- kinds: drop. Dropped and wanted at once.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
-- pcrd: drops a
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [refused]
-- pcrd::directive::contradiction
-- the column `a` is dropped and also there
-- remove the column, or its name from `drops`; a new column of an old name says so by `renamed_from`
