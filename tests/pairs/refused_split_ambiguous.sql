-- kinds: split, table_rename. A target has the name of another table of the source, which is migrated too.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n int);
CREATE TABLE archive (id int PRIMARY KEY);
-- [desired]
-- pcrd: where n > 0
CREATE TABLE t (id int PRIMARY KEY, n int);
-- pcrd: renamed_from t
-- pcrd: where (n > 0) IS NOT TRUE
CREATE TABLE archive (id int PRIMARY KEY, n int);
-- pcrd: renamed_from archive
CREATE TABLE vault (id int PRIMARY KEY);
-- [refused]
-- public.archive would mean two tables in the plan
