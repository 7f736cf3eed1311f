-- kinds: add. A type that the target lacks, and one that is misspelled.
-- [source]
CREATE TABLE t (id int PRIMARY KEY);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a geometry, b public.no_such_type);
-- [refused]
-- geometry
-- no_such_type
