-- kinds: merge. One source is no merge; an unknown one is none at all.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
-- pcrd: merged_from west with region = 'west'
-- pcrd: merged_from wset with region = 'east'
CREATE TABLE other (region text, id int, v text, PRIMARY KEY (region, id));
-- [refused]
-- the table is merged from one source alone
-- the source has no table public.wset
