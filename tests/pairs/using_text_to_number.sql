-- kinds: using, default, not_null. Prose is read by an expression of the user.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, size text DEFAULT 'none');
INSERT INTO t VALUES (1, '10 cm'), (2, ' 7cm '), (3, ''), (4, NULL), (5, 'none');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  size int NOT NULL DEFAULT 0 -- pcrd: using coalesce(nullif(regexp_replace(size, '[^0-9]', '', 'g'), ''), '0')::int
);
-- [by hand]
ALTER TABLE t ALTER size DROP DEFAULT;
ALTER TABLE t ALTER size TYPE int USING coalesce(nullif(regexp_replace(size, '[^0-9]', '', 'g'), ''), '0')::int;
