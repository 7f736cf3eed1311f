-- kinds: comment, quoted, dump. Comments on names that need quotes.
-- [source]
CREATE TABLE "Select" ("from" int PRIMARY KEY, "a.b" text, "é'" text);
INSERT INTO "Select" VALUES (1, 'x', 'y'), (2, NULL, '');
-- [desired]
CREATE TABLE public."Select" ("from" integer NOT NULL, "a.b" text, "é'" text);
COMMENT ON TABLE public."Select" IS 'a table';
COMMENT ON COLUMN public."Select"."a.b" IS 'with a dot';
COMMENT ON COLUMN public."Select"."é'" IS 'with a quote';
ALTER TABLE ONLY public."Select" ADD CONSTRAINT "Select_pkey" PRIMARY KEY ("from");
-- [by hand]
SELECT 1;
