-- kinds: merge. What a column of a source holds is not known; the constant must be new.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, region text);
CREATE TABLE west (id int PRIMARY KEY, region text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, PRIMARY KEY (region, id));
-- [refused]
-- public.east has a column region already
