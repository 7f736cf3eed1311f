-- kinds: generated, index. A generated column and an index over columns that do not exist.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a + missing) STORED);
CREATE INDEX i ON t ((a + absent));
-- [refused]
-- pcrd::schema::server
-- column "missing" does not exist
-- column "absent" does not exist
