-- kinds: domain, move, unique, collation. A domain with a collation of its own, in a table that moves.
-- [source]
CREATE DOMAIN code AS varchar(8) COLLATE "C" NOT NULL;
CREATE TABLE t (id int PRIMARY KEY, c code);
INSERT INTO t SELECT n, 'c' || n FROM generate_series(1, 9) AS n;
-- [desired]
CREATE DOMAIN code AS varchar(8) COLLATE "C" NOT NULL;
CREATE SCHEMA app;
-- pcrd: renamed_from public.t
CREATE TABLE app.t (id int PRIMARY KEY, c code UNIQUE);
-- [by hand]
CREATE SCHEMA app;
ALTER TABLE t SET SCHEMA app;
