-- kinds: serial, default, sequence. One serial loses its sequence, one plain column gets one.
-- [source]
CREATE TABLE t (id serial PRIMARY KEY, n int);
INSERT INTO t (n) SELECT n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, n bigserial);
-- [by hand]
SELECT 1;
