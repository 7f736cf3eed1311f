-- kinds: key. The key named by the directive is not what the source sends with updates and deletes.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE);
-- [desired]
-- pcrd: key (code)
CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE);
-- [refused]
-- REPLICA_IDENTITY_CHANGE
-- the key (code) of public.t cannot be used
-- ALTER TABLE "public"."t" REPLICA IDENTITY USING INDEX "t_code_key"
