-- kinds: exclude, checked, drop. An exclusion by equality in a hash index, over a column of a new type.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, v text, junk text);
INSERT INTO t SELECT n, n::text, 'j' FROM generate_series(1, 20) AS n;
INSERT INTO t VALUES (21, NULL, ''), (22, NULL, '');
-- [desired]
-- pcrd: drops junk
CREATE TABLE t (id int PRIMARY KEY, v bigint, CONSTRAINT v_once EXCLUDE USING hash (v WITH =));
-- [by hand]
ALTER TABLE t ALTER v TYPE bigint USING v::bigint;
ALTER TABLE t DROP junk;
