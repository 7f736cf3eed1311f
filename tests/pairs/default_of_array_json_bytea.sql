-- kinds: default, array, jsonb. Literals that are easily mangled.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text[], b jsonb, c bytea, d text, e interval, f numeric);
INSERT INTO t VALUES (1, '{"a,b","\"",NULL}', '{"\\": "\u0001"}', '\x00ff5c27', E'\\N', '1 mon -1 day', 'NaN');
INSERT INTO t (id) VALUES (2);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a text[] DEFAULT '{"a,b","\"",NULL}',
  b jsonb DEFAULT '{"\\": "x''y"}',
  c bytea DEFAULT '\x5c27',
  d text DEFAULT E'a\\b\n',
  e interval DEFAULT '1 mon -1 day',
  f numeric DEFAULT 'NaN'
);
-- [by hand]
SELECT 1;
