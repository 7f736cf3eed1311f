-- kinds: storage, compression, widen, using. The new type has its own storage, unless the file says another.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n int, v varchar(50));
ALTER TABLE t ALTER v SET STORAGE PLAIN;
INSERT INTO t SELECT n, n, repeat('v', n) FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  n text COMPRESSION pglz, -- pcrd: using 'n' || n
  v text
);
ALTER TABLE t ALTER COLUMN n SET STORAGE EXTERNAL;
-- [by hand]
ALTER TABLE t ALTER n TYPE text USING 'n' || n, ALTER v TYPE text;
