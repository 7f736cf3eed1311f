-- kinds: rename. Two columns take each other's names.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, first text, last text);
INSERT INTO t VALUES (1, 'Ada', 'Lovelace'), (2, NULL, 'Ω'), (3, '', NULL);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  last text, -- pcrd: renamed_from first
  first text -- pcrd: renamed_from last
);
-- [by hand]
ALTER TABLE t RENAME first TO x;
ALTER TABLE t RENAME last TO first;
ALTER TABLE t RENAME x TO last;
