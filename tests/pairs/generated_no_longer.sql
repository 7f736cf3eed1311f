-- kinds: generated, default. A generated column becomes a plain one with a default.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, up text GENERATED ALWAYS AS (upper(a)) STORED);
INSERT INTO t (id, a) VALUES (1, 'é'), (2, NULL), (3, 'ß');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, up text DEFAULT 'NONE');
-- [by hand]
ALTER TABLE t ALTER up DROP EXPRESSION;
