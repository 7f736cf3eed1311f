-- kinds: fk, graph, rename, key. Two columns reference two, all or nothing.
-- [source]
CREATE TABLE far (x int, y int, note text, PRIMARY KEY (x, y));
CREATE TABLE near (id int PRIMARY KEY, fx int, fy int);
INSERT INTO far SELECT n, n * 2, '' FROM generate_series(1, 6) AS n;
INSERT INTO near VALUES (1, 1, 2), (2, NULL, NULL), (3, 6, 12);
-- [desired]
CREATE TABLE far (
  y int,
  x int,
  note text,
  PRIMARY KEY (x, y)
);
CREATE TABLE near (
  id int PRIMARY KEY,
  a int, -- pcrd: renamed_from fx
  b int, -- pcrd: renamed_from fy
  CONSTRAINT near_far FOREIGN KEY (a, b) REFERENCES far MATCH FULL ON UPDATE CASCADE ON DELETE RESTRICT
);
-- [by hand]
ALTER TABLE near RENAME fx TO a;
ALTER TABLE near RENAME fy TO b;
