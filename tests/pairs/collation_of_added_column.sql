-- kinds: collation, add, comment, storage. An added column keeps everything that the file says of it.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
INSERT INTO t SELECT n, repeat('x', n * 10) FROM generate_series(1, 12) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text,
  b text COLLATE "C" DEFAULT 'none',
  c text STORAGE EXTERNAL -- pcrd: backfill upper(a)
);
ALTER TABLE ONLY t ALTER COLUMN b SET STORAGE MAIN;
COMMENT ON COLUMN t.b IS 'new';
COMMENT ON COLUMN t.c IS 'also ''new''';
-- [direct]
CREATE TABLE t (id int PRIMARY KEY, a text, b text COLLATE "C" DEFAULT 'none', c text);
ALTER TABLE t ALTER COLUMN b SET STORAGE MAIN, ALTER COLUMN c SET STORAGE EXTERNAL;
COMMENT ON COLUMN t.b IS 'new';
COMMENT ON COLUMN t.c IS 'also ''new''';
-- [by hand]
ALTER TABLE t ADD b text DEFAULT 'none', ADD c text;
UPDATE t SET c = upper(a);
