-- kinds: drop, key. The column by which rows are found cannot go.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
-- pcrd: drops id
CREATE TABLE t (a text);
-- [refused]
-- KEY_DROPPED
-- public.t.id is part of the key by which rows are found and cannot be dropped
