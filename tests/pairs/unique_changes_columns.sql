-- kinds: unique, names, index. The same name now covers other columns; a twin index is kept apart.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b int, CONSTRAINT u UNIQUE (a));
CREATE UNIQUE INDEX ui ON t (a, b);
INSERT INTO t SELECT n, n, n % 3 FROM generate_series(1, 12) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, b int, CONSTRAINT u UNIQUE (b, a));
CREATE UNIQUE INDEX ui ON t (a) WHERE b = 1;
-- [by hand]
SELECT 1;
