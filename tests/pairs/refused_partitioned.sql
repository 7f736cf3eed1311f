-- kinds: options. A table that the file makes partitioned or unlogged is not what pcrd builds.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
-- [refused]
-- partition
