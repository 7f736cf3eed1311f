-- kinds: unique. One unique constraint comes, one goes; NULLs and empty strings stay apart.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text UNIQUE, b text, c int);
INSERT INTO t VALUES (1, 'x', '', 1), (2, 'y', NULL, 1), (3, 'z', NULL, 2), (4, NULL, 'é', NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, b text UNIQUE, c int, CONSTRAINT bc UNIQUE (c, b));
-- [by hand]
SELECT 1;
