-- kinds: add, not_null. A NOT NULL column has nothing for the rows that exist.
-- [source]
CREATE TABLE t (id int PRIMARY KEY);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, "new ""one""" int NOT NULL);
-- [refused]
-- is NOT NULL but has neither a default nor a backfill
-- backfill
