-- kinds: merge, widen, rename, drop, using, add. Three tables that are not quite alike: a type, a name, a column that only one has.
-- [source]
CREATE TABLE north (id smallint PRIMARY KEY, label text, secret text, weight real);
INSERT INTO north SELECT g, 'n' || g, 's', g / 2.0 FROM generate_series(1, 30) AS g;
CREATE TABLE south (id int PRIMARY KEY, name varchar(20));
INSERT INTO south SELECT g, 'S' || g FROM generate_series(1, 40) AS g;
CREATE TABLE pole (id bigint PRIMARY KEY, label text);
INSERT INTO pole SELECT g, CASE WHEN g % 2 = 0 THEN 'p' || g END FROM generate_series(1, 5) AS g;
-- [desired]
-- pcrd: merged_from north with zone = -1
-- pcrd: merged_from south with zone = 1
-- pcrd: merged_from pole with zone = 90
-- pcrd: drops secret
-- pcrd: accept DELETES_DATA reason="nobody reads it"
CREATE TABLE places (
    id bigint NOT NULL,
    zone smallint NOT NULL,
    name text, -- pcrd: renamed_from label
    weight real,
    shown boolean NOT NULL DEFAULT true,
    PRIMARY KEY (id, zone)
);
-- [by hand]
CREATE TABLE places AS SELECT id::bigint, -1::smallint AS zone, label AS name, weight, true AS shown FROM north
    UNION ALL SELECT id, 1, name, NULL, true FROM south UNION ALL SELECT id, 90, label, NULL, true FROM pole;
