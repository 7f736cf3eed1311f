-- kinds: merge, not_null. A row without the constant would be nobody's.
-- [source]
CREATE TABLE east (id int, v text);
CREATE TABLE west (id int, v text);
ALTER TABLE east REPLICA IDENTITY FULL;
ALTER TABLE west REPLICA IDENTITY FULL;
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int NOT NULL, v text);
-- [refused]
-- region can be NULL
