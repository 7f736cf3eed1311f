-- kinds: lossy. An acceptance that matches nothing is a mistake.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  -- pcrd: accept LOSSY_CAST reason="was real once"
  a bigint
);
-- [refused]
-- nothing at public.t.a has the finding LOSSY_CAST to accept
