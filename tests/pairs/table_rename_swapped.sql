-- kinds: table_rename, move. Two tables take each other's names, across two schemas.
-- [source]
CREATE SCHEMA old;
CREATE TABLE old.t (id int PRIMARY KEY, v text);
CREATE TABLE t (id int PRIMARY KEY, w int);
INSERT INTO old.t SELECT n, 'old ' || n FROM generate_series(1, 7) AS n;
INSERT INTO t SELECT n, n FROM generate_series(1, 5) AS n;
-- [desired]
CREATE SCHEMA old;
-- pcrd: renamed_from public.t
CREATE TABLE old.t (id int PRIMARY KEY, w int);
-- pcrd: renamed_from old.t
CREATE TABLE public.t (id int PRIMARY KEY, v text);
-- [by hand]
ALTER TABLE t RENAME TO x;
ALTER TABLE x RENAME CONSTRAINT t_pkey TO x_pkey;
ALTER TABLE old.t SET SCHEMA public;
ALTER TABLE x SET SCHEMA old;
ALTER TABLE old.x RENAME TO t;
