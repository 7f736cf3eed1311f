-- kinds: merge, drop. A column that one of the sources has is not in the file.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text, w int);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
-- [refused]
-- the source's column w
-- -- pcrd: drops w
