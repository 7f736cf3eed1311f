-- kinds: check, using. The check is tried on what rows become, not on what they are.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, 5), (2, 50), (3, NULL);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  n int CONSTRAINT small CHECK (n < 100) -- pcrd: using n * 10
);
-- [refused]
-- public.t.small: 1 of 3 rows against the new CHECK small
