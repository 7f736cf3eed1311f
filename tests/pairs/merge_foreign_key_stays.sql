-- kinds: merge, fk, index. A table that refers to one of the sources cannot refer to the merged one yet: the plan says so.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
CREATE TABLE sights (id int PRIMARY KEY, region text, world int REFERENCES east);
INSERT INTO east SELECT g, 'e' || g FROM generate_series(1, 20) AS g;
INSERT INTO west SELECT g, 'w' || g FROM generate_series(1, 20) AS g;
INSERT INTO sights SELECT g, 'east', g FROM generate_series(1, 9) AS g;
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
CREATE TABLE sights (
    id int PRIMARY KEY,
    region text,
    world int,
    -- pcrd: accept CONSTRAINT_NOT_CARRIED reason="added after the cutover"
    CONSTRAINT sights_world FOREIGN KEY (region, world) REFERENCES world (region, id)
);
CREATE INDEX sights_of_world ON sights (region, world);
-- [direct]
CREATE TABLE world (region text, id int, v text, PRIMARY KEY (region, id));
CREATE TABLE sights (id int PRIMARY KEY, region text, world int);
CREATE INDEX sights_of_world ON sights (region, world);
-- [by hand]
CREATE TABLE world AS SELECT 'east' AS region, * FROM east UNION ALL SELECT 'west', * FROM west;
