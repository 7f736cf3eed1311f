-- kinds: fk, graph. Orphans, found before anything starts.
-- [source]
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int);
INSERT INTO a VALUES (1);
INSERT INTO b VALUES (1, 1), (2, 2), (3, NULL), (4, 4);
-- [desired]
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int CONSTRAINT b_to_a REFERENCES a);
-- [refused]
-- public.b.b_to_a: 2 of 3 rows without the row of public.a that the new foreign key b_to_a demands
