-- kinds: lossy. A cast that loses digits, which nobody accepted.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a double precision, b json);
INSERT INTO t VALUES (1, 0.1, '{}');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a real, b jsonb);
-- [refused]
-- LOSSY_CAST
-- public.t.a
-- public.t.b
