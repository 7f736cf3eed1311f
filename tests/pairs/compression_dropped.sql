-- kinds: compression, storage, drop. Compression that the file does not mention is the default again.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text COMPRESSION pglz, b text COMPRESSION pglz, junk int);
ALTER TABLE t ALTER b SET STORAGE MAIN;
INSERT INTO t SELECT n, repeat('é', n * 300), repeat('q', n * 400), 0 FROM generate_series(1, 10) AS n;
-- [desired]
-- pcrd: drops junk
CREATE TABLE t (id int PRIMARY KEY, a text, b text COMPRESSION pglz);
-- [by hand]
ALTER TABLE t DROP junk;
