-- kinds: order, generated, identity. Everything in reverse, with a generated column in front.
-- [source]
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b int, c int GENERATED ALWAYS AS (a * b) STORED);
INSERT INTO t (a, b) SELECT n, nullif(n, 3) FROM generate_series(1, 10) AS n;
-- [desired]
-- pcrd: order as_written
CREATE TABLE t (c int GENERATED ALWAYS AS (a * b) STORED, b int, a int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
-- [by hand]
SELECT 1;
