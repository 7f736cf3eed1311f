-- kinds: generated, widen, not_null. Another expression, another type, over columns that change too.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b int, s int GENERATED ALWAYS AS (a + b) STORED);
INSERT INTO t (id, a, b) VALUES (1, 1, 2), (2, NULL, 1), (3, 2147483646, 1);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a bigint, b bigint, s numeric NOT NULL GENERATED ALWAYS AS (coalesce(a, 0)::numeric * b) STORED);
-- [by hand]
ALTER TABLE t DROP s;
ALTER TABLE t ALTER a TYPE bigint, ALTER b TYPE bigint;
ALTER TABLE t ADD s numeric GENERATED ALWAYS AS (coalesce(a, 0)::numeric * b) STORED;
