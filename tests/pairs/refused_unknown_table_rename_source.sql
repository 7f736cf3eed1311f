-- kinds: table_rename, move. Renamed from a table that is not there; the nearest one is named.
-- [source]
CREATE TABLE client (id int PRIMARY KEY, name text);
-- [desired]
-- pcrd: renamed_from public.cliemt
CREATE TABLE customer (id int PRIMARY KEY, name text);
-- [refused]
-- the source has no table public.cliemt
-- did you mean `public.client`?
