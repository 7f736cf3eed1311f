-- kinds: move, quoted, rename, drop. Out of a schema with a hostile name, with changes of columns at once.
-- [source]
CREATE SCHEMA "My ""Schema""";
CREATE TABLE "My ""Schema"""."T;" (id int PRIMARY KEY, "a b" int, gone text);
INSERT INTO "My ""Schema"""."T;" SELECT n, n * n, 'x' FROM generate_series(1, 10) AS n;
-- [desired]
-- pcrd: renamed_from "My ""Schema"""."T;"
-- pcrd: drops gone
CREATE TABLE public.t (
  id int CONSTRAINT t_pkey PRIMARY KEY,
  a_b int -- pcrd: renamed_from "a b"
);
-- [by hand]
ALTER TABLE "My ""Schema"""."T;" DROP gone;
ALTER TABLE "My ""Schema"""."T;" RENAME "a b" TO a_b;
ALTER TABLE "My ""Schema"""."T;" SET SCHEMA public;
ALTER TABLE "T;" RENAME TO t;
