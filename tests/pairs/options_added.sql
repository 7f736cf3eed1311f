-- kinds: options, add, widen. A table without parameters gets some.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int);
INSERT INTO t SELECT n, n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (id bigint PRIMARY KEY, a bigint, b boolean DEFAULT false) WITH (fillfactor = 75, parallel_workers = 0);
-- [by hand]
ALTER TABLE t ALTER id TYPE bigint, ALTER a TYPE bigint, ADD b boolean DEFAULT false;
