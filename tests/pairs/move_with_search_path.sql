-- kinds: move, dump, default. The file sets a search_path, and names the table without schema.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'a');
INSERT INTO t VALUES (1, 'x'), (2, NULL);
-- [desired]
CREATE SCHEMA app;
SET search_path = app, pg_catalog;
-- pcrd: renamed_from public.t
CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'b');
-- [by hand]
CREATE SCHEMA app;
ALTER TABLE t SET SCHEMA app;
