-- kinds: key, lossy. A cast that could make two keys one.
-- [source]
CREATE TABLE t (id double precision PRIMARY KEY, a int);
INSERT INTO t VALUES (1, 1), (1.0000000001, 2);
-- [desired]
CREATE TABLE t (
  -- pcrd: accept LOSSY_CAST reason="small"
  id real PRIMARY KEY,
  a int
);
-- [refused]
-- key
-- id
