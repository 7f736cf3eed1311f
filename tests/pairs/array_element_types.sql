-- kinds: array, widen, default. Elements grow, dimensions and bounds stay.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int[], b varchar(5)[], c date[]);
INSERT INTO t VALUES
  (1, '{{1,2},{3,NULL}}', '{"a,b",NULL,"","\"q\""}', '{infinity,2024-02-29}'),
  (2, '{}', '{}', NULL), (3, '[0:1]={7,8}', NULL, '{}');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a bigint[] DEFAULT '{}', b text[], c date[]);
-- [by hand]
ALTER TABLE t ALTER a TYPE bigint[], ALTER b TYPE text[];
