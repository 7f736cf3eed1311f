-- kinds: not_null. Both directions in one table.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b text NOT NULL, c int NOT NULL DEFAULT 0);
INSERT INTO t SELECT n, '', 'b', n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b text, c int DEFAULT 0);
-- [by hand]
ALTER TABLE t ALTER a SET NOT NULL, ALTER b DROP NOT NULL, ALTER c DROP NOT NULL;
