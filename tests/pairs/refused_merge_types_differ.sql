-- kinds: merge. A source whose values are none of the table's.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v point);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
-- [refused]
-- public.west.v
