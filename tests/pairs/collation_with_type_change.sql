-- kinds: collation, widen, checked, unique. Type and collation change together, under a new unique constraint.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a varchar(8) COLLATE "C", b text);
INSERT INTO t VALUES (1, 'a', 'x'), (2, 'A', 'X'), (3, 'á', NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text UNIQUE, b varchar(3) COLLATE "C");
-- [by hand]
ALTER TABLE t ALTER a TYPE text, ALTER b TYPE varchar(3);
