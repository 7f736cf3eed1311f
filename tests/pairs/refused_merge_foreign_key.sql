-- kinds: merge, fk. A table that refers to one of the sources cannot refer to the merged one yet.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
CREATE TABLE sights (id int PRIMARY KEY, region text, world int);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
CREATE TABLE sights (id int PRIMARY KEY, region text, world int, FOREIGN KEY (region, world) REFERENCES world (region, id));
-- [refused]
-- becomes a part of public.world
-- CONSTRAINT_NOT_CARRIED
