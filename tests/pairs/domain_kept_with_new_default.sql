-- kinds: domain, default, rename, index. A domain with demands stays while everything around it changes.
-- [source]
CREATE DOMAIN pos AS int CHECK (VALUE > 0) DEFAULT 1;
CREATE TABLE t (id pos PRIMARY KEY, a pos, b pos[]);
INSERT INTO t VALUES (1, 5, '{1,2}'), (2, NULL, NULL), (2147483647, 2147483647, '{}');
-- [desired]
CREATE DOMAIN pos AS int CHECK (VALUE > 0) DEFAULT 1;
CREATE TABLE t (
  id pos PRIMARY KEY,
  aa pos DEFAULT 9, -- pcrd: renamed_from a
  b pos[]
);
CREATE INDEX ON t ((aa - 1));
-- [by hand]
ALTER TABLE t RENAME a TO aa;
