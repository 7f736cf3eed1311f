-- kinds: using. An expression that gives another value each time.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text, -- pcrd: using a || random()::text
  b timestamptz -- pcrd: backfill now()
);
-- [refused]
-- VOLATILE_EXPR
-- public.t.a: the expression calls random
-- public.t.b: the expression calls now
-- use only what the row itself says
