-- kinds: options. A table that the file makes partitioned or unlogged is not what pcrd builds.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
CREATE TABLE u (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
CREATE UNLOGGED TABLE u (id int PRIMARY KEY, a text);
-- [refused]
-- public.t is a partitioned table: pcrd cannot build one yet
-- -- pcrd: ignore
-- public.u is an unlogged table: pcrd cannot build one yet
