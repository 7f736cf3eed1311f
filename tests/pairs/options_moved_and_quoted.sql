-- kinds: options, move, quoted. Parameters of a table that moves under a hostile name.
-- [source]
CREATE TABLE "T 1" (id int PRIMARY KEY, v text) WITH (fillfactor = 60);
INSERT INTO "T 1" VALUES (1, 'x');
-- [desired]
CREATE SCHEMA "S-1";
-- pcrd: renamed_from public."T 1"
CREATE TABLE "S-1"."T ""1""" (id int CONSTRAINT "T_pkey" PRIMARY KEY, v text) WITH (fillfactor = 65);
-- [by hand]
CREATE SCHEMA "S-1";
ALTER TABLE "T 1" SET SCHEMA "S-1";
ALTER TABLE "S-1"."T 1" RENAME TO "T ""1""";
