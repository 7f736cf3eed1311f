-- kinds: key, unique, not_null. Another primary key, while the old one stays unique.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, code text, v text);
INSERT INTO t SELECT n, 'c' || n, NULL FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE t (id int NOT NULL UNIQUE, code text PRIMARY KEY, v text);
-- [by hand]
SELECT 1;
