-- kinds: merge. Texts that are cut off, or compared in another way, may become the same.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region char(1), id int, v text, PRIMARY KEY (region, id));
-- [refused]
-- 'east' is no constant of character(1)
