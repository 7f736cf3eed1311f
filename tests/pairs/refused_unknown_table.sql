-- kinds: table_rename. A table that the source lacks: either renamed or none of pcrd's business.
-- [source]
CREATE TABLE client (id int PRIMARY KEY, name text);
-- [desired]
CREATE TABLE customer (id int PRIMARY KEY, name text);
-- [refused]
-- pcrd::schema::unknown
-- the source has no table public.customer
-- -- pcrd: renamed_from public.client
-- -- pcrd: ignore
