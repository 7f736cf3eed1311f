-- kinds: merge, key, unique. Rows of all sources are found by one index, or those of some by none until it is built.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text NOT NULL);
CREATE TABLE west (v text PRIMARY KEY, id int NOT NULL);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, v text NOT NULL, PRIMARY KEY (region, id), UNIQUE (v, region));
-- [refused]
-- public.west cannot be merged into public.world: its rows would be found by world_v_region_key, and those of another source by world_pkey
