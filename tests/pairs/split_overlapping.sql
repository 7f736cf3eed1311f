-- kinds: split, computed, widen, unique. A row is in every table whose filter it meets, and one table has them all.
-- [source]
CREATE TABLE readings (id int PRIMARY KEY, sensor text NOT NULL, level int NOT NULL);
INSERT INTO readings SELECT g, 's' || g % 7, g * 37 % 100 FROM generate_series(1, 200) AS g;
-- [desired]
CREATE TABLE readings (id bigint PRIMARY KEY, sensor text NOT NULL, level int NOT NULL);
-- pcrd: renamed_from readings
-- pcrd: where level > 50
CREATE TABLE high (id int PRIMARY KEY, sensor text NOT NULL, level int NOT NULL, UNIQUE (sensor, id));
-- pcrd: renamed_from readings
-- pcrd: where level > 90 OR sensor = 's3'
CREATE TABLE alarms (
    id int PRIMARY KEY,
    sensor text NOT NULL,
    level int NOT NULL,
    what text NOT NULL -- pcrd: using sensor || '@' || level
);
-- [by hand]
CREATE TABLE high AS SELECT * FROM readings WHERE level > 50;
CREATE TABLE alarms AS SELECT *, sensor || '@' || level AS what FROM readings WHERE level > 90 OR sensor = 's3';
ALTER TABLE readings ALTER id TYPE bigint;
