-- kinds: table_rename, quoted, comment. The new name is a reserved word; the old one is mixed case.
-- [source]
CREATE TABLE "User Account" ("Id" int PRIMARY KEY, "e-mail" text);
INSERT INTO "User Account" VALUES (1, 'a@b'), (2, NULL), (3, E'tab\tand\nnewline');
-- [desired]
-- pcrd: renamed_from "User Account"
CREATE TABLE "user" ("Id" int CONSTRAINT user_pkey PRIMARY KEY, "e-mail" text);
COMMENT ON TABLE "user" IS 'it''s "them"; -- not a directive';
-- [by hand]
ALTER TABLE "User Account" RENAME TO "user";
