-- kinds: unique. Several unique demands that rows break, one with NULLS NOT DISTINCT, one partial, one by expression.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b text, c text);
INSERT INTO t VALUES (1, NULL, 'x', 'A'), (2, NULL, 'y', 'a'), (3, 1, 'y', 'b');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, b text, c text, CONSTRAINT ua UNIQUE NULLS NOT DISTINCT (a));
CREATE UNIQUE INDEX ub ON t (b) WHERE b <> 'x';
CREATE UNIQUE INDEX uc ON t (lower(c));
-- [refused]
-- public.t.ua: 2 of 3 rows with the same values under the unique index ua
-- public.t.ub: 2 of
-- public.t.uc: 2 of 3 rows with the same values under the unique index uc
