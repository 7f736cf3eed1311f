-- kinds: composite, dump, quoted, comment. A row type with quoted fields, as pg_dump writes it.
-- [source]
CREATE TYPE "Pair" AS ("Left" text, "right" int);
CREATE TABLE "T" ("Id" int PRIMARY KEY, "P" "Pair");
INSERT INTO "T" VALUES (1, ROW('l', 1)), (2, NULL);
-- [desired]
CREATE TYPE public."Pair" AS (
	"Left" text,
	"right" integer
);
CREATE TABLE public."T" (
    "Id" integer NOT NULL,
    "P" public."Pair"
);
COMMENT ON COLUMN public."T"."P" IS 'two';
ALTER TABLE ONLY public."T"
    ADD CONSTRAINT "T_pkey" PRIMARY KEY ("Id");
-- [by hand]
SELECT 1;
