-- kinds: key. The new primary key is over other columns, and nothing unique is left over the old.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL);
-- [desired]
CREATE TABLE t (id int NOT NULL, code text PRIMARY KEY);
-- [refused]
-- KEY_DROPPED
-- would have no unique index over (id), by which its rows are found
-- keep `UNIQUE (id)` in the table until the migration is over
-- -- pcrd: key (…)
