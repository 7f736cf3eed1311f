-- kinds: unique, using, not_null. What was not unique becomes so by the expression.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, code text);
INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, NULL), (4, NULL);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  code text NOT NULL UNIQUE -- pcrd: using coalesce(code, '') || '-' || id
);
-- [by hand]
UPDATE t SET code = coalesce(code, '') || '-' || id;
