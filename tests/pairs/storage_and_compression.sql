-- kinds: storage, compression. How values are stored changes in every direction.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, c jsonb, d numeric);
ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET COMPRESSION pglz;
INSERT INTO t SELECT n, repeat(md5(n::text), 200), decode(repeat('00ff', n * 50), 'hex'), '{}', n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, c jsonb COMPRESSION pglz, d numeric);
ALTER TABLE ONLY t ALTER COLUMN b SET STORAGE EXTERNAL;
ALTER TABLE ONLY t ALTER COLUMN c SET STORAGE MAIN;
ALTER TABLE ONLY t ALTER COLUMN d SET STORAGE PLAIN;
-- [by hand]
SELECT 1;
