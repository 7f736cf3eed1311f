-- kinds: merge, split. A source that is merged goes nowhere else.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
-- pcrd: renamed_from east
CREATE TABLE copy_of_east (id int PRIMARY KEY, v text);
-- [refused]
-- public.east cannot be merged into public.world: it also goes into another table
