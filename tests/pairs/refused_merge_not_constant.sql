-- kinds: merge. Only a constant whose text says whether it is another can tell sources apart.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = lower('EAST')
-- pcrd: merged_from west with region = E'west'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
-- [refused]
-- lower('EAST') is no constant of text
-- E'west' is no constant of text
