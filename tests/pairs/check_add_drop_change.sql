-- kinds: check. One check is added, one dropped, one changed under its name, one named by the column.
-- [source]
CREATE TABLE t (
  id int PRIMARY KEY,
  a int CONSTRAINT a_c CHECK (a > 0),
  b int CONSTRAINT b_c CHECK (b > 0),
  c text
);
INSERT INTO t VALUES (1, 5, 1, 'x'), (2, NULL, 2, NULL), (3, 99, NULL, '');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a int CONSTRAINT a_c CHECK (a BETWEEN 1 AND 100),
  b int,
  c text CHECK (c IN ('x', 'y', '')),
  CONSTRAINT "both sides" CHECK (a IS NOT NULL OR b IS NOT NULL)
);
-- [by hand]
SELECT 1;
