-- kinds: merge. Two sources with the same constant could not be told apart.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'east'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
-- [refused]
-- public.west cannot be merged into public.world: another of its sources has 'east' too
