-- kinds: fk. A new MATCH FULL counts rows that are NULL in part.
-- [source]
CREATE TABLE far (x int, y int, PRIMARY KEY (x, y));
CREATE TABLE near (id int PRIMARY KEY, x int, y int);
INSERT INTO far VALUES (1, 1);
INSERT INTO near VALUES (1, 1, 1), (2, NULL, NULL), (3, 1, NULL);
-- [desired]
CREATE TABLE far (x int, y int, PRIMARY KEY (x, y));
CREATE TABLE near (id int PRIMARY KEY, x int, y int, CONSTRAINT near_far FOREIGN KEY (x, y) REFERENCES far MATCH FULL);
-- [refused]
-- 1 of 2 rows without the row of public.far that the new foreign key near_far demands of all columns or none
