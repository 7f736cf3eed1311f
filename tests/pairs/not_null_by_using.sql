-- kinds: not_null, using. NULLs are replaced on the way, so NOT NULL holds.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, n int);
INSERT INTO t VALUES (1, NULL, NULL), (2, '', 0), (3, 'x', -1);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text NOT NULL, -- pcrd: using coalesce(a, '')
  n int NOT NULL -- pcrd: using coalesce(n, 0)
);
-- [by hand]
UPDATE t SET a = coalesce(a, ''), n = coalesce(n, 0);
