-- kinds: enum, index, not_null. The target's enum has one more label.
-- [source]
CREATE TYPE state AS ENUM ('new', 'done');
CREATE TABLE t (id int PRIMARY KEY, s state DEFAULT 'new');
INSERT INTO t SELECT n, CASE WHEN n % 2 = 0 THEN 'new' ELSE 'done' END::state FROM generate_series(1, 12) AS n;
-- [desired]
CREATE TYPE state AS ENUM ('new', 'done', 'lost');
CREATE TABLE t (id int PRIMARY KEY, s state DEFAULT 'new' NOT NULL);
CREATE INDEX ON t (s) WHERE s = 'lost';
-- [by hand]
SELECT 1;
