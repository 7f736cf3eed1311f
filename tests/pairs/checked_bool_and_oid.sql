-- kinds: checked, default. Numbers that are only 0 and 1 become boolean, bigints that fit become oid.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, flag int, o bigint DEFAULT 5);
INSERT INTO t VALUES (1, 0, 0), (2, 1, 4294967295), (3, NULL, NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, flag boolean DEFAULT false, o oid);
-- [by hand]
ALTER TABLE t ALTER flag TYPE boolean USING flag::int::boolean, ALTER o TYPE oid;
