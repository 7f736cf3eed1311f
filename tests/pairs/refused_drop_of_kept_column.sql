-- kinds: drop. Dropped and wanted at once.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
-- pcrd: drops a
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [refused]
-- pcrd::directive::contradiction
-- a is dropped, but a column is made of it
-- take the name out of `drops`, or the column out of the table
