-- kinds: merge, key, checked. One source has a key, the other none: its rows are found by all that they have.
-- [source]
CREATE TABLE old (n int, v text);
ALTER TABLE old REPLICA IDENTITY FULL;
INSERT INTO old SELECT g, 'o' || g FROM generate_series(1, 30) AS g;
CREATE TABLE new (n int PRIMARY KEY, v text);
INSERT INTO new SELECT g, 'n' || g FROM generate_series(1, 30) AS g;
-- [desired]
-- pcrd: merged_from old with age = 1
-- pcrd: merged_from new with age = 0
CREATE TABLE all_of_them (n int NOT NULL, age bigint NOT NULL, v text, PRIMARY KEY (age, n));
-- [by hand]
CREATE TABLE all_of_them AS SELECT n, 1 AS age, v FROM old UNION ALL SELECT n, 0, v FROM new;
