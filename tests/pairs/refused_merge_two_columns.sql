-- kinds: merge. All sources are told apart by one column.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with part = 'west'
-- pcrd: order keep
CREATE TABLE world (region text, part text, id int, v text, PRIMARY KEY (region, part, id));
-- [refused]
-- the sources are told apart by two columns
-- which one's order of columns?
