-- kinds: composite, array, index. Arrays of a row type, with an index over a field.
-- [source]
CREATE TYPE pt AS (x int, y int);
CREATE TABLE t (id int PRIMARY KEY, one pt, many pt[]);
INSERT INTO t VALUES (1, '(1,2)', '{"(1,2)","(3,)"}'), (2, NULL, NULL), (3, '(,)', '{}');
-- [desired]
CREATE TYPE pt AS (x int, y int);
CREATE TABLE t (id int PRIMARY KEY, one pt, many pt[]);
CREATE INDEX ON t (((one).x));
-- [by hand]
SELECT 1;
