-- kinds: unique, rename. Unique constraints with all their clauses, over a renamed column.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b int, c text);
INSERT INTO t VALUES (1, NULL, 1, 'a'), (2, 1, 1, 'A'), (3, 2, NULL, 'á');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  aa int, -- pcrd: renamed_from a
  b int,
  c text,
  CONSTRAINT u1 UNIQUE NULLS NOT DISTINCT (aa),
  CONSTRAINT u2 UNIQUE (b, c) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT u3 UNIQUE (c) INCLUDE (b)
);
-- [by hand]
ALTER TABLE t RENAME a TO aa;
