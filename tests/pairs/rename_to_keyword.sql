-- kinds: rename, quoted. A column takes a name that SQL reserves, another a name that only quotes keep.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, sort_no int, grp text);
INSERT INTO t SELECT n, CASE WHEN n % 3 = 0 THEN NULL ELSE -n END, chr(9728 + n) FROM generate_series(1, 12) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  "order" int, -- pcrd: renamed_from sort_no
  "Group ""x""" text -- pcrd: renamed_from grp
);
-- [by hand]
ALTER TABLE t RENAME sort_no TO "order";
ALTER TABLE t RENAME grp TO "Group ""x""";
