-- kinds: merge, quoted, comment, fk. The archive comes back into the table that it was taken from; hostile names.
-- [source]
CREATE SCHEMA "Old; --";
CREATE TABLE shops (id int PRIMARY KEY);
INSERT INTO shops SELECT generate_series(1, 9);
CREATE TABLE "or'ders" ("Id" int PRIMARY KEY, shop int REFERENCES shops, "the""kind" text);
INSERT INTO "or'ders" SELECT g, g % 9 + 1, 'now' FROM generate_series(1, 20) AS g;
CREATE TABLE "Old; --"."or'ders" ("Id" int PRIMARY KEY, shop int, "the""kind" text);
INSERT INTO "Old; --"."or'ders" SELECT g, g % 9 + 1, 'then' FROM generate_series(1, 20) AS g;
-- [desired]
CREATE TABLE shops (id int PRIMARY KEY);
-- pcrd: merged_from "or'ders" with "it's ""old""" = 'no; --'
-- pcrd: merged_from "Old; --"."or'ders" with "it's ""old""" = 'y''es\ é'
CREATE TABLE "or'ders" (
    "it's ""old""" text,
    "Id" int,
    shop int REFERENCES shops,
    "the""kind" text,
    PRIMARY KEY ("it's ""old""", "Id")
);
COMMENT ON TABLE "or'ders" IS 'both';
COMMENT ON COLUMN "or'ders"."it's ""old""" IS 'whose';
-- [by hand]
CREATE TABLE both_ AS SELECT 'no; --' AS "it's ""old""", * FROM "or'ders" UNION ALL SELECT 'y''es\ é', * FROM "Old; --"."or'ders";
DROP TABLE "or'ders";
ALTER TABLE both_ RENAME TO "or'ders";
