-- kinds: split. Two filters that leave out a row, NULL in one and opposite for everything else.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, 1), (2, -1), (3, NULL);
-- [desired]
-- pcrd: renamed_from t
-- pcrd: where n > 0
CREATE TABLE positive (id int PRIMARY KEY, n int);
-- pcrd: renamed_from t
-- pcrd: where NOT (n > 0)
CREATE TABLE negative (id int PRIMARY KEY, n int);
-- [refused]
-- public.t: 1 of 3 rows in none of its targets; to see them: SELECT CAST("id" AS pg_catalog.text) FROM ONLY "public"."t" WHERE ("n" > 0) IS NOT TRUE AND (NOT ("n" > 0)) IS NOT TRUE
