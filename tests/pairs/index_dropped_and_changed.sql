-- kinds: index, comment. One goes, one gets a condition, one another method, one a comment.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE INDEX i1 ON t (a);
CREATE INDEX i2 ON t (b);
CREATE INDEX i3 ON t (a, b);
CREATE INDEX i4 ON t (b DESC);
INSERT INTO t SELECT n, nullif('a' || n % 4, 'a0'), n FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE INDEX i2 ON t (b) WHERE b > 5;
CREATE INDEX i3 ON t USING hash (a);
CREATE INDEX i4 ON t (b DESC);
COMMENT ON INDEX i4 IS 'newest first';
-- [by hand]
SELECT 1;
