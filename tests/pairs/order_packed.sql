-- kinds: order, widen, default. Columns stand with the least padding.
-- [source]
CREATE TABLE t (a boolean, id int PRIMARY KEY, b smallint, c bigint, d boolean, e text);
INSERT INTO t SELECT true, n, n, n, NULL, 'e' FROM generate_series(1, 10) AS n;
-- [desired]
-- pcrd: order packed
CREATE TABLE t (a boolean DEFAULT true, id int PRIMARY KEY, b smallint, c bigint, d boolean, e text);
-- [direct]
CREATE TABLE t (c bigint, id int PRIMARY KEY, b smallint, a boolean DEFAULT true, d boolean, e text);
-- [by hand]
SELECT 1;
