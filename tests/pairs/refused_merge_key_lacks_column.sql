-- kinds: merge, key. The column must be in every unique index, or rows of two sources meet there.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text NOT NULL, id int PRIMARY KEY, v text, UNIQUE (region, v), UNIQUE (v));
-- [refused]
-- world_pkey lacks region: rows of two sources may have the same values there
-- world_v_key lacks region
