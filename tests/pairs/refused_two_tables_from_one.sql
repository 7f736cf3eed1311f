-- kinds: table_rename. Two tables that are both made of one source table.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
-- pcrd: renamed_from t
CREATE TABLE u (id int PRIMARY KEY, a text);
-- pcrd: renamed_from t
CREATE TABLE v (id int PRIMARY KEY, a text);
-- [refused]
-- two tables would be made of public.t
