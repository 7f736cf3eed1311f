-- kinds: using. There is no checked way from bytea to int; the error shows where `using` goes.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a bytea, b point);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, b text[]);
-- [refused]
-- UNSUPPORTED_CAST
-- public.t.a
-- public.t.b
-- using
